"""What a route script sees: `Call`, and the decisions that it returns.

One import for scripts: `from edgesip.script import Call, Forward, Reply, ...`. Each method is one line into
the room that does it, under the name that Kamailio gives it. Reads answer at once; what a script wants
changed is recorded and applied to the copy that leaves. Nothing here sends anything.
"""

from __future__ import annotations

from edgesip.script.call import Call
from edgesip.script.credentials import HA1, ScriptedUsers
from edgesip.script.events import ContactEvent, DialogEvent, FlowEvent, event_for
from edgesip.script.failure import BranchCall, FailureCall
from edgesip.script.hooks import (
    EVENTS,
    LATER,
    UNDONE,
    Script,
    ScriptError,
    explain,
    hook_for,
    hooks_of,
    load,
    refusal_for,
)
from edgesip.script.reply import ReplyCall
from edgesip.script.rooms import Rooms
from edgesip.script.undone import UndoneCall
from edgesip.signal.decision import Challenge, Decision, Drop, Forward, Redirect, Reply, Save

__all__ = [
    "EVENTS",
    "HA1",
    "LATER",
    "UNDONE",
    "BranchCall",
    "Call",
    "Challenge",
    "ContactEvent",
    "Decision",
    "DialogEvent",
    "Drop",
    "FailureCall",
    "FlowEvent",
    "Forward",
    "Redirect",
    "Reply",
    "ReplyCall",
    "Rooms",
    "Save",
    "Script",
    "ScriptError",
    "ScriptedUsers",
    "UndoneCall",
    "event_for",
    "explain",
    "hook_for",
    "hooks_of",
    "load",
    "refusal_for",
]

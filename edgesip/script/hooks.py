"""A route script as the server uses it: read, run once, its functions found by name.

Holds the hooks that there are and what becomes of a script's faults. Calls none of them.
"""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

from edgesip.relay.flags import read
from edgesip.script.call import Call
from edgesip.script.credentials import Known
from edgesip.script.events import HookEvent
from edgesip.script.failure import BranchCall, FailureCall
from edgesip.script.relayed import TAKE_FLAGS
from edgesip.script.reply import ReplyCall
from edgesip.script.rooms import Rooms
from edgesip.script.template import pieces
from edgesip.script.undone import UndoneCall
from edgesip.signal.decision import Drop, Reply
from edgesip.signal.proxy.asked import BRANCH_FAILURE, FAILURE, MEDIA_FAILED, Failure, Hooks
from edgesip.signal.wire.grammar import ParseError

Hook = Callable[[Call], object]
UndoneHook = Callable[[UndoneCall], object]
EventHook = Callable[[HookEvent], object]
NextHook = Callable[[FailureCall], object]
"""What a script should return is a decision, or an awaitable of one; what it does return may be anything."""

EVENTS = (
    "dialog_start",
    "dialog_end",
    "dialog_failed",
    "dialog_timeout",
    "rtp_timeout",
    "contact_added",
    "contact_updated",
    "contact_deleted",
    "contact_expired",
    "tcp_closed",
)
"""Hooks that are told of something and decide nothing."""

UNDONE = ("save_failed",)
"""Hooks that decide again where a decision could not be carried out."""

PLAIN = {"reply": "call", "branch": "call", "credentials": "user, realm"}
"""Functions that are called on a message's way, so that they must be a plain def, and what they are given."""

CHECKS: dict[str, Callable[[str], object]] = {"fmt": pieces, **dict.fromkeys(TAKE_FLAGS, read)}
"""Methods whose first argument, where it stands in the script, is looked at when the script is loaded."""

LATER = ("http_request",)
"""Hooks that are named already and not called yet: a script that has one is refused, not half obeyed."""


class ScriptError(Exception):
    """A route script that cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Script:
    """The functions of a route script that the server calls."""

    path: str
    request: Hook
    in_dialog: Hook | None = None
    reply: Callable[[ReplyCall], None] | None = None
    undone: Mapping[str, UndoneHook] = field(default_factory=dict)
    events: Mapping[str, EventHook] = field(default_factory=dict)
    branch: Callable[[BranchCall], Drop | None] | None = None
    branch_failure: NextHook | None = None
    failure: NextHook | None = None
    media_failed: NextHook | None = None
    credentials: Known | None = None


def load(path: Path) -> Script:
    """Read and run a route script, and find its functions by name. Raises `ScriptError`."""
    try:
        code_text = path.read_text(encoding="utf-8")
        code: CodeType = compile(code_text, str(path), "exec")
    except OSError as error:
        raise ScriptError(f"{path}: cannot read the route script: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ScriptError(f"{path}: {error}") from error
    names: dict[str, object] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(code, names)
    except (Exception, SystemExit) as error:
        raise ScriptError(f"{path}: {explain(error, str(path))}") from error
    functions = {name: value for name, value in names.items() if inspect.isfunction(value)}
    unknown = [name for name in LATER if name in functions]
    if unknown:
        raise ScriptError(f"{path}: this version does not call the hook {unknown[0]!r}")
    if "request" not in functions:
        raise ScriptError(f"{path}: the route script has no function request(call)")
    for name, given in PLAIN.items():
        if inspect.iscoroutinefunction(functions.get(name)):
            raise ScriptError(f"{path}: {name}({given}) must be a plain def")
    _check_texts(path, code_text)
    return Script(
        str(path),
        functions["request"],
        functions.get("in_dialog"),
        functions.get("reply"),
        {name: functions[name] for name in UNDONE if name in functions},
        {name: functions[name] for name in EVENTS if name in functions},
        functions.get("branch"),
        functions.get("branch_failure"),
        functions.get("failure"),
        functions.get("media_failed"),
        functions.get("credentials"),
    )


def hooks_of(script: Script, rooms: Rooms, clock: Callable[[], float]) -> Hooks:
    """What of a script the core itself calls or asks about."""
    reply, branch = script.reply, script.branch
    asks = {
        BRANCH_FAILURE: script.branch_failure,
        FAILURE: script.failure,
        MEDIA_FAILED: script.media_failed,
    }
    return Hooks(
        (lambda passing: reply(ReplyCall(passing, rooms, clock()))) if reply is not None else None,
        (lambda leaving: not isinstance(branch(BranchCall(leaving, rooms, clock())), Drop))
        if branch is not None
        else None,
        frozenset(name for name, hook in asks.items() if hook is not None),
    )


def hook_for(script: Script, failure: Failure) -> NextHook | None:
    """The function of a script that is asked about a failure."""
    if failure.hook == BRANCH_FAILURE:
        return script.branch_failure
    return script.media_failed if failure.hook == MEDIA_FAILED else script.failure


def _check_texts(path: Path, text: str) -> None:
    """Refuse a text given to `fmt` that names a variable or transformation which does not exist, and flags
    of the relay that do not.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            check = CHECKS.get(node.func.attr)
            for given in node.args[:1] if check is not None else ():
                if check is not None and isinstance(given, ast.Constant) and isinstance(given.value, str):
                    try:
                        check(given.value)
                    except ValueError as error:
                        raise ScriptError(f"{path}: line {given.lineno}: {error}") from None


def refusal_for(error: BaseException) -> Reply:
    """What the sender hears when a script raised: a message that cannot be read is the sender's fault."""
    if isinstance(error, ParseError):
        return Reply(error.status, error.reason)
    return Reply(500, "Server Internal Error")


def explain(error: BaseException, path: str) -> str:
    """What went wrong in a script: its own frames of the traceback, no others."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    where = " < ".join(f"line {frame.lineno} in {frame.name}" for frame in reversed(frames))
    text = f"{type(error).__name__}: {error}"
    return f"{text} ({where})" if where else text

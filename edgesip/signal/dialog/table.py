"""The dialogs that pass through us: created at INVITE, moved by what follows, matched tightly.

Call-ID and both tags must agree; a Record-Route cookie is never trusted. Sends nothing and knows no media:
it says which dialogs are over. Parameters and numbers are the dialog module's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from zlib import crc32

from edgesip.address import Flow
from edgesip.signal.dialog.state import Dialog, DialogState, Leg, On
from edgesip.signal.transaction.timers import Timers
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response
from edgesip.signal.wire.uri import Uri

NOACK_TIMEOUT = 60.0
END_TIMEOUT = 300.0
MOST_ENDED = 5000
"""Ended dialogs that are remembered at most, the last ones: a busy server would keep a million."""
HASH_SIZE = 4096
LIFETIME = "lifetime is over"
MOST_ANSWERS = 32
"""Dialogs of one INVITE at most: a forking callee has no more To tags, a hostile one stops there."""


@dataclass(frozen=True, slots=True)
class DialogSettings:
    """The `[dialog]` section, in seconds."""

    default_timeout: float = 43200.0


class Dialogs:
    """Every dialog we know, the last `MOST_ENDED` ended ones included for `END_TIMEOUT` seconds."""

    def __init__(self, settings: DialogSettings) -> None:
        self._settings = settings
        self._by_tags: dict[tuple[str, str, str], list[tuple[Dialog, str]]] = {}
        self._by_call: dict[tuple[str, str], list[Dialog]] = {}
        self._timers: Timers[tuple[str, Dialog]] = Timers()
        self._ended: dict[Dialog, None] = {}
        self._next_id = 0
        self.changed: dict[Dialog, None] | None = None
        """Dialogs of which something that lasts has changed, where somebody has asked for them (`kept`)."""
        self.counters: dict[str, int] = {
            "dialog:processed_dialogs": 0,
            "dialog:expired_dialogs": 0,
            "dialog:failed_dialogs": 0,
        }

    def __iter__(self) -> Iterator[Dialog]:
        for group in self._by_call.values():
            yield from group

    def __len__(self) -> int:
        return sum(len(group) for group in self._by_call.values())

    def in_calls(self, flows: Collection[Flow]) -> set[Flow]:
        """Those of these flows at which a living call has an end; the calls are gone through once."""
        found: set[Flow] = set()
        for dialog in self:
            if dialog.state is not DialogState.DELETED:
                ends = (dialog.caller.flow, dialog.callee.flow)
                found.update(flow for flow in ends if flow is not None and flow in flows)
        return found

    def gauges(self) -> dict[str, int]:
        """`active_dialogs` and `early_dialogs`, counted now."""
        states = [dialog.state for dialog in self]
        active = states.count(DialogState.CONFIRMED) + states.count(DialogState.CONFIRMED_NA)
        return {
            "dialog:active_dialogs": active,
            "dialog:early_dialogs": states.count(DialogState.EARLY),
        }

    def deadline(self) -> float | None:
        """When `tick` next has something to say."""
        return self._timers.deadline()

    # -- finding -----------------------------------------------------------------------------------

    def find(self, headers: Headers, did: str = "") -> tuple[Dialog, str] | None:
        """The dialog of an in-dialog request or response, and which side its From is.

        Call-ID and both tags must agree; the cookie `did` only chooses among the turns of a spiral.
        """
        found = self._by_tags.get((headers.call_id, headers.from_.tag or "", headers.to.tag or ""))
        if not found:
            return None
        return next((one for one in found if one[0].did == did), found[-1])

    def siblings(self, dialog: Dialog) -> list[Dialog]:
        """Living dialogs of the same call, this one included."""
        group = self._by_call.get(dialog.key, ())
        return [one for one in group if one.state is not DialogState.DELETED]

    def by_media(self, key: tuple[str, str], branch: str) -> list[Dialog]:
        """Living dialogs whose media session and branch these are."""
        group = self._by_call.get((key[0], key[1].partition(";")[0]), ())
        return [one for one in group if one.branch == branch and one.state is not DialogState.DELETED]

    def of_media(self, key: tuple[str, str]) -> Dialog | None:
        """The dialog whose media session this is or was, of several the answered one."""
        group = self._by_call.get((key[0], key[1].partition(";")[0]), ())
        mine = [one for one in group if one.media_key == key]
        return max(mine, key=lambda one: one.start, default=None)

    # -- the life of a dialog ----------------------------------------------------------------------

    def create(self, request: Request, flow: Flow, now: float, nated: bool, ruid: str = "") -> Dialog:
        """`dlg_manage()` on an initial INVITE: state 1, the dialog of whoever answers first."""
        headers = request.headers
        contact = headers.contacts[0] if headers.contacts else None
        call_id = headers.call_id
        self._next_id += 1
        dialog = Dialog(
            call_id,
            request.uri,
            caller=Leg(
                uri=headers.get("From") or "",
                tag=headers.from_.tag or "",
                contact=str(contact.uri) if contact else "",
                routes=tuple(str(route) for route in headers.record_routes),
                cseq=headers.cseq.number,
                flow=flow,
                nated=nated,
                ruid=ruid,
            ),
            callee=Leg(uri=headers.get("To") or ""),
            h_entry=crc32(call_id.encode("utf-8", "surrogateescape")) % HASH_SIZE,
            h_id=self._next_id,
            init=now,
            lifetime=self._settings.default_timeout,
        )
        dialog.turn = len({one.turn for one in self.siblings(dialog)})
        self._by_call.setdefault(dialog.key, []).append(dialog)
        self.counters["dialog:processed_dialogs"] += 1
        return dialog

    def heard(self, call: list[Dialog], leg: Leg, branch: str, final: bool) -> Dialog | None:
        """The dialog of a To tag among those of one INVITE: the first takes the one that has none yet, each
        other one is a dialog of its own (RFC 3261 §12.1.2, §13.2.2.4). None when there are too many.
        """
        for one in call:
            if one.callee.tag == leg.tag:
                return one
        dialog = next((one for one in call if not one.callee.tag), None)
        if dialog is None:
            early = next((one for one in call if one.state is DialogState.EARLY), None)
            if len(call) >= MOST_ANSWERS and final and early is not None:
                self._lose(call, early)
            if len(call) >= MOST_ANSWERS:
                return None
            dialog = call[0].sibling()
            call.append(dialog)
            self._by_call.setdefault(dialog.key, []).append(dialog)
        dialog.callee, dialog.branch = leg, branch
        self._index(dialog)
        dialog.moved(On.PROVISIONAL)
        return dialog

    def branch_failed(self, call: list[Dialog], branch: str) -> None:
        """A branch is over without a 2xx: its early dialogs are, but one stands for the call to its end."""
        for one in [one for one in call if one.branch == branch and one.state is DialogState.EARLY]:
            if len(call) > 1:
                self._lose(call, one)
            else:
                self._unindex(one)
                one.callee, one.branch, one.preview = Leg(one.callee.uri), "", b""
                one.state = DialogState.UNCONFIRMED

    def _lose(self, call: list[Dialog], dialog: Dialog) -> None:
        call.remove(dialog)
        dialog.state = DialogState.DELETED
        self._forget(dialog)

    def answered(self, dialog: Dialog, leg: Leg, branch: str, now: float) -> bool:
        """A 2xx: state 3; False when it was there already."""
        if dialog.state in (DialogState.CONFIRMED_NA, DialogState.CONFIRMED) or not dialog.moved(On.ANSWER):
            return False
        dialog.callee, dialog.branch, dialog.start = leg, branch, now
        self.touch(dialog)
        self._rearm(dialog, now)
        self._timers.set(("noack", dialog), now + NOACK_TIMEOUT)
        return True

    def request(self, dialog: Dialog, side: str, request: Request, now: float) -> None:
        """An in-dialog request passes: CSeq follows it. A BYE ends nothing before its answer (`left`)."""
        headers = request.headers
        leg = dialog.leg(side)
        self.touch(dialog)
        if headers.cseq.number > leg.cseq:
            dialog.put_leg(side, leg.with_cseq(headers.cseq.number))
        if request.method == "ACK":
            if dialog.moved(On.ACK):
                self._timers.cancel(("noack", dialog))
                self._rearm(dialog, now)
        elif request.method == "BYE":
            dialog.leaving = dialog.leaving or now
        elif dialog.state is DialogState.CONFIRMED:
            self._rearm(dialog, now)

    def touch(self, dialog: Dialog) -> None:
        """Something of it has changed that shall outlive the process."""
        if self.changed is not None:
            self.changed[dialog] = None

    def restore(self, dialog: Dialog, now: float) -> bool:
        """Take in a dialog of a process that is gone; False when it is known, or was to end meanwhile.

        One whose ACK was still to come waits for it as long again.
        """
        (call_id, caller), tag = dialog.key, dialog.callee.tag
        known = self._by_tags.get((call_id, caller, tag), ())
        if dialog.expires <= now or any(one.did == dialog.did for one, _ in known):
            return False
        self._next_id = max(self._next_id, dialog.h_id)
        self._by_call.setdefault(dialog.key, []).append(dialog)
        self._index(dialog)
        self._timers.set(("lifetime", dialog), dialog.expires)
        if dialog.state is DialogState.CONFIRMED_NA:
            self._timers.set(("noack", dialog), now + NOACK_TIMEOUT)
        return True

    def left(self, dialog: Dialog, side: str, status: int, now: float) -> bool:
        """The BYE of `side` has its final answer, 0 for none: True when that ends the dialog.

        One that asks for a password does not (401, 407): whoever sent the BYE may be nobody.
        """
        if status in (401, 407):
            dialog.leaving = 0.0
            return False
        return self.end(dialog, On.BYE, f"BYE from {side}", dialog.leaving or now)

    def end(self, dialog: Dialog, on: On, why: str, now: float) -> bool:
        """State 5, once; the record stays for `END_TIMEOUT`, or until too many others have ended."""
        if not dialog.moved(on):
            return False
        if on is On.FAILURE:
            self.counters["dialog:failed_dialogs"] += 1
        dialog.end, dialog.ended_by = now, why
        self.touch(dialog)
        self._timers.cancel(("lifetime", dialog))
        self._timers.cancel(("noack", dialog))
        self._timers.set(("forget", dialog), now + END_TIMEOUT)
        self._ended[dialog] = None
        if len(self._ended) > MOST_ENDED:
            self._forget(next(iter(self._ended)))
        return True

    def tick(self, now: float) -> list[tuple[Dialog, str]]:
        """Dialogs whose time has come, with the reason; the caller ends them. Old records go silently."""
        over: list[tuple[Dialog, str]] = []
        for what, dialog in self._timers.due(now):
            if what == "forget":
                self._forget(dialog)
            elif what == "noack":
                over.append((dialog, "no ACK came"))
            else:
                self.counters["dialog:expired_dialogs"] += 1
                over.append((dialog, LIFETIME))
        return over

    # -- the indexes -------------------------------------------------------------------------------

    def _rearm(self, dialog: Dialog, now: float) -> None:
        dialog.expires = now + dialog.lifetime
        self._timers.set(("lifetime", dialog), dialog.expires)

    def _index(self, dialog: Dialog) -> None:
        (call_id, caller), tag = dialog.key, dialog.callee.tag
        self._by_tags.setdefault((call_id, caller, tag), []).append((dialog, "caller"))
        self._by_tags.setdefault((call_id, tag, caller), []).append((dialog, "callee"))

    def _unindex(self, dialog: Dialog) -> None:
        (call_id, caller), tag = dialog.key, dialog.callee.tag
        for key in ((call_id, caller, tag), (call_id, tag, caller)):
            kept = [one for one in self._by_tags.get(key, ()) if one[0] is not dialog]
            if kept:
                self._by_tags[key] = kept
            else:
                self._by_tags.pop(key, None)

    def _forget(self, dialog: Dialog) -> None:
        self._ended.pop(dialog, None)
        self._timers.cancel(("forget", dialog))
        self._unindex(dialog)
        group = self._by_call.get(dialog.key, [])
        if dialog in group:
            group.remove(dialog)
        if not group:
            self._by_call.pop(dialog.key, None)


def callee_leg(response: Response, flow: Flow, nated: bool, ruid: str, is_ours: Callable[[Uri], bool]) -> Leg:
    """The leg that a response to INVITE describes; Record-Route entries above ours lead on to it."""
    headers = response.headers
    contact = headers.contacts[0] if headers.contacts else None
    beyond: list[str] = []
    for route in headers.record_routes:
        if is_ours(route.uri):
            break
        beyond.append(str(route))
    return Leg(
        uri=headers.get("To") or "",
        tag=headers.to.tag or "",
        contact=str(contact.uri) if contact else "",
        routes=tuple(reversed(beyond)),
        flow=flow,
        nated=nated,
        ruid=ruid,
    )

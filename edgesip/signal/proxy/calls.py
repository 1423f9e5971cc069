"""Calls: the dialogs and the media that move along with requests and responses as these pass through us.

Says which body goes on and what has become of a call. Knows no branch's transaction and decides no route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgesip.address import Addr, Flow
from edgesip.signal.dialog.local import ack_for_answer, bye_for
from edgesip.signal.dialog.offer_answer import (
    Media,
    MediaKey,
    MediaRefusal,
    Role,
    request_role,
    response_role,
)
from edgesip.signal.dialog.state import Dialog, DialogState, On, other
from edgesip.signal.dialog.table import LIFETIME, MOST_ANSWERS, Dialogs, callee_leg
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.nat.traversal import Traversal
from edgesip.signal.proxy.asked import Said
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.proxy.fork import Branch, Fork
from edgesip.signal.proxy.inbound import Happened, Inbound, note
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.plays import Play
from edgesip.signal.transaction.hop import COOKIE
from edgesip.signal.transaction.layer import Transactions
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response
from edgesip.signal.wire.parts import SDP, sdp_place

OFFERING: Final = frozenset({"INVITE", "UPDATE", "PRACK"})
RTP_TIMEOUT: Final = "rtp_timeout"
"""The hook, and the variable of the dialog that says which sides are silent."""


class Calls:
    """The calls of one server; `binding` finds a binding by its ruid, `said` is where news is left."""

    def __init__(
        self,
        transactions: Transactions,
        dialogs: Dialogs,
        media: Media | None,
        myself: Myself,
        entropy: Callable[[int], bytes],
        binding: Callable[[str], Binding | None],
        said: list[Said],
    ) -> None:
        self._transactions = transactions
        self._dialogs = dialogs
        self.media = media
        self._myself = myself
        self._entropy = entropy
        self._binding = binding
        self._said = said
        self.sends: list[tuple[Flow, bytes]] = []
        self.traversal: Traversal | None = None

    # -- requests ----------------------------------------------------------------------------------

    def begin(self, inbound: Inbound, branches: int, now: float) -> list[Dialog]:
        """The dialogs of a request that is forwarded: its own, or a first one of a new INVITE."""
        request, dialog = inbound.request, inbound.dialog
        if dialog is not None:
            self.follow_request(dialog, inbound.side, request, now)
            return [dialog]
        if request.method != "INVITE":
            return []
        dialog = self._dialogs.create(request, inbound.flow, now, inbound.nated, inbound.ruid)
        dialog.variables.update(inbound.variables or {})
        dialog.lifetime = inbound.lifetime or dialog.lifetime
        self._said.append(
            note(
                "info",
                "call started",
                request.headers.call_id,
                caller=str(request.headers.from_.uri),
                ruri=request.uri,
                source=str(inbound.flow.remote),
                branches=branches,
            )
        )
        call = [dialog]
        if inbound.edits.keepalive and self.traversal is not None:
            self.traversal.calls(call, inbound.flow, now)
        return call

    def record(self, dialog: Dialog | None, what: str, now: float) -> None:
        """A script wants the call recorded in this form, with "stop" no longer; with "" as it is."""
        if what and self.media is not None and dialog is not None and _has_media(dialog):
            self.media.record(dialog.media_key, "" if what == "stop" else what, now)

    def follow_request(self, dialog: Dialog, side: str, request: Request, now: float) -> None:
        """A request inside a dialog passes."""
        self._dialogs.request(dialog, side, request, now)

    def request_body(
        self,
        dialog: Dialog | None,
        branch: str,
        side: str,
        request: Request,
        source: Flow,
        toward: Flow,
        now: float,
        edits: Edits,
    ) -> bytes | MediaRefusal:
        """The body that goes on: re-addressed where it is SDP of a relayed call, else as it came.

        `edits` may say that the call shall be relayed from here on, or not any more.
        """
        body, media = request.body, self.media
        if media is None or dialog is None or dialog.state is DialogState.DELETED:
            return body
        wish, opens = edits.wish, not request.headers.to.tag
        if opens and not edits.relay:  # each branch of an INVITE has its own media, or none
            return body
        place = _place(request.headers, body)
        role = request_role(request.method, place is not None, dialog.late, side)
        if opens or (edits.relay and role is Role.OFFER):
            self._relay(dialog, edits)
        elif edits.relay is False and dialog.relayed:
            self._unrelay(dialog, now)
        if not dialog.relayed:
            return body
        self.record(dialog, edits.record, now)
        tag = (request.headers.to.tag if side == "caller" else request.headers.from_.tag) or ""
        if request.method == "INVITE":
            dialog.wish = wish if role is Role.NONE else None
        if role is Role.NONE or place is None:
            return body
        key, sdp = dialog.media_key, body[place[0] : place[1]]
        if role is Role.OFFER:
            result = media.offer(key, branch, tag, side, sdp, source, toward, now, wish)
        else:
            late, dialog.late = dialog.late, ""  # an ACK that comes again only reads as the first did
            wish, dialog.wish = wish or (dialog.wish if side == "caller" else None), None
            result = media.answer(key, branch, tag, side, sdp, source, toward, bool(late), now, wish)
        return _put(body, place, result) if isinstance(result, bytes) else result

    def _relay(self, dialog: Dialog, edits: Edits) -> None:
        """The media of this call goes through us from now on."""
        if self.media is not None and not dialog.relayed:
            dialog.relayed = True
            dialog.named = edits.wish.extra if edits.wish is not None else ""

    def _unrelay(self, dialog: Dialog, now: float) -> None:
        """It goes past us from now on."""
        if self.media is not None:
            self.media.end(dialog.media_key, now)
        for one in self._dialogs.siblings(dialog):
            if one.turn == dialog.turn:
                one.relayed = False

    # -- responses ---------------------------------------------------------------------------------

    def follow(self, fork: Fork, branch: Branch, response: Response, now: float) -> Dialog | None:
        """Move the dialog of a provisional or 2xx that goes on; None where there is none."""
        headers, method = response.headers, fork.request.method
        if fork.edits.keepalive and self.traversal is not None:
            self.traversal.accepted(
                fork.edits, fork.request, fork.inbound, response.status, headers.fields, now
            )
        if not fork.dialogs:
            return None
        dialog = fork.dialogs[0]
        if fork.in_dialog:
            if response.status >= 200:
                self.left(fork, response.status, now)
            if response.status >= 200 and method in ("INVITE", "UPDATE"):
                for side, refreshed in ((fork.side, fork.request.headers), (other(fork.side), headers)):
                    if refreshed.contacts:
                        leg = dialog.leg(side)
                        dialog.put_leg(side, leg.with_contact(str(refreshed.contacts[0].uri)))
                        self._dialogs.touch(dialog)
            return dialog
        if not headers.to.tag:
            return dialog
        final = response.status >= 200
        target = branch.target
        leg = callee_leg(response, branch.flow, target.nated, target.ruid, self._myself.is_myself)
        found = self._dialogs.heard(fork.dialogs, leg, branch.name, final)
        if found is not None and final and self._dialogs.answered(found, leg, branch.name, now):
            self._said.append(
                note("info", "call answered", found.call_id, ruri=found.ruri, contact=leg.contact)
            )
            self._said.append(Happened("dialog_start", found))
        if found is not None and self.traversal is not None:
            self.traversal.rings(found, fork.dialogs, branch.flow, now)
        return found

    def response_body(
        self, fork: Fork, branch: Branch, dialog: Dialog | None, response: Response, now: float, edits: Edits
    ) -> bytes:
        """The body of a provisional or 2xx that goes on."""
        body, media = response.body, self.media
        if media is None or dialog is None or dialog.state is DialogState.DELETED:
            return body
        if edits.relay is False and dialog.relayed:
            self._unrelay(dialog, now)
        headers, method = response.headers, fork.request.method
        offered = has_sdp(fork.request.headers, fork.request.body)
        place = _place(headers, body)
        if edits.relay and place is not None and not offered:
            self._relay(dialog, edits)
        if not dialog.relayed:
            return body
        side = other(fork.side)
        tag = headers.to.tag or "" if fork.side == "caller" else headers.from_.tag or ""
        name = dialog.branch if fork.in_dialog else branch.name
        key, final = dialog.media_key, response.status >= 200
        if final and method == "INVITE":
            preview, dialog.preview = dialog.preview, b""
            if preview and offered and place is None:
                media.answer(key, name, tag, side, preview, branch.flow, fork.inbound, True, now)
                return body
        role = response_role(method, response.status, place is not None, offered)
        if role is Role.NONE or place is None:
            return body
        sdp = body[place[0] : place[1]]
        if role is Role.OFFER:
            if branch.offer[0] == body:
                return branch.offer[1]
            wish = edits.wish or (dialog.wish.turned() if dialog.wish is not None else None)
            result = media.offer(key, name, tag, side, sdp, branch.flow, fork.inbound, now, wish)
        else:
            final = role is Role.ANSWER
            if not final and method == "INVITE":
                dialog.preview = sdp
            flows = (branch.flow, fork.inbound)
            result = media.answer(key, name, tag, side, sdp, *flows, final, now, edits.wish)
        if not isinstance(result, bytes):
            self._said.append(note("warning", "answer not relayed", dialog.call_id, why=result.reason))
            return body
        result = _put(body, place, result)
        if role is Role.OFFER:
            dialog.late, branch.offer = side, (body, result)
        return result

    def play(self, wanted: Sequence[Play], dialog: Dialog | None, branch: str, uac: str, now: float) -> None:
        """Begin and end what a script wants played; `uac` is the side that sent the request."""
        for one in wanted:
            why = "its media is not relayed"
            if self.media is not None and dialog is not None and _has_media(dialog):
                side = uac if one.to_uac else other(uac)
                why = self.media.play(dialog.media_key, branch, side, one.name, one.times, now)
            if why and one.times:
                call_id = "" if dialog is None else dialog.call_id
                self._said.append(note("warning", "prompt not played", call_id, prompt=one.name, why=why))

    # -- ends --------------------------------------------------------------------------------------

    def left(self, fork: Fork, status: int, now: float) -> None:
        """A BYE has its final answer, 0 for none."""
        if fork.request.method == "BYE" and fork.dialogs:
            dialog = fork.dialogs[0]
            if self._dialogs.left(dialog, fork.side, status, now):
                self._over(dialog, now)

    def branch_failed(self, fork: Fork, branch: Branch, now: float) -> None:
        """A branch has no answer that could go on: its early dialogs and its media are over."""
        if not fork.dialogs:
            return
        dialog, request = fork.dialogs[0], fork.request
        if not fork.in_dialog:
            if self.media is not None:
                self.media.close(dialog.media_key, branch.name, now)
            self._dialogs.branch_failed(fork.dialogs, branch.name)
            return
        if request.method == "INVITE":
            dialog.preview = b""
        if self.media is None or not _has_media(dialog) or request.method not in OFFERING:
            return
        if has_sdp(request.headers, request.body):
            self.media.reject(dialog.media_key, dialog.branch, fork.side, now)

    def forgotten(self, fork: Fork, branch: Branch, now: float) -> None:
        """The transaction of a branch is gone: who rang there and never answered never will.

        The media that they share with one who answered goes with the last of them.
        """
        if fork.in_dialog or not fork.dialogs:
            return
        dialog, before = fork.dialogs[0], len(fork.dialogs)
        self._dialogs.branch_failed(fork.dialogs, branch.name)
        if len(fork.dialogs) < before:
            self._close_media(dialog, [branch.name], now)

    def failed(self, fork: Fork, response: Response | None, now: float) -> None:
        """The final answer is a failure: an INVITE opens no call, a BYE may not end one."""
        if fork.in_dialog:
            self.left(fork, response.status if response is not None else 0, now)
            return
        if response is None or fork.request.method != "INVITE" or not fork.dialogs:
            return
        dialog = fork.dialogs[0]
        self._dialogs.end(dialog, On.FAILURE, f"{response.status} {response.reason}", now)
        self._said.append(
            note("info", "call failed", dialog.call_id, status=response.status, reason=response.reason)
        )
        self._said.append(Happened("dialog_failed", dialog))
        self._close_media(dialog, [branch.name for branch in fork.branches], now)

    def repeated(self, fork: Fork, branch: Branch, response: Response, now: float) -> bytes:
        """The 2xx as it went on before, when this one is the same; another branch's media for it is over."""
        for one in fork.dialogs:
            first = one.success
            if first is not None and first.comes_again(response.headers):
                if branch.final is None and self.media is not None and one.branch != branch.name:
                    self.media.close(one.media_key, branch.name, now)
                return first.octets
        return b""

    def again(self, response: Response) -> bool:
        """A 2xx of a living call that comes again without its transaction: the first copy, or its ACK, got
        lost. It is answered as the first was, with the same Contact and the same SDP.
        """
        headers = response.headers
        if not 200 <= response.status < 300 or headers.cseq.method != "INVITE":
            return False
        found = self._dialogs.find(headers)
        if found is None or not self._myself.is_our_address(Addr(headers.via.host, headers.via.port or 5060)):
            return False
        dialog, side = found
        first, flow = dialog.success, dialog.leg(side).flow
        living = dialog.state in (DialogState.CONFIRMED_NA, DialogState.CONFIRMED)
        if not living or flow is None or first is None or not first.comes_again(headers):
            return False
        self.sends.append((flow, first.octets))
        return True

    def hang_up(self, fork: Fork, branch: Branch, response: Response, now: float) -> None:
        """A 2xx that nobody waits for any more: its ACK, and a BYE unless it answered a re-INVITE."""
        if not fork.dialogs:
            return
        target = branch.target
        leg = callee_leg(response, branch.flow, target.nated, target.ruid, self._myself.is_myself)
        if fork.in_dialog:
            dialog, side = fork.dialogs[0], other(fork.side)
        else:
            dialog, side = fork.dialogs[0].sibling(), "callee"
            dialog.callee = leg
        number = response.headers.cseq.number
        ack = ack_for_answer(dialog, side, number, self._branch_id(), self._myself)
        flow = dialog.leg(side).flow
        if ack is None or flow is None:
            return
        self.sends.append((flow, bytes(ack)))
        if fork.in_dialog or leg.tag in branch.hung_up or len(branch.hung_up) >= MOST_ANSWERS:
            return
        branch.hung_up |= {leg.tag}
        self._said.append(note("info", "answer came too late", dialog.call_id, contact=leg.contact))
        self._bye(dialog, side, "Answered too late", now)

    def terminate(self, dialog: Dialog, why: str, now: float) -> None:
        """End a call from the middle: BYE to both legs, state 5, ports back."""
        if dialog.state not in (DialogState.CONFIRMED_NA, DialogState.CONFIRMED):
            return
        if why == LIFETIME:
            self._said.append(Happened("dialog_timeout", dialog))
        for side in ("caller", "callee"):
            binding = self._binding(dialog.leg(side).ruid)
            if binding is not None:
                dialog.put_leg(side, dialog.leg(side).with_flow(binding.flow))
            self._bye(dialog, side, why, now)
        self._dialogs.end(dialog, On.TIMEOUT, why, now)
        self._over(dialog, now)

    def silent(self, key: MediaKey, branch: str, sides: Sequence[str], ends: bool, now: float) -> None:
        """No media of these `sides` for too long. Where that ends the call all of it goes, and the media of a
        call that nobody knows any more.
        """
        found = list(self._dialogs.by_media(key, branch))
        for dialog in found:
            dialog.variables[RTP_TIMEOUT] = " ".join(sides)
            self._said.append(Happened(RTP_TIMEOUT, dialog))
        for dialog in found if ends else ():
            self.terminate(dialog, "RTP Timeout", now)
        if ends and not found and self.media is not None:
            self.media.close(key, branch, now)

    def _bye(self, dialog: Dialog, side: str, why: str, now: float) -> None:
        bye = bye_for(dialog, side, self._branch_id(), self._myself, why)
        flow = dialog.leg(side).flow
        if bye is not None and flow is not None:
            self._transactions.open_client(bye, flow, None, now)

    def _branch_id(self) -> str:
        return f"{COOKIE}{self._entropy(8).hex()}.0"

    def _over(self, dialog: Dialog, now: float) -> None:
        self._said.append(
            note(
                "info",
                "call ended",
                dialog.call_id,
                by=dialog.ended_by,
                seconds=round(dialog.end - dialog.start, 1) if dialog.start else 0,
            )
        )
        self._said.append(Happened("dialog_end", dialog))
        self._close_media(dialog, [dialog.branch], now)

    def _close_media(self, dialog: Dialog, branches: Sequence[str], now: float) -> None:
        if self.media is None:
            return
        living = [one for one in self._dialogs.siblings(dialog) if one.turn == dialog.turn]
        if not living:
            self.media.end(dialog.media_key, now)
            return
        kept = {one.branch for one in living}
        for name in branches:
            if name not in kept:
                self.media.close(dialog.media_key, name, now)


def has_sdp(headers: Headers, body: bytes) -> bool:
    """True when the body is SDP, or a multipart body of which one part is."""
    return _place(headers, body) is not None


def _place(headers: Headers, body: bytes) -> tuple[int, int] | None:
    """Where the SDP of a body begins and ends."""
    if not body or headers.content_type == SDP:
        return (0, len(body)) if body else None
    return sdp_place(headers.get("Content-Type") or "", body)


def _put(body: bytes, place: tuple[int, int], sdp: bytes) -> bytes:
    """The body with other SDP in that place."""
    return sdp if place == (0, len(body)) else body[: place[0]] + sdp + body[place[1] :]


def _has_media(dialog: Dialog) -> bool:
    """True while the call's media is ours to move: what comes after its end opens nothing."""
    return dialog.relayed and dialog.state is not DialogState.DELETED

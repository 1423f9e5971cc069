"""Which prompts play to whom: begun, paced, ended, and music while a call is on hold.

A prompt plays towards one line, in place of what the other side sends there: that stream is taken off the
path, its packets are judged and counted but go no further, and afterwards it goes on as it came. Refuses to
know files, sockets and SIP.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count as numbers

from edgesip.address import Addr
from edgesip.relay.direction import directed
from edgesip.relay.leg import Leg, Line
from edgesip.relay.packets import Packets, Send
from edgesip.relay.prompt import LATE, SLOT, Player, Prompt, chosen
from edgesip.relay.sdp import Media
from edgesip.relay.session import CALLEE, CALLER, Branch, Plan, Session

SLACK = 0.0005
"""Seconds that a packet may leave early: timers have milliseconds."""


class _Part:
    """A player with whom it plays to."""

    __slots__ = ("leg", "line", "player", "session")

    def __init__(self, session: Session, leg: Leg, line: Line, player: Player) -> None:
        self.session = session
        self.leg = leg
        self.line = line
        self.player = player


class Playing:
    """Every prompt that plays. `prompts(name)` finds one, `alarm(at)` is told when `pace` has to be called.

    `music` is the prompt for calls on hold, "" for none. Reasons are sentences for operators; "" is success.
    """

    def __init__(
        self,
        packets: Packets,
        entropy: Callable[[int], bytes],
        prompts: Callable[[str], Prompt | None],
        alarm: Callable[[float], None],
    ) -> None:
        self._packets = packets
        self._entropy = entropy
        self._prompts = prompts
        self._alarm = alarm
        self._numbers = numbers()
        self._waiting: list[tuple[int, int, _Part]] = []
        self.music = ""
        self.playing = 0
        self.sent = 0

    def play(
        self,
        session: Session,
        branch: Branch,
        side: str,
        name: str,
        count: int,
        now: float,
        is_music: bool = False,
        codecs: tuple[int, ...] | None = None,
    ) -> str:
        """Play a prompt to `side`, `count` times or for ever (-1); 0 stops. Another that plays there ends.

        `codecs` are the payload types to choose from, in order; None: those of the side's SDP.
        """
        leg, other = _legs(session, branch, side)
        if count == 0:
            return self.stop(session, branch, side, now)
        if count < -1:
            return f"a count of {count}: it is -1 for ever, 0 to stop, or how many times"
        found = self._found(leg, other, name, codecs)
        if isinstance(found, str):
            return found
        line, prompt, code = found
        self._end(session, line, now)
        slot = int(now / SLOT) + 1
        player = Player(prompt, code, line.ptime, count, slot, self._entropy(10), is_music)
        line.player = player
        self.playing += 1
        self._packets.settle(session)
        peer = other.lines.get(line.index)
        latest = None if peer is None or peer.track is None else peer.track.latest()
        if latest is not None:
            player.join(*latest)
        self._packets.moments.prompt(now, session.key[0], leg, line, "prompt starts", name)
        first = not self._waiting or slot < self._waiting[0][0]
        heapq.heappush(self._waiting, (slot, next(self._numbers), _Part(session, leg, line, player)))
        if first:
            self._alarm(slot * SLOT)
        return ""

    def _found(
        self, leg: Leg, other: Leg, name: str, codecs: tuple[int, ...] | None = None
    ) -> tuple[Line, Prompt, int] | str:
        """Where a prompt would play to, the prompt and its codec; or why it cannot."""
        line = audio_of(leg)
        if line is None or not line.described:
            return f"the {leg.side} has no audio line yet"
        if line.secured:
            return f"the {leg.side}'s audio is encrypted"
        prompt = self._prompts(name)
        if prompt is None:
            return f"there is no prompt {name}"
        peer = other.lines.get(line.index)
        code = chosen(prompt, line.fmts if codecs is None else codecs, () if peer is None else peer.codes)
        return f"{name} is in none of the {leg.side}'s codecs" if code is None else (line, prompt, code)

    def stop(self, session: Session, branch: Branch, side: str, now: float) -> str:
        """Whatever plays to `side` ends; the other side is heard again."""
        leg = _legs(session, branch, side)[0]
        found = [line for line in leg.lines.values() if line.player is not None]
        for line in found:
            self._end(session, line, now)
            self._packets.moments.prompt(now, session.key[0], leg, line, "prompt stopped", "")
        self._packets.settle(session)
        return "" if found else f"nothing plays to the {side}"

    def released(self, line: Line) -> None:
        """The line's ports are given back."""
        if line.player is not None:
            line.player = None
            self.playing -= 1

    def offered(
        self, session: Session, branch: Branch, side: str, media: Sequence[Media], body: bytes
    ) -> bytes:
        """The offer of `side` in a running call, `body` as it goes on: who will hear music is told `sendonly`
        where the holder said `inactive`, else it would play nothing.
        """
        line = self._to_be_held(session, branch, side)
        if line is None or line.index >= len(media):
            return body
        asked = media[line.index]
        if not asked.relayed or asked.direction != "inactive":
            return body
        return directed(body, line.index, b"sendonly")

    def answered(
        self,
        session: Session,
        branch: Branch,
        side: str,
        plan: Plan | None,
        media: Sequence[Media],
        body: bytes,
    ) -> bytes:
        """The answer of `side`: `recvonly` to what was offered as `inactive` goes on as that (RFC 3264 §6.1),
        and `inactive` to who will hear music as `sendonly`.
        """
        line = audio_of(session.caller)
        if not self.music or not branch.answered or plan is None or line is None or line.index >= len(media):
            return body
        index = line.index
        if index >= len(plan.media) or not media[index].relayed:
            return body
        offer, answer = plan.media[index], media[index].direction
        if offer.direction == "inactive" and answer == "recvonly":
            return directed(body, index, b"inactive")
        if answer == "inactive" and not offer.hold and self._to_be_held(session, branch, side) is not None:
            return directed(body, index, b"sendonly")
        return body

    def _to_be_held(self, session: Session, branch: Branch, holder: str) -> Line | None:
        """The line of who would hear music when `holder` holds; None when nobody would."""
        if not self.music or not branch.answered:
            return None
        own, leg = _legs(session, branch, holder)
        found = self._found(leg, own, self.music)
        return None if isinstance(found, str) else found[0]

    def agreed(self, session: Session, branch: Branch, answerer: str, again: bool, now: float) -> None:
        """A final answer by `answerer` is in force, `again`: not the call's first. Music follows the holds.

        What plays in a codec that its listener no longer has begins anew in another one, or ends.
        """
        if not (self.playing or self.music):
            return
        for side in (CALLER, CALLEE):
            leg = _legs(session, branch, side)[0]
            for line in leg.lines.values():
                player = line.player
                if player is not None and (not line.is_rtp or player.code not in line.fmts):
                    self.play(session, branch, side, player.name, player.count, now, player.is_music)
                    if line.player is player:
                        self.stop(session, branch, side, now)
        before = [side for side in (CALLER, CALLEE) if self._has_music(_legs(session, branch, side)[0])]
        listener = ""
        if self.music and again:
            caller, callee = audio_of(session.caller), audio_of(branch.leg)
            if caller is not None and callee is not None:
                listener = held_side(caller.hold, callee.hold, answerer, before[0] if before else "")
        for side in before:
            if side != listener:
                self.stop(session, branch, side, now)
        if listener and listener not in before:
            why = self.play(session, branch, listener, self.music, -1, now, True)
            if why:
                self._packets.moments.no_music(now, session.key[0], why)

    def pace(self, now: float) -> Sequence[Send]:
        """What is due by now, as (from our port, to, octets)."""
        present = int((now + SLACK) / SLOT)
        waiting, sends = self._waiting, []
        while waiting and waiting[0][0] <= present:
            part = heapq.heappop(waiting)[2]
            line, player = part.line, part.player
            if line.player is not player:
                continue
            behind = present - player.slot
            if behind > LATE:
                player.skip(behind)
            out = line.rtp
            target = out.target
            if target is None or not (out.proven or part.leg.allows_unproven(target.host)):
                player.unsent()
            else:
                sends.append((Addr(line.pair.host, line.pair.rtp), target, player.packet()))
            if player.done:
                self._end(part.session, line, now)
                self._packets.settle(part.session)
                self._packets.moments.prompt(
                    now, part.session.key[0], part.leg, line, "prompt ended", player.name
                )
            else:
                heapq.heappush(waiting, (player.slot, next(self._numbers), part))
        self.sent += len(sends)
        return sends

    def pace_at(self) -> float | None:
        """When `pace` has something to send, in monotonic seconds; None while nothing plays."""
        return self._waiting[0][0] * SLOT if self._waiting else None

    def _end(self, session: Session, line: Line, now: float) -> None:
        if line.player is not None:
            line.player = None
            self.playing -= 1

    @staticmethod
    def _has_music(leg: Leg) -> bool:
        return any(line.player is not None and line.player.is_music for line in leg.lines.values())


def held_side(caller_holds: bool, callee_holds: bool, answerer: str, before: str) -> str:
    """Who is on hold after an answer, "" for nobody. A side holds when it wants to receive nothing.

    When both do, an answer only mirrors the offer: whoever was held still is, else who answered.
    """
    if caller_holds and callee_holds:
        return before or answerer
    if caller_holds:
        return CALLEE
    return CALLER if callee_holds else ""


def _legs(session: Session, branch: Branch, side: str) -> tuple[Leg, Leg]:
    """The leg of `side` and the one opposite."""
    return (session.caller, branch.leg) if side == CALLER else (branch.leg, session.caller)


def audio_of(leg: Leg) -> Line | None:
    """The first audio line of a leg."""
    lines = sorted(leg.lines.values(), key=_index)
    return next((line for line in lines if line.is_rtp and line.kind == "audio"), None)


def _index(line: Line) -> int:
    return line.index

"""What becomes of a call's media when it is over, and what `edgesip call why` is told of it.

Joins what the relay saw with what signalling did; keeps the last calls that ended, `relay.remember_minutes`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edgesip.address import Addr
from edgesip.control.ring import Ring
from edgesip.control.trace import call_id_of
from edgesip.relay.cases import Media, Seen
from edgesip.relay.service import RelayService
from edgesip.relay.why import Verdict
from edgesip.sections import Relay
from edgesip.signal.dialog.state import Dialog, DialogState
from edgesip.signal.dialog.table import Dialogs
from edgesip.signal.nat.alg import address_sign, length_sign

Log = Callable[[str, str, dict[str, Any]], None]
MOST_CALLS = 20
"""Calls that are told of at once, when a few letters of a Call-ID fit many."""
SIDES = ("caller", "callee")


class _Kept(NamedTuple):
    """A call that is over: its media, and by side its Contact and where its SIP comes from."""

    media: Media
    contacts: dict[str, str]
    sources: dict[Addr, str]


class Whys:
    """The media of calls: `ended` takes it in, `why` tells of it."""

    def __init__(
        self, section: Relay, dialogs: Dialogs, relay: RelayService | None, ring: Ring, log: Log
    ) -> None:
        self._dialogs = dialogs
        self._relay = relay
        self._ring = ring
        self._log = log
        self._seconds = section.remember_minutes * 60.0
        self._kept: deque[_Kept] = deque(maxlen=section.remember_calls)

    def ended(self, media: Media) -> None:
        """The call is over and all its packets were looked at: remember it, and write its line."""
        kept = self._case(media)
        self._kept.append(kept)
        while self._kept and media.at - self._kept[0].media.at > self._seconds:
            self._kept.popleft()
        if media.answered_at is None:
            return
        fields: dict[str, Any] = {"call_id": media.key[0]}
        for seen, word in zip(media.seen, media.words(self._clock), strict=True):
            side = seen.side
            name = side.side if side.media == "audio" else f"{side.side}_{side.media}"
            fields[f"{name}_packets"] = side.packets
            if side.mos:
                fields[f"{name}_loss"] = round(side.loss, 2)
                fields[f"{name}_jitter_ms"] = round(side.jitter, 1)
                fields[f"{name}_mos"] = round(side.mos, 2)
            if word != "fine":
                fields[f"{name}_why"] = word
        self._log("info", "media ended", fields)

    def why(self, call: str) -> list[dict[str, Any]]:
        """A record for each call whose Call-ID begins like this, living ones first."""
        now = time.monotonic()
        living = [] if self._relay is None else self._relay.media(call)
        kept = [self._case(media) for media in living]
        kept += [
            one
            for one in reversed(self._kept)
            if one.media.key[0].startswith(call) and now - one.media.at <= self._seconds
        ]
        found = [self._told(one) for one in kept[:MOST_CALLS]]
        known = {one.media.key for one in kept}
        found += [record for key, record in self._unseen(call) if key not in known]
        return found[:MOST_CALLS]

    def _told(self, kept: _Kept) -> dict[str, Any]:
        media = kept.media
        lengths = self._lengths(kept)
        hints = {}
        for side in (seen.side for seen in media.seen):
            said = "" if side.said is None else side.said.host
            signs = address_sign(kept.contacts.get(side.side, ""), said, side.sip), lengths.get(side.side, "")
            hints[side.side] = "; ".join(sign for sign in signs if sign)
        state = "ended" if media.over else "ringing" if media.answered_at is None else "up"
        return {
            "call-id": media.key[0],
            "from_tag": media.key[1],
            "state": state,
            "created": self._wall(media.created),
            "answered": self._wall(media.answered_at),
            "ended": self._wall(media.at) if media.over else 0,
            "note": "",
            "legs": [_leg(seen, found) for seen, found in media.judged(self._clock, hints)],
        }

    def _unseen(self, call: str) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        """Calls that signalling knows and whose media did not pass here, or is forgotten."""
        for dialog in self._dialogs:
            if not dialog.call_id.startswith(call):
                continue
            over = dialog.state is DialogState.DELETED
            yield (
                dialog.media_key,
                {
                    "call-id": dialog.call_id,
                    "from_tag": dialog.caller.tag,
                    "state": "ended" if over else "up" if dialog.start else "ringing",
                    "created": self._wall(dialog.init),
                    "answered": self._wall(dialog.start or None),
                    "ended": self._wall(dialog.end or None),
                    "note": self._absent(dialog, over),
                    "legs": [],
                },
            )

    def _absent(self, dialog: Dialog, over: bool) -> str:
        """Why there is nothing to tell of its media."""
        if self._relay is None:
            return "the relay is off (relay.enabled): media goes from phone to phone"
        if not dialog.relayed:
            return "its media does not pass here: the route script did not ask for the relay"
        if not dialog.start:
            return f"it was not answered: {dialog.ended_by}" if over else "it is not answered yet"
        if over:
            return "it ended too long ago: what its media did is forgotten (relay.remember_minutes)"
        return "its SDP brought no media that is relayed: media over TCP or DTLS passes us by"

    def _case(self, media: Media) -> _Kept:
        dialog = self._dialogs.of_media(media.key)
        legs = {} if dialog is None else {side: dialog.leg(side) for side in SIDES}
        sources = {leg.flow.remote: side for side, leg in legs.items() if leg.flow is not None}
        return _Kept(media, {side: leg.contact for side, leg in legs.items()}, sources)

    def _lengths(self, kept: _Kept) -> dict[str, str]:
        """Messages of this call, as far as they are remembered, whose length does not fit, by sender."""
        found: dict[str, str] = {}
        call = kept.media.key[0]
        name = call.encode("utf-8", "surrogateescape")
        for entry in self._ring.naming(name):
            if not entry[1] or entry[2].transport != "udp":
                continue
            sign = length_sign(entry[3]) if call_id_of(entry[3]) == call else ""
            if sign and entry[2].remote in kept.sources:
                found[kept.sources[entry[2].remote]] = sign
        return found

    def _wall(self, at: float | None) -> int:
        return 0 if at is None else round(at + time.time() - time.monotonic())

    def _clock(self, at: float) -> str:
        """The time of day where the server stands."""
        return time.strftime("%H:%M:%S", time.localtime(at + time.time() - time.monotonic()))


def _leg(seen: Seen, verdicts: list[Verdict]) -> dict[str, Any]:
    side, (first, *others) = seen.side, verdicts
    return {
        "side": side.side,
        "media": side.media,
        "verdict": first.code,
        "text": first.text,
        "do": first.do,
        "also": [{"verdict": one.code, "text": one.text, "do": one.do} for one in others],
        "told": str(side.told),
        "said": "" if side.said is None else str(side.said),
        "sip": side.sip,
        "target": "" if side.target is None else str(side.target),
        "packets": side.packets,
        "bytes": side.octets,
        "quality": seen.figures,
    }

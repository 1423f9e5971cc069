"""Legs: one side's ports of a call, line by line, and what its SDP said of them.

A `Line` is one m-line of one leg while it has ports: its latches, its counters, its marks. A `Leg` is all
lines of one side. Refuses to know offers and answers, the pool, and how packets move.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from edgesip.address import Addr, is_unspecified, parse_ip
from edgesip.relay.chain import Chain
from edgesip.relay.latch import Expect, Latch, Learn, Reach
from edgesip.relay.path import Figures
from edgesip.relay.ports import Pair
from edgesip.relay.prompt import Player
from edgesip.relay.rule import Rule
from edgesip.relay.sdp import Endpoint, Media
from edgesip.relay.track import Track
from edgesip.wish import Wish

Said = tuple[bytes, bytes, frozenset[int], frozenset[int]]
"""What a side says of a line and what its peer does; the payload types of both."""

UNPROVEN_PACKETS = 3  # rule 9 of media-relay.md §2.2
MAX_UNPROVEN_HOSTS = 16

BLOCKED = "an operator has blocked it"
"""Why a line is busy whose media is dropped once it is taken; RTCP goes on."""
SHUNNED = "its address is banned"
"""Why a line is busy that nothing is taken from, neither media nor RTCP."""


@dataclass(slots=True)
class Line:
    """One m-line of one leg. `packets` and `octets` count media taken from this side, no living rule's in it.

    `chain` is what the media of this side goes through, `busy` why else no path may carry it: with either
    every packet comes to us. `mux` and `valid` (the payload types that count) are what two legs agreed on:
    the callee's line has them. `fmts` are the payload types of this side's SDP in its order, `ptime` its
    milliseconds a packet (0: not said), `player` is the prompt that plays to it in place of the other side.
    `text` is this side's description of it, `turned_at` when this side last began or ended a hold, `track`
    there once RTP was taken, `strange` the last address that was not believed. `blind`: nobody showed SDP,
    so what comes to a port leaves by the same port of the other leg; without `codes` it may be anything.
    `sends` and `listens` are what this side's SDP says, `heard_at` is when media of it was taken last;
    `withheld` was taken and not sent on, `invalid` not even read. `rule` and `rtcp_rule` are what a path
    carries, `measured` is what of the former's figures the track knows already, `clock` what
    `settled.clock_of` made of what both sides said.
    """

    index: int
    pair: Pair
    kind: str = ""
    is_rtp: bool = True
    secured: bool = False
    described: bool = False
    blind: bool = False
    mux: bool = False
    hold: bool = False
    sends: bool = True
    listens: bool = True
    codes: frozenset[int] = frozenset()
    valid: frozenset[int] = frozenset()
    rtp: Latch = field(default_factory=Latch)
    rtcp: Latch = field(default_factory=lambda: Latch(rtcp=True))
    packets: int = 0
    octets: int = 0
    heard_at: float = 0.0
    withheld: int = 0
    invalid: int = 0
    rule: Rule | None = None
    rtcp_rule: Rule | None = None
    measured: Figures | None = None
    clock: tuple[Said, tuple[int, int]] | None = None
    chain: Chain = ()
    busy: frozenset[str] = frozenset()
    reported_at: float | None = None
    fmts: tuple[int, ...] = ()
    ptime: int = 0
    player: Player | None = None
    text: bytes = b""
    turned_at: float | None = None
    track: Track | None = None
    strange: Addr | None = None
    strange_at: float = 0.0

    def heard(self) -> Track:
        """What is known of the RTP of this side, from the first packet on."""
        if self.track is None:
            self.track = Track()
        return self.track

    @property
    def may_be_anything(self) -> bool:
        """True when its packets need not be RTP."""
        return not self.is_rtp or (self.blind and not self.codes)

    def name(self, media: Media) -> None:
        """Take over what kind of media the line carries; the same ports may turn from audio to T.38."""
        self.kind, self.is_rtp = media.kind, media.is_rtp
        self.secured = media.proto.upper().startswith("RTP/SAVP")

    def describe(
        self,
        media: Media,
        sip: str,
        reach: Reach,
        learn: Learn,
        now: float,
        trust: bool = False,
        handover: bool = False,
    ) -> None:
        """The SDP of this side says this of the line; a null address changes nothing that was learned."""
        self.name(media)
        if media.hold != self.hold:
            self.turned_at = now
        self.described, self.hold, self.codes = True, media.hold, media.payload_types
        self.fmts, self.ptime = media.codes, media.ptime
        self.text = media.text
        self.sends = media.direction in ("sendrecv", "sendonly")
        self.listens = media.direction in ("sendrecv", "recvonly") and not media.null
        rtp, rtcp = self.rtp.signalled, self.rtcp.signalled
        if not media.null or rtp is None or rtcp is None or not rtp.port:
            rtp, rtcp = _expectations(media, sip, reach, learn)
        self.rtp.expect(Expect(rtp.host, rtp.port, sip, reach, learn, trust, handover), now)
        self.rtcp.expect(Expect(rtcp.host, rtcp.port, sip, reach, learn, trust, handover), now)

    def await_answer(self, sip: str, reach: Reach, learn: Learn, now: float) -> None:
        """No SDP of this side yet: all that is known is where its SIP goes (early media, rule 1)."""
        if not self.described:
            nothing = Expect(None, 0, sip, reach, learn)
            self.rtp.expect(nothing, now)
            self.rtcp.expect(nothing, now)

    def unlock(self, now: float) -> None:
        """Learning may begin on both components."""
        self.rtp.unlock(now)
        self.rtcp.unlock(now)

    def take_over(self, old: Line, reach: Reach, now: float) -> None:
        """This line stands in the place of another: what was said of that one holds for it too."""
        self.kind, self.is_rtp, self.secured = old.kind, old.is_rtp, old.secured
        self.described, self.blind, self.mux, self.hold = old.described, old.blind, old.mux, old.hold
        self.codes, self.valid = old.codes, old.valid
        for latch, before in ((self.rtp, old.rtp), (self.rtcp, old.rtcp)):
            if before.signalled is not None:
                latch.expect(before.signalled._replace(reach=reach), now)
            if before.unlocked:
                latch.unlock(now)
        self.packets, self.octets = old.packets, old.octets

    def forget(self) -> None:
        """Another UA answers on these ports: nothing that was learned holds."""
        self.described = self.hold = False
        self.rtp, self.rtcp = Latch(), Latch(rtcp=True)

    def record(self, wall_offset: float) -> dict[str, Any]:
        """The line as JSON with wall times; the rule is not in it, it follows from two locked latches."""
        return {
            "index": self.index,
            "pair": [*self.pair],
            "kind": self.kind,
            "is_rtp": self.is_rtp,
            "secured": self.secured,
            "described": self.described,
            "blind": self.blind,
            "mux": self.mux,
            "hold": self.hold,
            "sends": self.sends,
            "listens": self.listens,
            "codes": sorted(self.codes),
            "fmts": self.fmts,
            "ptime": self.ptime,
            "valid": sorted(self.valid),
            "rtp": self.rtp.record(wall_offset),
            "rtcp": self.rtcp.record(wall_offset),
            "packets": self.packets,
            "octets": self.octets,
            "heard_at": self.heard_at and self.heard_at + wall_offset,
            "withheld": self.withheld,
            "invalid": self.invalid,
            "text": self.text.decode("latin-1"),
            "turned_at": None if self.turned_at is None else self.turned_at + wall_offset,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], wall_offset: float, reach: Reach) -> Line:
        """The line that `record` described, of a leg with this reach; KeyError, TypeError or ValueError when
        it does not.
        """
        turned = record["turned_at"]
        return cls(
            index=record["index"],
            pair=Pair(*record["pair"]),
            kind=record["kind"],
            is_rtp=record["is_rtp"],
            secured=record["secured"],
            described=record["described"],
            blind=record["blind"],
            mux=record["mux"],
            hold=record["hold"],
            sends=record["sends"],
            listens=record["listens"],
            codes=frozenset(record["codes"]),
            valid=frozenset(record["valid"]),
            rtp=Latch.from_record(record["rtp"], wall_offset, reach),
            rtcp=Latch.from_record(record["rtcp"], wall_offset, reach),
            packets=record["packets"],
            octets=record["octets"],
            fmts=tuple(record["fmts"]),
            ptime=record["ptime"],
            heard_at=record["heard_at"] and record["heard_at"] - wall_offset,
            withheld=record["withheld"],
            invalid=record["invalid"],
            text=record["text"].encode("latin-1"),
            turned_at=None if turned is None else turned - wall_offset,
        )


@dataclass(slots=True)
class Leg:
    """One side of a call: `host` is where its ports are, `written` the address its peer is told.

    `interface` is the named one that `host` is of, "" for the usual one. `learn`, `trust`, `handover` and
    `ptime` are what a script wished of this side (see `Wish`): who is believed, and the milliseconds of sound
    per packet that its media is to leave in, 0 for as it comes.
    """

    side: str
    host: str
    written: str
    reach: Reach
    sip: str = ""
    interface: str = ""
    learn: Learn = Learn.NAT
    trust: bool = False
    handover: bool = False
    ptime: int = 0
    lines: dict[int, Line] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)

    def obey(self, wish: Wish | None) -> None:
        """Whoever is at this side is treated so from its next SDP on; None changes nothing."""
        if wish is not None:
            self.learn = Learn(wish.learn) if wish.learn else Learn.NAT
            self.trust, self.handover, self.ptime = wish.trust, wish.handover, wish.ptime

    def describe(self, index: int, media: Media, sip: str, now: float) -> Line:
        """Put in force what this side's SDP says of a line that it has."""
        line = self.lines[index]
        line.describe(media, sip, self.reach, self.learn, now, self.trust, self.handover)
        return line

    def endpoint(self, index: int, media: Media, mux: bool) -> Endpoint | None:
        """What the peer of this leg is told for an m-line; None when the line has no ports here."""
        line = self.lines.get(index)
        if line is None or not media.relayed:
            return None
        single = media.rtcp_port == media.port
        return Endpoint(self.written, line.pair.rtp, line.pair.rtp if single else line.pair.rtcp, mux)

    def allows_unproven(self, host: str) -> bool:
        """Rule 9: spend one of the packets that may leave to a host that has proven nothing."""
        spent = self.spent.get(host, 0)
        if spent >= UNPROVEN_PACKETS or (not spent and len(self.spent) >= MAX_UNPROVEN_HOSTS):
            return False
        self.spent[host] = spent + 1
        return True

    def record(self, wall_offset: float, without: frozenset[int] = frozenset()) -> dict[str, Any]:
        """The leg as JSON with wall times, but for the lines of the indices in `without`."""
        loopback, own, low, high = self.reach
        return {
            "side": self.side,
            "host": self.host,
            "written": self.written,
            "reach": [loopback, sorted(own), low, high],
            "sip": self.sip,
            "interface": self.interface,
            "learn": self.learn.value,
            "trust": self.trust,
            "handover": self.handover,
            "ptime": self.ptime,
            "lines": [line.record(wall_offset) for index, line in self.lines.items() if index not in without],
            "spent": dict(self.spent),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], wall_offset: float) -> Leg:
        """The leg that `record` described; KeyError, TypeError or ValueError when it does not."""
        loopback, own, low, high = record["reach"]
        reach = Reach(loopback, frozenset(own), low, high)
        lines = [Line.from_record(each, wall_offset, reach) for each in record["lines"]]
        return cls(
            side=record["side"],
            host=record["host"],
            written=record["written"],
            reach=reach,
            sip=record["sip"],
            interface=record["interface"],
            learn=Learn(record["learn"]),
            trust=record["trust"],
            handover=record["handover"],
            ptime=record["ptime"],
            lines={line.index: line for line in lines},
            spent=dict(record["spent"]),
        )


def _expectations(media: Media, sip: str, reach: Reach, learn: Learn) -> tuple[Expect, Expect]:
    """What an m-line says of RTP and of RTCP (RFC 3605; without a=rtcp the next port, RFC 3550 §11)."""
    if media.null:
        nothing = Expect(None, 0, sip, reach, learn)
        return nothing, nothing
    rtcp_port = media.port + 1 if media.rtcp_port is None else media.rtcp_port
    rtcp_host = media.address if media.rtcp_address is None else media.rtcp_address
    if is_unspecified(rtcp_host) or rtcp_port > 65535:
        rtcp_port = 0
    return (
        Expect(_literal(media.address), media.port, sip, reach, learn),
        Expect(_literal(rtcp_host), rtcp_port, sip, reach, learn),
    )


@lru_cache(maxsize=4096)
def _literal(host: str) -> str | None:
    ip = parse_ip(host)
    return None if ip is None else str(ip)

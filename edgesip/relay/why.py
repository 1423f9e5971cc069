"""Why there is no audio: a verdict for each side of a call, in a sentence that somebody can act on.

A table: each row looks at what is known of one side and of the other, and says its sentence or nothing. Of
those about sound the first that speaks counts; faults and notes stand beside it. Pure: the facts are values,
the clock is given. Refuses to know where the facts come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from edgesip.address import Addr, is_private

SILENT = 5.0
"""Seconds without a packet that are silence: below it a codec may just have nothing to say."""
PATIENCE = 2.0
"""Seconds after the answer in which nobody has to have spoken yet."""
SOON = 2.0
"""Seconds between two things that have to do with each other."""
NOISE = frozenset({13, 19})
"""Payload types of comfort noise, which phones send without asking."""
FEW = 5
"""Packets of a payload type that are no accident."""
LOSSY, SHAKEN, POOR = 3.0, 40.0, 3.6
"""Percent of loss, milliseconds of jitter, and MOS from which on people complain."""
LONG_PAUSE = 10.0


@dataclass(slots=True)
class Side:
    """What is known of one side's line; not changed once made. Times are monotonic seconds, None for never.

    `told` is where this side was told to send, `said` what its SDP names, `sip` where its SIP comes from, and
    `target` where packets for it go. `strange` is the last address that was not believed for it. `agreed` are
    the payload types of the call, `types` those that came, with how many packets. `turned_at` is when it last
    began or ended a hold of its own. `hint` is what signalling noticed about its SDP; `blocked`: an operator
    lets nothing of it through. `prompt` plays to this side now.
    """

    side: str
    media: str
    told: Addr
    sip: str
    said: Addr | None
    target: Addr | None
    locked: Addr | None = None
    packets: int = 0
    first_at: float | None = None
    last_at: float | None = None
    strange: Addr | None = None
    strange_at: float = 0.0
    mismatches: int = 0
    contested: bool = False
    hold: bool = False
    turned_at: float | None = None
    agreed: frozenset[int] = frozenset()
    types: Mapping[int, int] = field(default_factory=dict)
    has_rtcp: bool = False
    loss: float = 0.0
    jitter: float = 0.0
    mos: float = 0.0
    pause: tuple[float, float] | None = None
    hint: str = ""
    blocked: bool = False
    prompt: str = ""
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """The call: when it was answered, the moment it is judged for (its end, once it is over), and a clock.

    `clock` writes a monotonic time as people read it.
    """

    answered_at: float | None
    at: float
    over: bool
    clock: Callable[[float], str]


SOUND, FAULT, NOTE = "sound", "fault", "note"
"""What a row is about: whether media comes (one of these at most), what is wrong with it, what else is."""


class Verdict(NamedTuple):
    """A word for programs, a sentence, and what to do ("" for nothing)."""

    code: str
    text: str
    do: str


def verdicts(me: Side, other: Side | None, case: Case) -> list[Verdict]:
    """What there is to say of a side, the verdict first; `other` is the same line of the side opposite."""
    told: list[Verdict] = []
    notes: list[Verdict] = []
    other = other or _NOBODY
    for row in TABLE:
        if row.kind is SOUND and told:
            continue
        said = row.says(me, other, case)
        if said:
            (notes if row.kind is NOTE else told).append(Verdict(row.code, said, row.do))
    return (told or [Verdict("fine", _fine(me, case), "")]) + notes


def verdict(me: Side, other: Side | None, case: Case) -> str:
    """The word of the first of them alone."""
    other = other or _NOBODY
    for row in TABLE:
        if row.kind is not NOTE and row.says(me, other, case):
            return row.code
    return "fine"


# What each row looks for.


def _unanswered(me: Side, other: Side, case: Case) -> str:
    if case.answered_at is not None:
        return ""
    return f"the call {'was never' if case.over else 'is not'} answered{'' if case.over else ' yet'}" + (
        f"; {me.packets} packets of early media came from {_name(me)}" if me.packets else ""
    )


def _blocked(me: Side, other: Side, case: Case) -> str:
    if not me.blocked:
        return ""
    return f"an operator has blocked what comes from {_name(me)}; {me.packets} packets came"


def _early(me: Side, other: Side, case: Case) -> str:
    if me.packets or case.answered_at is None or case.over or case.at - case.answered_at >= PATIENCE:
        return ""
    return "the call was answered a moment ago, and nothing has come yet"


def _stranger(me: Side, other: Side, case: Case) -> str:
    if me.strange is None or not _is_silent(me, case) or me.hold:
        return ""
    if me.last_at is not None and me.strange_at < me.last_at:
        return ""
    since = f" since {case.clock(me.last_at)}" if me.last_at is not None else ""
    return (
        f"packets for {_name(me)} come from {me.strange}{since}, which is not believed and dropped "
        f"({me.mismatches}, the last at {case.clock(me.strange_at)}): its SDP says {_or_nothing(me.said)}, "
        f"its SIP comes from {me.sip}"
    )


def _told_private(me: Side, other: Side, case: Case) -> str:
    if me.packets or not is_private(me.told.host) or is_private(me.sip):
        return ""
    return (
        f"no packet ever came from {_name(me)}: it was told to send to {me.told}, a private address, "
        f"and its SIP comes from {me.sip} outside"
    )


def _held(me: Side, other: Side, case: Case) -> str:
    holder = me if me.hold else other
    if not holder.hold or not _is_silent(me, case):
        return ""
    began = f" since {case.clock(holder.turned_at)}" if holder.turned_at is not None else ""
    silent = f"silent since {case.clock(me.last_at)}" if me.last_at is not None else "it never sent anything"
    who = "the call is on hold" if me.hold and other.hold else f"{_name(holder)} holds the call"
    return f"{silent}, because {who}{began}"


def _after_hold(me: Side, other: Side, case: Case) -> str:
    ended = max((one.turned_at for one in (me, other) if one.turned_at is not None), default=None)
    if ended is None or me.hold or other.hold or not me.packets or not _is_silent(me, case):
        return ""
    if me.last_at is None or me.last_at > ended + SOON:
        return ""
    return (
        f"silent since the hold: the last packet came at {case.clock(me.last_at)}, the hold ended at "
        f"{case.clock(ended)}, and {_name(me)} has sent nothing since then"
    )


def _guessed(me: Side, other: Side, case: Case) -> str:
    if me.packets or me.said is None or not is_private(me.said.host) or me.said.host == me.sip:
        return ""
    return (
        f"no packet ever came from {_name(me)}, and what is for it goes to {_or_nothing(me.target)} on good "
        f"luck: its SDP says {me.said}, a private address, and only its own first packet shows the right one"
    )


def _nowhere(me: Side, other: Side, case: Case) -> str:
    if me.packets or me.target is not None:
        return ""
    return (
        f"no packet ever came from {_name(me)}, and nothing can be sent to it: its SDP says "
        f"{_or_nothing(me.said)}, where nothing may be sent"
    )


def _never(me: Side, other: Side, case: Case) -> str:
    if me.packets:
        return ""
    rtcp = "; its RTCP comes, so the way is open and the phone sends no sound" if me.has_rtcp else ""
    return f"no packet ever came from {_name(me)} to {me.told}{rtcp}"


def _one_way(me: Side, other: Side, case: Case) -> str:
    if me.last_at is None or other.last_at is None or not _is_silent(me, case) or _is_silent(other, case):
        return ""
    goes = "went on until the end" if case.over else "goes on"
    return (
        f"one way since {case.clock(me.last_at)}: nothing more came from {_name(me)} at "
        f"{_or_nothing(me.locked)}, while {_name(other)} {goes}"
    )


def _silent(me: Side, other: Side, case: Case) -> str:
    if me.last_at is None or not _is_silent(me, case):
        return ""
    return f"silent since {case.clock(me.last_at)}: nothing more came from {_name(me)}"


def _contested(me: Side, other: Side, case: Case) -> str:
    if not me.contested:
        return ""
    rival = f", {me.strange} is the other" if me.strange is not None else ""
    return (
        f"contested: two senders at once claimed to be {_name(me)}; {_or_nothing(me.locked or me.target)} is "
        f"believed{rival}"
    )


def _codec(me: Side, other: Side, case: Case) -> str:
    foreign = {kind: count for kind, count in me.types.items() if _is_foreign(kind, count, me)}
    if not foreign:
        return ""
    came = ", ".join(f"{kind} ({count} packets)" for kind, count in sorted(foreign.items()))
    agreed = ", ".join(map(str, sorted(me.agreed)))
    return (
        f"{_name(me)} sends payload type {came}, which this call did not agree on ({agreed}): "
        f"{_name(other)} may not be able to play it"
    )


def _alg(me: Side, other: Side, case: Case) -> str:
    return me.hint


def _poor(me: Side, other: Side, case: Case) -> str:
    if not me.packets or not me.mos or (me.loss < LOSSY and me.jitter < SHAKEN and me.mos >= POOR):
        return ""
    return (
        f"what comes from {_name(me)} is poor: {me.loss:.1f} % lost on the way to us, jitter "
        f"{me.jitter:.0f} ms, MOS {me.mos:.1f}"
    )


def _paused(me: Side, other: Side, case: Case) -> str:
    if me.pause is None or me.pause[1] - me.pause[0] < LONG_PAUSE:
        return ""
    return f"nothing came from {_name(me)} from {case.clock(me.pause[0])} to {case.clock(me.pause[1])}"


def _covered(me: Side, other: Side, case: Case) -> str:
    if not other.prompt:
        return ""
    return f"the prompt {other.prompt} plays to {_name(other)} in place of what comes from {_name(me)}"


def _visited(me: Side, other: Side, case: Case) -> str:
    if me.strange is None or not me.packets:
        return ""
    return (
        f"{me.mismatches} packets for {_name(me)} came from elsewhere and were dropped, the last at "
        f"{case.clock(me.strange_at)} from {me.strange}"
    )


def _fine(me: Side, case: Case) -> str:
    until = "until the end" if case.over else "and goes on"
    since = f" since {case.clock(me.first_at)}" if me.first_at is not None else ""
    rest = f": {me.loss:.1f} % lost, jitter {me.jitter:.0f} ms, MOS {me.mos:.1f}" if me.mos else ""
    return f"media comes from {_or_nothing(me.locked or me.target)}{since} {until}{rest}"


class _Row(NamedTuple):
    code: str
    kind: str
    says: Callable[[Side, Side, Case], str]
    do: str


TABLE = (
    _Row("unanswered", SOUND, _unanswered, ""),
    _Row("blocked", SOUND, _blocked, "edgesip rtp unblock CALL-ID lets it through again"),
    _Row("early", SOUND, _early, "ask again in some seconds"),
    _Row(
        "stranger",
        SOUND,
        _stranger,
        "the phone sends media by another way than SIP: a second uplink, a VPN, a media gateway; lead both "
        "the same way. If it is nobody of yours, it is an attack that came to nothing",
    ),
    _Row(
        "told-private",
        SOUND,
        _told_private,
        "set `advertise` to the address that phones outside reach, and let relay.ports in",
    ),
    _Row("hold", SOUND, _held, "nothing: it is as they wanted it; the phone that holds can end it"),
    _Row(
        "after-hold",
        SOUND,
        _after_hold,
        "look at the re-INVITE that ended the hold (edgesip trace --call): the phone answered it, and did "
        "not take up sending; a restart or another firmware of the phone helps",
    ),
    _Row(
        "private",
        SOUND,
        _guessed,
        "the phone is behind a NAT and waits to be spoken to first: switch its silence suppression off and "
        "symmetric RTP on; else look whether its network lets UDP out to relay.ports",
    ),
    _Row("nowhere", SOUND, _nowhere, "correct the media address that the phone is set to"),
    _Row(
        "never",
        SOUND,
        _never,
        "does a firewall at the phone or before us drop UDP for relay.ports? Is the phone muted, without a "
        "microphone, or does it suppress silence?",
    ),
    _Row(
        "one-way",
        SOUND,
        _one_way,
        "that phone, its network or its NAT stopped: look at what happened there at that time, and for a "
        "re-INVITE then (edgesip trace --call)",
    ),
    _Row("silent", SOUND, _silent, "did the phone lose its network? relay.timeout ends such a call"),
    _Row(
        "contested",
        FAULT,
        _contested,
        "two machines send for one phone: the same account on two of them, or somebody who tries to take the "
        "call over; block the wrong one with edgesip rtp block",
    ),
    _Row("codec", FAULT, _codec, "set both phones to the same codecs; compare their m= and a=rtpmap lines"),
    _Row("alg", NOTE, _alg, "switch the SIP ALG of the phone's router off, or put the phone on TLS"),
    _Row(
        "poor",
        FAULT,
        _poor,
        "the way from that phone to us loses or delays packets: its WLAN or its uplink",
    ),
    _Row("pause", NOTE, _paused, ""),
    _Row("visited", NOTE, _visited, ""),
    _Row("prompt", NOTE, _covered, "edgesip prompt stop ends it"),
)
"""Every verdict, the gravest first."""

_NOBODY = Side("", "", Addr("", 0), "", None, None)


def _is_silent(me: Side, case: Case) -> bool:
    return me.last_at is None or case.at - me.last_at >= SILENT


def _is_foreign(kind: int, count: int, me: Side) -> bool:
    return bool(me.agreed) and kind not in me.agreed and kind not in NOISE and count >= FEW


def _name(me: Side) -> str:
    return f"the {me.side or 'other side'}"


def _or_nothing(addr: Addr | None) -> str:
    return "nothing" if addr is None else str(addr)

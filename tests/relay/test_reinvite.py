"""Offers within a call: every form of hold from either side, other ports, other codecs, more lines, fax.

What a re-INVITE does not speak of is never disturbed: rules stay on the path and ports stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from relay_talk import Talk, ports_in, rtp, sdp

from edgesip.address import Addr
from edgesip.relay.path import Counters, Entry, Figures, UserPath
from edgesip.relay.rule import Rule
from edgesip.relay.track import Heads

HOSTS = {"caller": ("198.51.100.10", 4000), "callee": ("203.0.113.20", 4200)}
FORMS = {
    "null": ("0.0.0.0", ()),
    "sendonly": ("", ("a=sendonly",)),
    "inactive": ("", ("a=inactive",)),
    "null and sendonly": ("0.0.0.0", ("a=sendonly",)),
    "null and inactive": ("0.0.0.0", ("a=inactive",)),
}
ANSWERS = {"sendonly": ("recvonly", "inactive"), "inactive": ("inactive",)}


class CountingPath:
    """A path that knows how often it was given a rule, or had one taken away."""

    def __init__(self) -> None:
        self.user = UserPath()
        self.moves = 0

    def put(self, rule: Rule) -> bool:
        self.moves += 1
        return self.user.put(rule)

    def drop(self, local: Addr) -> Counters | None:
        self.moves += 1
        return self.user.drop(local)

    def counters(self, local: Addr) -> Counters | None:
        return self.user.counters(local)

    def heads(self, local: Addr) -> Heads | None:
        return self.user.heads(local)

    def figures(self, local: Addr) -> Figures | None:
        return self.user.figures(local)

    def totals(self) -> tuple[int, int]:
        return self.user.totals()

    def sweep(self) -> None:
        self.user.sweep()

    def stale(self) -> Sequence[Addr]:
        return self.user.stale()

    def carrier(self, local: Addr) -> str:
        return self.user.carrier(local)

    def because(self, local: Addr) -> str:
        return self.user.because(local)

    def close(self) -> None:
        self.user.close()

    @property
    def entries(self) -> dict[Addr, Entry]:
        return self.user.entries


def called() -> tuple[Talk, CountingPath]:
    """A call whose two streams are on the path."""
    path = CountingPath()
    talk = Talk(path=path)
    talk.path = path.user
    talk.connect()
    assert len(path.entries) == 2
    path.moves = 0
    return talk, path


def other(side: str) -> str:
    return "callee" if side == "caller" else "caller"


def exchange(talk: Talk, side: str, offer: bytes, answer: bytes | None = None) -> tuple[bytes, bytes]:
    """A re-INVITE by `side` and its 200; what each of them became on its way."""
    asked = talk.invite(offer, side=side, tag="tag-b")
    said = talk.answer(answer, side=other(side), tag="tag-b")
    assert isinstance(asked, bytes)
    assert isinstance(said, bytes)
    return asked, said


def speak(talk: Talk) -> tuple[int, int]:
    """One packet each way: how many got through."""
    return talk.caller.speak(), talk.callee.speak()


@pytest.mark.parametrize("side", HOSTS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answers", [0, 1])
def test_hold_and_resume(side: str, form: str, answers: int) -> None:
    talk, path = called()
    (own, port), (far, far_port) = HOSTS[side], HOSTS[other(side)]
    null, lines = FORMS[form]
    legal = ANSWERS.get(lines[0][2:] if lines else "", ("sendrecv", "recvonly"))
    direction = legal[min(answers, len(legal) - 1)]
    before = [(leg["remote"], leg["state"], leg["local"]) for leg in (talk.leg("caller"), talk.leg("callee"))]
    asked, _ = exchange(
        talk, side, sdp(null or own, port, lines=lines), sdp(far, far_port, lines=(f"a={direction}",))
    )
    assert (b"0.0.0.0" in asked) is bool(null)
    assert all(line.encode() in asked for line in lines)
    assert talk.session().held()
    assert before == [
        (leg["remote"], leg["state"], leg["local"]) for leg in (talk.leg("caller"), talk.leg("callee"))
    ]
    holder = talk.caller if side == "caller" else talk.callee
    assert holder.speak() == 1  # the holder's own music
    exchange(talk, side, sdp(own, port), sdp(far, far_port))
    assert not talk.session().held()
    assert speak(talk) == (1, 1)
    assert len(path.entries) == 2
    assert talk.leased() == 4


@pytest.mark.parametrize("side", HOSTS)
def test_both_hold_and_resume_one_after_the_other(side: str) -> None:
    talk, path = called()
    (own, port), (far, far_port) = HOSTS[side], HOSTS[other(side)]
    exchange(talk, side, sdp(own, port, lines=("a=sendonly",)), sdp(far, far_port, lines=("a=recvonly",)))
    exchange(
        talk,
        other(side),
        sdp(far, far_port, lines=("a=inactive",)),
        sdp(own, port, lines=("a=inactive",)),
    )
    assert talk.session().held()
    exchange(talk, side, sdp(own, port, lines=("a=recvonly",)), sdp(far, far_port, lines=("a=sendonly",)))
    assert talk.session().held()
    exchange(talk, other(side), sdp(far, far_port), sdp(own, port))
    assert not talk.session().held()
    assert speak(talk) == (1, 1)
    assert len(path.entries) == 2


@pytest.mark.parametrize("side", HOSTS)
def test_a_session_refresh_moves_nothing(side: str) -> None:
    talk, path = called()
    (own, port), (far, far_port) = HOSTS[side], HOSTS[other(side)]
    first = exchange(talk, side, sdp(own, port), sdp(far, far_port))
    for _ in range(10):
        assert exchange(talk, side, sdp(own, port), sdp(far, far_port)) == first
        assert speak(talk) == (1, 1)
    assert path.moves == 0


@pytest.mark.parametrize("side", HOSTS)
@pytest.mark.parametrize("who", ["offerer", "answerer"])
def test_a_phone_that_moves_to_another_port_is_relearned_alone(side: str, who: str) -> None:
    talk, path = called()
    (own, port), (far, far_port) = HOSTS[side], HOSTS[other(side)]
    mover = side if who == "offerer" else other(side)
    ports = {side: port, other(side): far_port, mover: 4700}
    exchange(talk, side, sdp(own, ports[side]), sdp(far, ports[other(side)]))
    assert (talk.leg(mover)["state"], talk.leg(other(mover))["state"]) == ("relatch", "locked")
    phone = talk.caller if mover == "caller" else talk.callee
    phone.media = Addr(HOSTS[mover][0], 4700)
    phone.speak(2)
    assert talk.leg(mover)["remote"] == f"{HOSTS[mover][0]}:4700"
    assert (talk.leg(mover)["state"], len(path.entries)) == ("locked", 2)
    assert speak(talk) == (1, 1)


@pytest.mark.parametrize("side", HOSTS)
def test_another_codec_passes_on_the_same_streams(side: str) -> None:
    talk, path = called()
    (own, port), (far, far_port) = HOSTS[side], HOSTS[other(side)]
    exchange(talk, side, sdp(own, port, fmts="9 101"), sdp(far, far_port, fmts="9 101"))
    assert path.moves == 0
    for phone in (talk.caller, talk.callee):
        phone.sequence += 1
        assert phone.relay is not None
        assert talk.arrive(phone.relay, rtp(phone.sequence, phone.ssrc, 9), phone.media) == 1


@pytest.mark.parametrize("side", HOSTS)
def test_video_comes_and_goes_beside_audio(side: str) -> None:
    talk, path = called()
    (own, port), (far, far_port) = HOSTS[side], HOSTS[other(side)]
    audio = dict(path.entries)
    asked, _ = exchange(talk, side, sdp(own, port, 5000), sdp(far, far_port, 5200))
    assert (talk.leased(), len(ports_in(asked))) == (8, 2)
    assert {local: path.entries[local] for local in audio} == audio
    assert path.moves == 0
    held = sdp(own, port, 5000).replace(b"m=video", b"a=sendonly\r\nm=video", 1)
    exchange(talk, side, held, sdp(far, far_port, 5200))
    assert not talk.session().held(), "the picture goes on"
    exchange(talk, side, sdp(own, port, 0), sdp(far, far_port, 0))
    assert talk.leased() == 4
    assert path.moves == 0
    assert speak(talk) == (1, 1)


@pytest.mark.parametrize("side", HOSTS)
@pytest.mark.parametrize("form", ["in its place", "beside it"])
def test_fax_and_back(side: str, form: str) -> None:
    talk, path = called()
    (own, port), (far, far_port) = HOSTS[side], HOSTS[other(side)]
    relayed = (talk.caller.relay, talk.callee.relay)
    image = b"m=image %d udptl t38\r\na=T38FaxVersion:0\r\n"
    if form == "beside it":  # the audio line is switched off, the fax has one of its own
        offer, answer = sdp(own, 0) + image % 5000, sdp(far, 0) + image % 5200
    else:
        offer = sdp(own, port, proto="udptl", kind="image", fmts="t38")
        answer = sdp(far, far_port, proto="udptl", kind="image", fmts="t38")
    asked, _ = exchange(talk, side, offer, answer)
    assert b"udptl t38" in asked
    assert (talk.leased(), path.entries) == (4, {})
    if form == "in its place":
        assert (talk.caller.relay, talk.callee.relay) == relayed
        assert talk.caller.relay is not None
        assert talk.arrive(talk.caller.relay, b"\0\1\0\0", talk.caller.media) == 1
    back = sdp(own, port) + (image % 0 if form == "beside it" else b"")
    also = sdp(far, far_port) + (image % 0 if form == "beside it" else b"")
    exchange(talk, side, back, also)
    assert talk.leased() == 4
    for _ in range(3):
        talk.caller.speak()
        talk.callee.speak()
    assert speak(talk) == (1, 1)
    assert len(path.entries) == 2

"""The same calls with and without a kernel path: whatever happens, the same packets leave and are counted."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twin import KernelTwin
from relay_talk import KEY, Phone, Talk, rtp

from edgesip.address import Addr
from edgesip.relay.prompt import Prompt
from edgesip.relay.record import PCAP

HOLD = Prompt("hold", {0: b"\x10" * 1600})
EVENTS = ("a=rtpmap:101 telephone-event/8000",)
SIDES = st.sampled_from(("caller", "callee"))
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), SIDES, st.integers(1, 5)),
        st.tuples(st.just("report"), SIDES, st.just(1)),
        st.tuples(st.just("press"), SIDES, st.integers(1, 3)),
        st.tuples(st.sampled_from(("stranger", "junk", "stun", "muxed", "elsewhere")), SIDES, st.just(1)),
        st.tuples(st.sampled_from(("refresh", "hold", "moves", "refused")), SIDES, st.just(1)),
        st.tuples(st.sampled_from(("play", "stop", "block", "unblock")), SIDES, st.just(1)),
        st.tuples(st.sampled_from(("record", "record no more", "ban", "unban", "route")), SIDES, st.just(1)),
        st.tuples(st.just("wait"), SIDES, st.integers(1, 40)),
    ),
    min_size=5,
    max_size=60,
)


class Call:
    """One of the two calls, told the same as the other."""

    def __init__(self, kernel: KernelTwin | None) -> None:
        self.kernel = kernel
        self.talk = talk = Talk(kernel=kernel, prompts=(HOLD,))
        talk.invite(talk.caller.sdp(lines=EVENTS))
        talk.answer(talk.callee.sdp(lines=EVENTS))
        for _ in range(3):
            talk.caller.speak()
            talk.callee.speak()
        talk.caller.report()
        talk.callee.report()

    def act(self, what: str, side: str, count: int) -> int:
        talk = self.talk
        phone, other = (talk.caller, talk.callee) if side == "caller" else (talk.callee, talk.caller)
        assert phone.relay is not None
        if what == "speak":
            return phone.speak(count)
        if what == "report":
            return phone.report()
        if what == "press":
            return sum(self._press(phone, number) for number in range(count))
        if what == "stranger":
            return phone.speak(2, source=Addr("192.0.2.66", 7000), ssrc=0xBAD)
        if what == "elsewhere":
            return phone.speak(3, source=Addr(phone.media.host, 7777))
        if what == "junk":
            return talk.arrive(phone.relay, bytes(7) + b"nothing at all", phone.media)
        if what == "stun":
            return talk.arrive(phone.relay, b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), phone.media)
        if what == "muxed":
            return phone.report(muxed=True)
        if what == "wait":
            talk.pace(count / 4)
            talk.core.path.sweep()
            return len(talk.core.tick(talk.now))
        self._order(what, side, phone, other)
        return 0

    def _order(self, what: str, side: str, phone: Phone, other: Phone) -> None:
        talk, far = self.talk, "callee" if side == "caller" else "caller"
        if what in ("refresh", "hold", "moves"):
            if what == "moves":
                phone.media = phone.said = Addr(phone.media.host, phone.media.port + 10)
            lines = (*EVENTS, "a=sendonly") if what == "hold" else EVENTS
            talk.invite(phone.sdp(lines=lines), side=side, tag="tag-b")
            talk.answer(other.sdp(lines=EVENTS), side=far, tag="tag-b")
        elif what == "refused":
            talk.invite(phone.sdp(4998, lines=EVENTS), side=side, tag="tag-b")
            talk.core.reject(KEY, "b1", side, talk.now)
        elif what in ("play", "stop"):
            talk.core.play(KEY, "b1", side, "hold", 1 if what == "play" else 0, talk.now)
        elif what in ("block", "unblock"):
            talk.core.desk.block(KEY[0], (side,), what == "block")
        elif what in ("record", "record no more"):
            talk.core.record(KEY, PCAP if what == "record" else "", talk.now)
        elif what in ("ban", "unban"):
            talk.core.packets.shun(frozenset((phone.media.host,) if what == "ban" else ()))
        elif self.kernel is not None:
            self.kernel.refuses = "" if self.kernel.refuses else "no route"
            self.kernel.lost = [*self.kernel.flows, *talk.path.entries]

    def _press(self, phone: Phone, number: int) -> int:
        assert phone.relay is not None
        phone.sequence += 1
        head = rtp(phone.sequence, phone.ssrc, 0x80 | 101)[:4] + struct.pack("!II", number * 9000, phone.ssrc)
        return self.talk.arrive(phone.relay, head + bytes([number, 10, 0, 160]), phone.media)

    def sent(self) -> list[tuple[Addr, Addr, bytes]]:
        """What left; when exactly a prompt joins a stream the kernel knows less well, by milliseconds."""
        return [(via, to, data[:4] + data[8:]) for via, to, data in self.talk.sent]

    def counted(self) -> dict[str, object]:
        """Everything that must not depend on who carried."""
        legs = self.talk.core.sessions(self.talk.now)[0]["legs"]
        names = ("side", "remote", "state", "rank", "packets", "bytes", "src_mismatch", "prompt")
        return {
            "legs": [[leg[name] for name in names] for leg in legs],
            "left": self.talk.core.desk.show(KEY[0], self.talk.now)[0]["timeout_in"],
            **{name: count for name, count in self.talk.core.packets.counts.items() if name[0] in "smniub"},
        }


@settings(max_examples=200, deadline=None)
@given(ACTS)
def test_the_same_packets_leave_and_are_counted(acts: list[tuple[str, str, int]]) -> None:
    carried, plain = Call(KernelTwin()), Call(None)
    for what, side, count in acts:
        assert carried.act(what, side, count) == plain.act(what, side, count), what
        assert carried.sent() == plain.sent()
        assert carried.counted() == plain.counted(), what

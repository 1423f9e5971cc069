"""A relay core with twins around it: ports that bind when asked to, two phones, and packets by the dozen.

talk = Talk()
talk.invite()
talk.answer()
talk.caller.speak(2)
assert talk.callee.inbox == 2 packets
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from kernel_twin import KernelTwin

from edgesip.address import Addr, Flow
from edgesip.relay.core import Refusal, RelayCore, Settings
from edgesip.relay.flags import read
from edgesip.relay.interface import Interface
from edgesip.relay.path import Path, UserPath
from edgesip.relay.paths import Paths
from edgesip.relay.ports import Pair
from edgesip.relay.prompt import Prompt
from edgesip.relay.service import forward
from edgesip.relay.session import Session

RELAY = "192.0.2.1"
KEY = ("call-1", "tag-a")


def sdp(
    host: str,
    *ports: int,
    fmts: str = "0 8 101",
    lines: Sequence[str] = (),
    proto: str = "RTP/AVP",
    kind: str = "audio",
) -> bytes:
    """A session description with one m-line a port; `lines` follow each of them."""
    text = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    for number, port in enumerate(ports):
        text += [f"m={kind if number == 0 else 'video'} {port} {proto} {fmts}", *lines]
    return "\r\n".join([*text, ""]).encode()


def ports_in(body: bytes) -> list[int]:
    """The ports of the m-lines."""
    return [int(port) for port in re.findall(rb"m=\S+ (\d+)", body)]


def rtp(sequence: int, ssrc: int = 1, payload_type: int = 0, size: int = 172) -> bytes:
    header = struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc)
    return header + bytes(size - 12)


def rtcp(ssrc: int = 1) -> bytes:
    """A receiver report without blocks and an SDES with an empty chunk."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc) + struct.pack("!BBHII", 0x81, 202, 2, ssrc, 0)


class Binder:
    """The twin of the sockets: remembers what is bound, refuses what it is told to."""

    def __init__(self) -> None:
        self.bound: set[Pair] = set()
        self.refuses: set[int] = set()
        self.broken = False

    def bind(self, pair: Pair) -> bool:
        if self.broken or pair.rtp in self.refuses:
            return False
        assert pair not in self.bound
        self.bound.add(pair)
        return True

    def unbind(self, pair: Pair) -> None:
        self.bound.remove(pair)


@dataclass
class Phone:
    """A UA: where its SIP and its media come from, what its SDP says, and what it has heard."""

    talk: Talk
    media: Addr
    sip: Addr
    said: Addr
    ssrc: int
    relay: Addr | None = None
    inbox: list[bytes] = field(default_factory=list)
    sequence: int = 0

    @property
    def flow(self) -> Flow:
        return Flow("udp", Addr(RELAY, 5060), self.sip)

    def sdp(self, *ports: int, lines: Sequence[str] = (), fmts: str = "0 8 101") -> bytes:
        return sdp(self.said.host, *(ports or (self.said.port,)), lines=lines, fmts=fmts)

    def speak(self, count: int = 1, *, source: Addr | None = None, ssrc: int | None = None) -> int:
        """Send RTP to where the relay said, 20 ms apart; how many packets anyone got for it."""
        got = 0
        for _ in range(count):
            self.sequence += 1
            packet = rtp(self.sequence, self.ssrc if ssrc is None else ssrc)
            assert self.relay is not None
            got += self.talk.arrive(self.relay, packet, source or self.media)
            self.talk.now += 0.02
        return got

    def report(self, *, muxed: bool = False) -> int:
        """Send one RTCP packet from the port after the media's, or with `muxed` from the same."""
        assert self.relay is not None
        if muxed:
            return self.talk.arrive(self.relay, rtcp(self.ssrc), self.media)
        to = Addr(self.relay.host, self.relay.port + 1)
        return self.talk.arrive(to, rtcp(self.ssrc), Addr(self.media.host, self.media.port + 1))


class Talk:
    """One core and a call through it from `caller` to `callee`."""

    def __init__(
        self,
        *,
        path: Path | None = None,
        kernel: KernelTwin | None = None,
        low: int = 20000,
        high: int = 20999,
        max_sessions: int = 100,
        advertise: tuple[str, ...] = (),
        address: tuple[str, ...] = (),
        enabled: bool = True,
        interfaces: tuple[Interface, ...] = (),
        hosts: tuple[str, ...] = (),
        mark: bytes = b"",
        seed: int = 1,
        prompts: Sequence[Prompt] = (),
    ) -> None:
        self.alarms: list[float] = []
        self.binder = Binder()
        self.path = UserPath()
        self.kernel = kernel
        if kernel is not None:
            path = Paths(kernel, self.path)
        self.settings = Settings(
            enabled,
            address,
            advertise,
            low,
            high,
            60.0,
            max_sessions,
            interfaces=interfaces,
            hosts=hosts,
            mark=mark,
        )
        self.core = RelayCore(
            self.settings,
            bind=self.binder.bind,
            unbind=self.binder.unbind,
            path=path or self.path,
            entropy=Random(seed).randbytes,
            prompts={prompt.name: prompt for prompt in prompts}.get,
            alarm=self.alarms.append,
        )
        self.now = 1000.0
        self.sent: list[tuple[Addr, Addr, bytes]] = []
        self.caller = self.phone("198.51.100.10", 4000, ssrc=0xA)
        self.callee = self.phone("203.0.113.20", 4200, ssrc=0xB)
        self.phones = [self.caller, self.callee]

    def phone(self, host: str, port: int, *, said: Addr | None = None, ssrc: int = 0xC) -> Phone:
        return Phone(self, Addr(host, port), Addr(host, 5062), said or Addr(host, port), ssrc)

    def invite(
        self,
        body: bytes | None = None,
        *,
        side: str = "caller",
        branch: str = "b1",
        tag: str = "",
        key: tuple[str, str] = KEY,
        callee: Phone | None = None,
        flags: str | None = None,
    ) -> bytes | Refusal:
        """An offer by one side; the phone opposite hears where its media is to go."""
        callee = callee or self.callee
        by, to = (self.caller, callee) if side == "caller" else (callee, self.caller)
        body = by.sdp() if body is None else body
        wish = None if flags is None else read(flags)
        out = self.core.offer(key, branch, tag, side, body, by.flow, to.flow, self.now, wish)
        if isinstance(out, bytes) and any(ports_in(out)[:1]):
            to.relay = Addr(self._bound(ports_in(out)[0], to), ports_in(out)[0])
        return out

    def answer(
        self,
        body: bytes | None = None,
        *,
        side: str = "callee",
        branch: str = "b1",
        tag: str = "tag-b",
        final: bool = True,
        key: tuple[str, str] = KEY,
        callee: Phone | None = None,
        flags: str | None = None,
    ) -> bytes | Refusal:
        """An answer by one side; the phone opposite hears where its media is to go."""
        callee = callee or self.callee
        by, to = (callee, self.caller) if side == "callee" else (self.caller, callee)
        body = by.sdp() if body is None else body
        wish = None if flags is None else read(flags)
        out = self.core.answer(key, branch, tag, side, body, by.flow, to.flow, final, self.now, wish)
        if isinstance(out, bytes) and any(ports_in(out)[:1]):
            to.relay = Addr(self._bound(ports_in(out)[0], to), ports_in(out)[0])
        return out

    def _bound(self, port: int, to: Phone) -> str:
        """The address that this port is bound at; where SIP is, for none or for one at several."""
        hosts = {pair.host for pair in self.binder.bound if pair.rtp == port}
        return hosts.pop() if len(hosts) == 1 else to.flow.local.host

    def connect(self) -> None:
        """A whole call, both ends locked and carried by the path."""
        self.invite()
        self.answer()
        for _ in range(3):
            self.caller.speak()
            self.callee.speak()

    def arrive(self, local: Addr, packet: bytes, source: Addr) -> int:
        """One datagram at a port of the relay, as the service would treat it; how many left for it."""
        out: list[tuple[Addr, Addr, bytes]] = []
        entry = self.path.entries.get(local)
        carried = None if self.kernel is None else self.kernel.arrive(local, source, packet, self.now)
        if carried is not None:
            out.append(carried)
            self.overhear()
        elif entry is not None and forward(entry, packet, source, self.now):
            out.append((entry.rule.via, entry.to, packet))
        else:
            out.extend(self.core.receive(local, packet, source, self.now))
        self._deliver(out)
        return len(out)

    def overhear(self) -> None:
        """The core hears of what the kernel has forwarded."""
        if self.kernel is not None:
            for local, data in self.kernel.copies():
                self.core.packets.overheard(local, data, self.now)

    def _deliver(self, out: Sequence[tuple[Addr, Addr, bytes]]) -> None:
        self.sent.extend(out)
        for _, to, data in out:
            for phone in self.phones:
                if to == phone.media:
                    phone.inbox.append(data)

    def pace(self, seconds: float) -> None:
        """Time passes, and what prompts have to send is sent when it is due."""
        until = self.now + seconds
        while (at := self.core.pace_at()) is not None and at <= until:
            self.now = max(self.now, at)
            self._deliver(self.core.pace(self.now))
        self.now = until

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def session(self) -> Session:
        """The call as the relay has it."""
        [found] = self.core.named(KEY[0])
        return found

    def leg(self, side: str, number: int = 0) -> dict[str, object]:
        """The leg as `rtp list` shows it."""
        legs = [leg for leg in self.core.sessions(self.now)[0]["legs"] if leg["side"] == side]
        found: dict[str, object] = legs[number]
        return found

    def leased(self) -> int:
        """Leased ports; the pool and the sockets must agree."""
        count = self.core.ports(self.now)["leased"]
        assert count == 2 * len(self.binder.bound)
        return count

    def octets_to(self, host: str) -> int:
        return sum(len(data) for _, to, data in self.sent if to.host == host)

    def packets_to(self, host: str) -> int:
        return sum(to.host == host for _, to, _ in self.sent)


def nat_call(stage: str) -> Talk:
    """The caller sits behind a NAT: private SDP, public SIP source, media from a mapped port."""
    talk = Talk()
    talk.caller = talk.phone("198.51.100.10", 30123, said=Addr("192.168.1.10", 4000), ssrc=0xA)
    talk.phones[0] = talk.caller
    talk.invite()
    if stage != "unanswered":
        talk.answer()
        talk.callee.speak(3)
    if stage == "locked":
        for _ in range(160):
            talk.caller.speak()
            talk.callee.speak()
        assert talk.leg("caller")["state"] == "locked"
    if stage == "learning":
        talk.caller.speak(1)
    if stage == "unanswered":
        # The caller's own port is not told to it yet, but a sprayed packet finds it all the same.
        talk.caller.relay = next(
            Addr(pair.host, pair.rtp)
            for pair in talk.binder.bound
            if Addr(pair.host, pair.rtp) != talk.callee.relay
        )
    return talk

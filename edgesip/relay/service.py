"""The sockets of the relay, and the loop around its core.

Binds ports when the core leases them, reads them in an epoll of its own whose file the event loop watches,
sends settled streams on by one flat function, asks the core about every other packet, and sweeps once a
second. Refuses to know what is believed and why: that is the core's.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from edgesip.address import Addr
from edgesip.relay.cases import Media
from edgesip.relay.core import PORTS_A_SESSION, Event, RelayCore, Settings, no_prompts
from edgesip.relay.links import Link, SocketPath, bound
from edgesip.relay.moments import Moment
from edgesip.relay.mos import Sums
from edgesip.relay.path import Entry, Path
from edgesip.relay.paths import Overheard, Paths
from edgesip.relay.ports import Pair
from edgesip.relay.prompt import Prompt
from edgesip.relay.rule import RTP_HEADER
from edgesip.relay.track import HEAD, Heads, Track
from edgesip.relay.watch import PARTS

SLICE: Final = 0.001  # seconds of a loop turn that packets may take before the loop looks at other things
WAKES: Final = 64  # sockets looked at in one poll
LARGEST: Final = 65535
SWEEP: Final = 1.0

News = Event | Moment | Media
"""What the loop is told; `Media` is that of a call that is over, after the last look at it."""
FLOOD: Final = 500  # packets that one port refused between two sweeps
TRIES: Final = 4  # more ICMP errors may come while the first is told: somebody may be making them up
RESERVE: Final = 2000


def limits(low: int, high: int, nofile_soft: int) -> int:
    """max_sessions: four ports a session, from what the range has and the file limit leaves.

    At most 2000 files, and never more than half of them, are kept back for everything else.
    """
    reserve = min(RESERVE, nofile_soft // 2)
    ports = max(0, (high + 1) // 2 - (low + 1) // 2) * 2
    return min(ports, nofile_soft - reserve) // PORTS_A_SESSION


def forward(entry: Entry, data: bytes, source: Addr, now: float) -> bool:
    """`rule.carry` in one flat function, and its count: True to send it on, False to have the core asked."""
    if source != entry.remote or len(data) < RTP_HEADER or data[0] & 0xC0 != 0x80 or 192 <= data[1] <= 223:
        return False
    entry.packets += 1
    entry.octets += len(data)
    entry.arrived(now)
    entry.kept(data[:HEAD])
    return True


class RelayService:
    """The relay as the process has it: `core` is what signalling is given as its media.

    `on_events` gets the moments and what each sweep brought; it is called from the loop. Construct and use
    it in the loop's thread. Settled streams go through `forward`, but for those that `kernel` takes, a path
    that carries by itself: `overheard` has copies of what the core must know of. Without one `why` says why.
    """

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        on_events: Callable[[Sequence[News]], None],
        *,
        kernel: Path | None = None,
        overheard: Overheard | None = None,
        why: str = "",
        entropy: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
        prompts: Callable[[str], Prompt | None] = no_prompts,
    ) -> None:
        self._loop: Any = loop  # uvloop answers None where asyncio says a bool, and compiled code looks
        self._on_events = on_events
        self._clock = clock
        self._poll = select.epoll()
        self._links: dict[int, Link] = {}
        self._by_local: dict[Addr, Link] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._pacer: asyncio.TimerHandle | None = None
        self._looker: asyncio.TimerHandle | None = None
        self._tender: asyncio.TimerHandle | None = None
        self._turn: list[Link] = []
        self._part = 0
        self._look: Callable[[Sequence[tuple[Track, Heads]], Sums], None] | None = None
        self.sums = Sums()
        self.lost: dict[str, int] = {"rtp:rtp_send_dropped": 0, "rtp:rtp_socket_errors": 0}
        self._overheard = overheard
        sockets = SocketPath(self._by_local, why)
        self.core = RelayCore(
            settings,
            bind=self.bind,
            unbind=self.unbind,
            path=sockets if kernel is None else Paths(kernel, sockets),
            entropy=entropy,
            prompts=prompts,
            alarm=self._alarm,
        )

    @property
    def counters(self) -> dict[str, int]:
        """The core's counters and those of the sockets."""
        return {**self.core.counters, **self.sums.counts, **self.lost}

    def start(self) -> None:
        """Begin to read and to sweep."""
        self._loop.add_reader(self._poll.fileno(), self.drain)
        if self._overheard is not None:
            self._loop.add_reader(self._overheard.fileno(), self.listen)
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)
        from edgesip.relay.quality import look  # with numpy, which no verb has to wait for

        self._look = look
        self._looker = self._loop.call_later(SWEEP / PARTS, self._watch)
        self._tender = self._loop.call_later(SWEEP / PARTS, self._tend)

    def stop(self) -> None:
        """Close every socket; calls are not told. Safe to call twice, and without `start`."""
        if self._poll.closed:
            return
        if self._pacer is not None:
            self._pacer.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._loop.remove_reader(self._poll.fileno())
            if self._overheard is not None:
                self._loop.remove_reader(self._overheard.fileno())
        if self._looker is not None:
            self._looker.cancel()
        if self._tender is not None:
            self._tender.cancel()
        self._turn.clear()
        self.core.path.close()
        for link in self._links.values():
            link.sock.close()
        self._links.clear()
        self._by_local.clear()
        self._poll.close()

    # The binder of the core.

    def bind(self, pair: Pair) -> bool:
        """Bind both ports of a pair; False, and neither bound, when one cannot be had."""
        made: list[Link] = []
        try:
            for port in (pair.rtp, pair.rtcp):
                made.append(bound(Addr(pair.host, port)))
            for link in made:
                self._poll.register(link.sock.fileno(), select.EPOLLIN)
        except OSError:
            for link in made:
                link.sock.close()
            return False
        for link in made:
            self._links[link.sock.fileno()] = link
            self._by_local[link.local] = link
        return True

    def unbind(self, pair: Pair) -> None:
        """Close both ports of a pair; what was still unread in them is lost."""
        for port in (pair.rtp, pair.rtcp):
            link = self._by_local.pop(Addr(pair.host, port), None)
            if link is not None:
                del self._links[link.sock.fileno()]
                self._poll.unregister(link.sock.fileno())
                link.sock.close()

    # Packets.

    def drain(self) -> None:
        """Read what is there, for about a millisecond; epoll calls again for what is left.

        One datagram of each ready socket in turn: a flood on one port delays no other call, and a socket
        is not asked a second time only to hear that it is empty.
        """
        clock = self._clock
        until = clock() + SLICE
        while ready := self._poll.poll(0, WAKES):
            for fd, _ in ready:
                now = clock()
                if now > until:
                    return
                link = self._links.get(fd)
                if link is not None:
                    self._relay_one(link, now)

    def _relay_one(self, link: Link, now: float) -> None:
        only = link.only
        try:
            if only is not None:
                data, source = link.recv(LARGEST), only
            else:
                data, source = link.recvfrom(LARGEST)
                if len(source) > 2:
                    source = source[:2]  # IPv6 adds flow label and scope
        except BlockingIOError:
            return
        except OSError:  # the ICMP answer to an earlier packet comes back here; it ends nothing
            self.lost["rtp:rtp_socket_errors"] += 1
            return
        entry, out = link.entry, link.out
        if entry is None or out is None or not forward(entry, data, source, now):
            sends = self.core.receive(link.local, data, Addr(*source), now)
            if not sends:
                link.refused += 1
            for via, to, octets in sends:
                self._send(self._by_local[via], octets, to)
            return
        try:
            if out.peer is not None:
                out.send(data)
            else:
                out.sendto(data, entry.to)
        except OSError as error:
            self._again(error, out, data, entry.to)
        if link.wide:
            link.narrow(entry.remote, now)

    def _send(self, out: Link, data: bytes, to: Addr) -> None:
        try:
            out.sendto(data, to)
        except OSError as error:
            self._again(error, out, data, to)

    def _again(self, error: OSError, out: Link, data: bytes, to: Addr) -> None:
        """A socket tells the ICMP error of an earlier packet in place of sending; then it has told it."""
        for _ in range(TRIES):
            if isinstance(error, BlockingIOError):
                self.lost["rtp:rtp_send_dropped"] += 1
                return
            self.lost["rtp:rtp_socket_errors"] += 1
            try:
                out.sendto(data, to)
            except OSError as another:
                error = another
            else:
                return

    def listen(self) -> None:
        """What the kernel has forwarded of what the core must know of."""
        if self._overheard is not None:
            now, packets = self._clock(), self.core.packets
            for local, data in self._overheard.copies():
                packets.overheard(local, data, now)

    # Time.

    def _alarm(self, at: float) -> None:
        """The core has something to send at that time, and nothing sooner."""
        if self._poll.closed:
            return
        if self._pacer is not None:
            self._pacer.cancel()
        self._pacer = self._loop.call_later(max(0.0, at - self._clock()), self._pace)

    def _pace(self) -> None:
        self._pacer = None
        for via, to, octets in self.core.pace(self._clock()):
            self._send(self._by_local[via], octets, to)
        at = self.core.pace_at()
        if at is not None:
            self._alarm(at)

    def _tend(self) -> None:
        """Each port once a second, an eighth of them at a time."""
        self._part = (self._part + 1) % PARTS
        if not self._part:
            self._turn = list(self._links.values())
        self._tender = self._loop.call_later(SWEEP / PARTS, self._tend)
        self.tend(self._turn[self._part :: PARTS], self._clock())

    def tend(self, links: Iterable[Link], now: float) -> None:
        """Open the ports whose source fell silent, shut those that are flooded."""
        for link in links:
            if link.peer is not None:
                link.look(now)
            if link.refused:
                believed = self.core.packets.believed(link.local) if link.refused > FLOOD else None
                if believed is not None and link.peer is None:
                    link.narrow(believed, now)
                link.refused = 0

    def _watch(self) -> None:
        self._looker = self._loop.call_later(SWEEP if self.core.watch.is_idle else SWEEP / PARTS, self._watch)
        looks = self.core.watch.looks()
        if looks and self._look is not None:
            self._look(looks, self.sums)
        over = self.core.watch.ended(self._clock())
        if over:
            self._on_events(over)

    def media(self, call: str) -> list[Media]:
        """The media of living calls as it is now, by the beginning of their Call-ID."""
        looks = self.core.watch.looks_at(call)
        if looks and self._look is not None:
            self._look(looks, self.sums)
        return self.core.watch.living(call, self._clock())

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)
        self.core.path.sweep()
        now = self._clock()
        events = [*self.core.moments.take(), *self.core.tick(now)]
        if events:
            self._on_events(events)

"""A NAT that forgets, and the phones behind it, in simulated time: for tests of what is learned."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgesip.address import Addr, Flow
from edgesip.signal.nat.learning import Learning, Settings

HERE = Addr("203.0.113.1", 5060)


@dataclass
class Router:
    """One mapping per phone, forgotten after `timeout` seconds; `keeps_port` gives the same one again."""

    timeout: float
    host: str = "198.51.100.7"
    keeps_port: bool = False
    inbound_refreshes: bool = True
    next_port: int = 40000


@dataclass
class Phone:
    """`lost` are the times that it could not be reached, `away` the seconds of that."""

    router: Router
    period: float
    number: int
    answers: bool = True
    jitter: float = 0.01
    port: int = 0
    until: float = -1.0
    lost: int = 0
    away: float = 0.0
    pings: int = 0
    dead_since: float | None = None
    on: bool = True

    @property
    def flow(self) -> Flow:
        return Flow("udp", HERE, Addr(self.router.host, self.port))

    def speaks(self, now: float) -> None:
        """A packet goes out: the mapping is there, perhaps another one."""
        self.settle(now)
        if now >= self.until and not (self.router.keeps_port and self.port):
            self.router.next_port += 1
            self.port = self.router.next_port
        if self.dead_since is not None:
            self.away += now - self.dead_since
            self.dead_since = None
        self.until = now + self.router.timeout

    def settle(self, now: float) -> None:
        if self.port and self.dead_since is None and now >= self.until:
            self.dead_since = self.until
            self.lost += 1

    def hears(self, now: float) -> bool:
        """A packet comes in: does it arrive?"""
        self.settle(now)
        if now >= self.until:
            return False
        if self.router.inbound_refreshes:
            self.until = now + self.router.timeout
        return True


@dataclass
class House:
    """The loop of a pinger over all phones; every packet may be lost with a chance of `loss`."""

    phones: Sequence[Phone]
    seed: int = 1
    settings: Settings = field(default_factory=Settings)
    loss: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.learning = Learning(self.settings)
        self.queue: list[tuple[float, int, str, int]] = []
        self.known: dict[int, Flow] = {}
        self.serial = 0
        self.now = 0.0
        for phone in self.phones:
            self.at(self.random.uniform(0.0, phone.period), "register", phone.number)

    def at(self, when: float, what: str, number: int) -> None:
        self.serial += 1
        heapq.heappush(self.queue, (when, self.serial, what, number))

    def run(self, seconds: float) -> House:
        end = self.now + seconds
        while self.queue and self.queue[0][0] <= end:
            self.now, _, what, number = heapq.heappop(self.queue)
            phone = self.phones[number]
            if what == "register":
                self.register(phone)
            elif what == "look":
                self.look(phone)
            elif phone.on:
                self.answer(phone)
        self.now = end
        for phone in self.phones:
            phone.settle(end)
        return self

    def register(self, phone: Phone) -> None:
        wait = phone.period * (1 + phone.jitter * self.random.uniform(-1, 1))
        self.at(self.now + wait, "register", phone.number)
        if not phone.on:
            return
        phone.speaks(self.now)
        before = self.known.get(phone.number)
        self.known[phone.number] = phone.flow
        self.learning.came(phone.flow, self.now)
        self.learning.registered(str(phone.number), phone.flow, before, True, self.now)
        if before is None:
            self.at(self.now + self.random.uniform(0.0, self.learning.pause), "look", phone.number)

    def look(self, phone: Phone) -> None:
        self.at(self.now + self.learning.pause, "look", phone.number)
        flow = self.known[phone.number]
        if self.learning.rests(flow, self.now):
            return
        self.learning.pinged(flow, self.now)
        phone.pings += 1
        through = self.random.random() >= self.loss
        if through and flow == phone.flow and phone.hears(self.now) and phone.answers and phone.on:
            self.at(self.now + self.random.uniform(0.01, 0.3), "answer", phone.number)

    def answer(self, phone: Phone) -> None:
        phone.speaks(self.now)
        if self.random.random() >= self.loss:
            self.learning.answered(hash(phone.flow), self.now)

    def interval(self, number: int = 0) -> float:
        return self.learning.interval_for(self.known[number], self.now)


def house(timeout: float, phones: int = 1, period: float = 600.0, **more: object) -> House:
    """Phones behind one router."""
    names = ("keeps_port", "inbound_refreshes", "host")
    router = Router(timeout, **{name: more.pop(name) for name in names if name in more})  # type: ignore[arg-type]
    keys = ("answers", "jitter")
    own = {name: more.pop(name) for name in keys if name in more}
    people = [Phone(router, period, number, **own) for number in range(phones)]  # type: ignore[arg-type]
    return House(people, **more)  # type: ignore[arg-type]

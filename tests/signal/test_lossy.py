"""SIP over a network that loses, doubles and swaps datagrams (R23): calls are made once, and end once.

Two phones with the timers of RFC 3261 on either side of the real core, the clock and the dice ours.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

import pytest
from talk import SDP, Packet, Phone, Talk

from edgesip.signal.wire.message import Request, Response, parse

T1, T2, PATIENCE = 0.5, 4.0, 32.0
DELAY = 0.02
LATE = 0.1  # a swapped datagram is overtaken by what is sent this much later
ANSWERS_AFTER, TALKS = 1.0, 5.0

Message = Request | Response


@dataclass
class Weather:
    """How many of a hundred datagrams are lost, come twice, come late; each way of each leg."""

    lost: float
    doubled: float = 0.05
    late: float = 0.05


@dataclass
class Life:
    """What became of one call."""

    began: float
    invite: Packet
    set_up: float | None = None
    answer: Response | None = None
    over: bool = False
    at_bob: set[str] = field(default_factory=set)


class World:
    """A core, alice who calls and hangs up, bob who answers, and the weather between them."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self.weather, self.dice = weather, Random(seed)
        self.talk = Talk()
        self.alice, self.bob = self.talk.phone("alice"), self.talk.phone("bob")
        self.talk.register(self.alice, self.bob)
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.ears = {self.alice.at: self.hear_alice, self.bob.at: self.hear_bob}
        self.serial = count()
        self.sent = 0
        self.lives: dict[str, Life] = {}
        self.asked: set[str] = set()
        self.heard: set[str] = set()
        self.replies: dict[tuple[str, str], Packet] = {}
        self.acknowledged: set[str] = set()
        self.answered: set[tuple[str, str]] = set()

    # The network.

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (when, next(self.serial), action))

    def carry(self, action: Callable[[], None]) -> None:
        """One datagram through the weather."""
        self.sent += 1
        if self.dice.random() < self.weather.lost:
            return
        for _ in range(1 + (self.dice.random() < self.weather.doubled)):
            late = LATE if self.dice.random() < self.weather.late else 0.0
            self.at(self.talk.now + DELAY + late, action)

    def send(self, packet: Packet) -> None:
        self.carry(partial(self.arrive, packet))

    def arrive(self, packet: Packet) -> None:
        message = parse(packet.octets)
        if message.headers.cseq.method == "INVITE" and message.headers.get("Proxy-Authorization"):
            self.asked.add(message.headers.call_id)
        self.talk >> packet

    def run(self, until: float) -> None:
        """Everything in its order until then."""
        while True:
            due = self.talk.core.deadline(self.talk.now)
            when = min(self.agenda[0][0] if self.agenda else until, due if due is not None else until, until)
            if when >= until:
                break
            if self.agenda and self.agenda[0][0] <= when:
                self.talk.now = when
                heapq.heappop(self.agenda)[2]()
            else:
                self.talk.wait(max(when - self.talk.now, 0.0))
            for flow, octets in self.talk.sent:
                self.carry(partial(self.ears[flow.remote], parse(octets)))
            self.talk.sent.clear()
        self.talk.now = until

    def repeat(
        self,
        packet: Packet,
        on: Callable[[], bool],
        cap: float = T2,
        wait: float = T1,
        left: float = PATIENCE,
    ) -> None:
        """Send, and again after doubled times while `on` says so, for 64 T1 at most (§17.1)."""
        if not on():
            return
        self.send(packet)
        if wait <= left:
            again = partial(self.repeat, packet, on, cap, min(2 * wait, cap), left - wait)
            self.at(self.talk.now + wait, again)

    # alice.

    def call(self) -> None:
        invite = self.alice.invite("bob")
        life = Life(self.talk.now, invite)
        self.lives[parse(invite.octets).headers.call_id] = life
        self.repeat(invite, lambda: self.unheard(invite), PATIENCE)

    def unheard(self, packet: Packet) -> bool:
        return branch_of(parse(packet.octets)) not in self.heard

    def hear_alice(self, message: Message) -> None:
        life = self.lives[message.headers.call_id]
        assert isinstance(message, Response)
        self.heard.add(branch_of(message))
        if message.headers.cseq.method == "BYE":
            life.over = True
        elif message.status == 407:
            sent = parse(life.invite.octets)
            assert isinstance(sent, Request)
            if sent.headers.cseq.number == message.headers.cseq.number:
                again = self.alice.with_credentials(life.invite, message)
                life.invite = again
                self.repeat(again, lambda: self.unheard(again), PATIENCE)
            self.send(failure_ack(self.alice, message))
        elif 200 <= message.status < 300:
            if life.set_up is None:
                life.set_up, life.answer = self.talk.now - life.began, message
                self.at(self.talk.now + TALKS, partial(self.hang_up, life))
            self.send(self.alice.ack(life.invite, message))
        elif message.status >= 300:
            life.over = True
            self.send(failure_ack(self.alice, message))

    def hang_up(self, life: Life) -> None:
        assert life.answer is not None
        bye = self.alice.within(life.invite, life.answer, "BYE")
        self.repeat(bye, lambda: not life.over)

    # bob.

    def hear_bob(self, message: Message) -> None:
        assert isinstance(message, Request)
        call_id, key = message.headers.call_id, (message.headers.call_id, branch_of(message))
        if message.method == "ACK":
            self.acknowledged.add(call_id)
        elif message.method == "BYE":
            self.acknowledged.add(call_id)
            self.send(self.bob.reply(message, 200))
        elif message.method == "INVITE":
            self.lives[call_id].at_bob.add(key[1])
            if key not in self.replies:
                self.replies[key] = self.bob.reply(message, 180)
                self.at(self.talk.now + ANSWERS_AFTER, partial(self.answer, message, key))
            if key not in self.answered:
                self.send(self.replies[key])

    def answer(self, invite: Request, key: tuple[str, str]) -> None:
        self.answered.add(key)
        ok = self.bob.reply(invite, 200, body=SDP)
        self.repeat(ok, lambda: key[0] not in self.acknowledged)


def branch_of(message: Message) -> str:
    return message.headers.get("Via").partition("branch=")[2].partition(";")[0]  # type: ignore[union-attr]


def failure_ack(phone: Phone, response: Response) -> Packet:
    """The ACK of a failure, in the transaction of its INVITE (§17.1.1.3)."""
    headers = response.headers
    return phone.request(
        "ACK",
        str(headers.to.uri),
        call_id=headers.call_id,
        from_=headers.get("From") or "",
        to=headers.get("To") or "",
        cseq=headers.cseq.number,
        branch=branch_of(response),
        contact="",
    )


@pytest.mark.parametrize(
    ("lost", "calls", "share"),
    [
        (0.0, 20, 1.0),
        (0.05, 100, 0.999),
        (0.20, 100, 0.99),
        pytest.param(0.05, 2000, 0.999, marks=pytest.mark.long),
        pytest.param(0.20, 1000, 0.99, marks=pytest.mark.long),
    ],
)
def test_calls_are_made_and_end_once(lost: float, calls: int, share: float) -> None:
    world = World(Weather(lost), 23)
    for number in range(calls):
        world.at(world.talk.now + 0.3 * number, world.call)
    world.run(world.talk.now + 0.3 * calls + 400.0)
    lives = world.lives.values()
    made = [life for life in lives if life.set_up is not None and life.set_up <= PATIENCE]
    slowest = max(life.set_up or 0.0 for life in lives)
    assert len(made) >= share * calls
    assert {len(life.at_bob) for life in lives} <= {0, 1}, "one INVITE a call, however often it came"
    print(f"{len(made)} of {calls}, {world.sent / calls:.1f} datagrams a call, the slowest {slowest:.1f} s")
    told = Counter(note.event for note in world.talk.notes)
    assert told["call answered"] == sum(life.set_up is not None for life in lives)
    assert told["call ended"] == told["call answered"]
    assert told["call started"] == len(world.asked), "who never came through with a password began no call"
    core = world.talk.core
    assert len(core.transactions) == 0
    assert not [dialog for dialog in core.dialogs if dialog.state < 5]
    assert not world.talk.media.open

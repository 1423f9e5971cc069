"""Somebody who commands a relay by the rtpproxy protocol: asks, and hears the answer."""

from __future__ import annotations

import re
from itertools import count
from random import Random

from relay_talk import Binder, rtp

from edgesip.address import Addr
from edgesip.relay.commands import Commands
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.interface import Interface
from edgesip.relay.path import UserPath
from edgesip.relay.prompt import Prompt

OURS = "192.0.2.1"
ALICE, BOB = Addr("198.51.100.10", 4000), Addr("203.0.113.20", 5000)
SENDER = Addr("127.0.0.1", 40000)


class Controller:
    """Somebody who commands a relay: asks, hears the answer; packets go to the ports that were answered."""

    def __init__(
        self,
        *addresses: str,
        notify: tuple[str, ...] = (),
        max_sessions: int = 100,
        interfaces: tuple[Interface, ...] = (),
        prompts: tuple[Prompt, ...] = (),
    ) -> None:
        usual = addresses or (() if interfaces else (OURS,))
        settings = Settings(True, usual, (), 20000, 20099, 60.0, max_sessions, interfaces=interfaces)
        self.binder = Binder()
        self.core = RelayCore(
            settings,
            bind=self.binder.bind,
            unbind=self.binder.unbind,
            path=UserPath(),
            entropy=Random(6).randbytes,
            prompts={prompt.name: prompt for prompt in prompts}.get,
        )
        self.commands = Commands(self.core, lambda host: OURS, notify)
        self.now = 1000.0
        self._cookies = count()

    def ask(self, text: str) -> str:
        """The answer without its cookie and its line end."""
        cookie = f"k{next(self._cookies)}"
        answer = self.repeat(f"{cookie} {text}")
        assert answer.startswith(f"{cookie} ")
        assert answer.endswith("\n")
        return answer.removeprefix(f"{cookie} ").removesuffix("\n")

    def repeat(self, datagram: str, sender: Addr = SENDER) -> str:
        return self.commands.receive(datagram.encode(), sender, self.now).decode()

    def port(self, text: str) -> int:
        """The port of an answer to U or L."""
        answer = self.ask(text)
        found = re.fullmatch(r"(\d+) (\S+)( 6)?", answer)
        assert found is not None, answer
        return int(found[1])

    def call(self, codecs: str = "c0,8,101") -> tuple[int, int]:
        """An answered call: the port that Bob sends to, and Alice's."""
        toward_bob = self.port(f"U{codecs} call {ALICE.host} {ALICE.port} a;1")
        toward_alice = self.port(f"L{codecs} call {BOB.host} {BOB.port} a;1 b;1")
        return toward_bob, toward_alice

    def send(self, port: int, source: Addr, data: bytes) -> list[tuple[Addr, bytes]]:
        """What leaves for a packet, and where to."""
        return [(to, octets) for _, to, octets in self.core.receive(Addr(OURS, port), data, source, self.now)]

    def talk(self, at_bob: int, at_alice: int, packets: int = 3) -> None:
        """Both speak, and hear each other."""
        for number in range(packets):
            self.now += 0.02
            alices, bobs = rtp(number, ssrc=1), rtp(number, ssrc=2)
            assert self.send(at_alice, ALICE, alices) == [(BOB, alices)]
            assert self.send(at_bob, BOB, bobs) == [(ALICE, bobs)]

    @property
    def leased(self) -> int:
        return self.core.ports(self.now)["leased"]

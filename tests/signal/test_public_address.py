"""Which address others reach us by: judged from routes and STUN servers, never guessed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from edgesip.address import Addr
from edgesip.signal.nat import stun
from edgesip.signal.nat.public import Heard, Undecided, judged, way_out
from edgesip.signal.net import whoami

LOCAL = "10.0.0.5"
ONE = Heard("one.example:3478", "203.0.113.5")
TWO = Heard("two.example:3478", "203.0.113.5")
SILENT = Heard("two.example:3478", "", "no answer within 3.5 s")


# -- the judgement -----------------------------------------------------------------------------------


def test_a_public_address_of_our_own_needs_no_witness() -> None:
    public = judged("203.0.113.9", ())
    assert (public.address, public.behind_nat) == ("203.0.113.9", False)


def test_two_that_agree_are_believed() -> None:
    public = judged(LOCAL, [ONE, TWO])
    assert (public.address, public.behind_nat, public.remark) == ("203.0.113.5", True, "")
    assert public.how == "seen by one.example:3478 and two.example:3478"


def test_one_that_is_silent_is_mentioned() -> None:
    public = judged(LOCAL, [ONE, SILENT])
    assert public.address == "203.0.113.5"
    assert public.remark == "two.example:3478: no answer within 3.5 s"


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        ([], "there is a NAT and its address is not known"),
        ([SILENT], "no STUN server says what is in front of 10.0.0.5 (two.example:3478: no answer"),
        ([ONE, Heard("two", "203.0.113.6")], "one.example:3478 sees 203.0.113.5; two sees 203.0.113.6"),
        ([Heard("one", "100.64.1.2")], "see 100.64.1.2, which is not public either"),
        ([Heard("one", "0.0.0.0"), Heard("two", "0.0.0.0")], "not public either"),
        ([Heard("one", "240.0.0.1")], "not public either"),
    ],
)
def test_what_is_doubtful_is_refused_with_what_to_do(heard: list[Heard], why: str) -> None:
    with pytest.raises(Undecided) as refusal:
        judged(LOCAL, heard)
    assert why in str(refusal.value)
    assert "--advertise ADDR" in str(refusal.value)


def test_the_way_out_is_the_address_that_we_listen_on() -> None:
    assert way_out(["10.0.0.5", "172.17.0.1", "2001:db8::1"], "10.0.0.5") == "10.0.0.5"
    assert way_out(["10.0.0.5"], "192.0.2.1") == "10.0.0.5", "nobody hears us elsewhere"
    assert way_out(["127.0.0.1", "10.0.0.5"], "") == "10.0.0.5"


@pytest.mark.parametrize(
    ("listens", "route", "why"),
    [
        (["10.0.0.5", "172.17.0.1"], "192.168.7.7", "through 192.168.7.7, where nothing listens"),
        (["10.0.0.5", "172.17.0.1"], "", "there is no default route"),
        (["2001:db8::1"], "", "nothing listens there"),
    ],
)
def test_without_a_way_out_nothing_is_guessed(listens: list[str], route: str, why: str) -> None:
    with pytest.raises(Undecided, match=why):
        way_out(listens, route)


# -- asking, on loopback -----------------------------------------------------------------------------


class Server:
    """A STUN server that sees everybody at `seen`; it loses the first `lost` questions."""

    def __init__(self, seen: str, lost: int = 0) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._seen, self._lost = seen, lost
        self.at = ("127.0.0.1", int(self._sock.getsockname()[1]))
        self.asked = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, source = self._sock.recvfrom(1500)
            if not data:
                return
            self.asked += 1
            if self.asked <= self._lost or not self._seen:
                continue
            answer = stun.answer_to(data, Addr(self._seen, 4000))
            assert answer is not None
            self._sock.sendto(b"nonsense", source)
            self._sock.sendto(answer[:-1] + bytes([answer[-1] ^ 1]) + b"x", source)
            self._sock.sendto(answer, source)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.at)
        self._thread.join()
        self._sock.close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    found = [Server("203.0.113.5", lost=1), Server("203.0.113.6"), Server("")]
    try:
        yield found
    finally:
        for server in found:
            server.close()


def test_all_are_asked_at_once_and_again_when_silent(servers: list[Server]) -> None:
    first, second, silent = servers
    heard = whoami.ask([one.at for one in servers], "127.0.0.1", patience=2.0)
    assert [one.seen for one in heard] == ["203.0.113.5", "203.0.113.6", ""]
    assert heard[2].why == "no answer within 2 s"
    assert (first.asked, second.asked, silent.asked) == (2, 1, 3)


def test_a_name_that_does_not_resolve_is_said() -> None:
    (heard,) = whoami.ask([("name.invalid", 3478)], "127.0.0.1", patience=0.2)
    assert heard.server == "name.invalid:3478"
    assert "cannot be resolved" in heard.why


def test_a_local_address_that_is_gone_is_said() -> None:
    (heard,) = whoami.ask([("127.0.0.1", 9)], "192.0.2.77", patience=0.2)
    assert heard.seen == ""
    assert "assign" in heard.why

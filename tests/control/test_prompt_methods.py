"""`rtp.play`, `rtp.stop` and `rtp.prompts`: what an operator is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgesip.address import Addr, Flow
from edgesip.control.prompts import methods_for
from edgesip.control.rpc import Rpc
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.relay.shelf import Shelf

NOW = 1000.0
KEY = ("call-1", "tag-a")
CALLER = Flow("udp", Addr("192.0.2.1", 5060), Addr("198.51.100.10", 5060))
CALLEE = Flow("udp", Addr("192.0.2.1", 5060), Addr("203.0.113.20", 5060))


def sdp(host: str) -> bytes:
    lines = ("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", "m=audio 4000 RTP/AVP 0")
    return "\r\n".join((*lines, "")).encode()


class Desk:
    """The methods over a core with one call; `call` gives the result, or code and message."""

    def __init__(self, directory: Path) -> None:
        for name in ("hold", "beep"):
            (directory / f"{name}.0").write_bytes(bytes(1600))
        shelf = Shelf([directory])
        self.core = RelayCore(
            Settings(True, (), (), 20000, 20099, 60.0, 10),
            bind=lambda pair: True,
            unbind=lambda pair: None,
            path=UserPath(),
            entropy=bytes,
            prompts=shelf.find,
        )
        self.core.offer(KEY, "b1", "", "caller", sdp("198.51.100.10"), CALLER, CALLEE, NOW)
        self.rpc = Rpc(methods_for(self.core, shelf, lambda: NOW))

    def call(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        answer = json.loads(self.rpc.handle(json.dumps(request).encode()) or b"")
        return (
            answer["result"] if "result" in answer else (answer["error"]["code"], answer["error"]["message"])
        )

    def answer(self) -> None:
        self.core.answer(KEY, "b1", "tag-b", "callee", sdp("203.0.113.20"), CALLEE, CALLER, True, NOW)

    def playing(self) -> list[str]:
        return [leg["prompt"] for leg in self.core.sessions(NOW)[0]["legs"]]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_to_both_sides_unless_one_is_named(desk: Desk) -> None:
    desk.answer()
    assert desk.call("rtp.play", "call-1", "hold") == "Ok. Playing"
    assert desk.playing() == ["hold", "hold"]
    assert desk.call("rtp.stop", "call-1", "caller") == "Ok. Stopped"
    assert desk.playing() == ["", "hold"]
    assert desk.call("rtp.play", "call-1", "beep", "callee", -1) == "Ok. Playing"
    assert desk.playing() == ["", "beep"]
    assert desk.call("rtp.play", "call-1", "beep", "callee", 0) == "Ok. Stopped"
    assert desk.playing() == ["", ""]


def test_a_side_that_cannot_hear_it_does_not_keep_it_from_the_other(desk: Desk) -> None:
    assert desk.call("rtp.play", "call-1", "hold") == "Ok. Playing"
    assert desk.playing() == ["hold", ""]


def test_what_goes_wrong_is_told(desk: Desk) -> None:
    assert desk.call("rtp.play", "call-2", "hold") == (404, "call not found: no media session of call-2")
    assert desk.call("rtp.play", "call-1", "nobody") == (404, "there is no prompt nobody")
    assert desk.call("rtp.play", "call-1", "hold", "callee") == (500, "the callee has no audio line yet")
    assert desk.call("rtp.stop", "call-1") == (500, "nothing plays to the caller")
    assert desk.call("rtp.play", "call-1") == (-32602, "Invalid params: PROMPT is missing")
    assert desk.call("rtp.play", "call-1", "hold", "me")[0] == -32602
    for count in ("often", -2, "1.5", 10**9):
        assert desk.call("rtp.play", "call-1", "hold", "both", count)[0] == -32602


def test_what_can_be_played(desk: Desk, tmp_path: Path) -> None:
    assert desk.call("rtp.prompts") == [
        {"name": name, "seconds": 0.2, "codecs": ["PCMU"], "directory": str(tmp_path)}
        for name in ("beep", "hold")
    ]


def test_without_a_relay(tmp_path: Path) -> None:
    rpc = Rpc(methods_for(None, Shelf([tmp_path]), lambda: NOW))
    request = {"jsonrpc": "2.0", "method": "rtp.play", "params": ["c", "hold"], "id": 1}
    assert b"the relay is off" in (rpc.handle(json.dumps(request).encode()) or b"")

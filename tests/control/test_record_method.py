"""`rtp.record`: what an operator is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.control.record import methods_for
from edgesip.control.rpc import Rpc
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.relay.recorder import Recorder, RecordSettings

KEY = ("call-1", "tag-a")
CALLER = Flow("udp", Addr("192.0.2.1", 5060), Addr("198.51.100.10", 5060))
CALLEE = Flow("udp", Addr("192.0.2.1", 5060), Addr("203.0.113.20", 5060))


def sdp(codecs: str) -> bytes:
    lines = ("v=0", "o=- 1 1 IN IP4 198.51.100.10", "s=-", "c=IN IP4 198.51.100.10", "t=0 0")
    return "\r\n".join((*lines, f"m=audio 4000 RTP/AVP {codecs}", "")).encode()


async def asked(folder: Path, *questions: list[Any], codecs: str = "0", min_free: int = 0) -> list[Any]:
    """The results of questions in order; of a fault, code and message."""
    core = RelayCore(
        Settings(True, (), (), 20000, 20099, 60.0, 10),
        bind=lambda pair: True,
        unbind=lambda pair: None,
        path=UserPath(),
        entropy=bytes,
    )
    core.offer(KEY, "b1", "", "caller", sdp(codecs), CALLER, CALLEE, 0.0)
    settings = RecordSettings(folder, 10**9, min_free)
    recorder = Recorder(
        lambda: settings, core, asyncio.get_running_loop(), lambda *line: None, clock=lambda: 0.0
    )
    rpc, found = Rpc(methods_for(recorder)), []
    for params in questions:
        request = {"jsonrpc": "2.0", "method": "rtp.record", "params": params, "id": 1}
        answer = json.loads(rpc.handle(json.dumps(request).encode()) or b"")
        fault = answer.get("error")
        found.append(answer["result"] if fault is None else (fault["code"], fault["message"]))
    recorder.close()
    return found


def test_begun_listed_and_stopped(tmp_path: Path) -> None:
    begun, listed, stopped = asyncio.run(asked(tmp_path, ["call-1"], [], ["call-1", "stop"]))
    assert begun == listed
    assert [(one["call-id"], one["from_tag"], one["format"]) for one in begun] == [("call-1", "tag-a", "wav")]
    assert begun[0]["file"] == str(tmp_path / "call-1=tag-a.wav")
    assert [one["file"] for one in stopped] == [begun[0]["file"]]


def test_packets(tmp_path: Path) -> None:
    [begun] = asyncio.run(asked(tmp_path, ["call-1", "pcap"], codecs="9"))
    assert begun[0]["file"].endswith(".pcap")


def test_faults_say_why(tmp_path: Path) -> None:
    unknown, idle, word = asyncio.run(asked(tmp_path, ["call-9"], ["call-1", "stop"], ["call-1", "mp3"]))
    assert unknown == (404, "there is no call with media and the Call-ID 'call-9'")
    assert idle == (404, "no call with the Call-ID 'call-1' is recorded")
    assert word == (500, "rtp.record CALLID wav|pcap|stop, not 'mp3'")
    [codec] = asyncio.run(asked(tmp_path, ["call-1"], codecs="9"))
    assert codec == (500, "its sound is no G.711: a pcap can hold it")
    [full] = asyncio.run(asked(tmp_path, ["call-1"], min_free=10**18))
    assert full[0] == 500
    assert "record_min_free" in full[1]

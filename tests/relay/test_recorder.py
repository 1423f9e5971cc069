"""Recordings on disk: whole at every moment, closed at the end, and a disk that fails costs no call."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import wave
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from relay_talk import KEY, Talk

from edgesip import pcap
from edgesip.relay import recorder as module
from edgesip.relay.record import MOST_WAITING, name_of
from edgesip.relay.recorder import Recorder, RecordError, RecordSettings

CALL = KEY[0]


class Desk:
    """A call, somebody who records it, and what the log says; the call's clock is the recorder's."""

    def __init__(self, folder: Path, max_size: int = 10**9, min_free: int = 0) -> None:
        self.talk = Talk()
        self.talk.connect()
        self.log: list[tuple[str, str, dict[str, Any]]] = []
        settings = RecordSettings(folder, max_size, min_free)
        self.recorder = Recorder(
            lambda: settings,
            self.talk.core,
            asyncio.get_running_loop(),
            lambda *line: self.log.append(line),
            clock=lambda: self.talk.now,
        )
        self.recorder.begin()

    def speak(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.04)):
            self.talk.caller.speak()
            self.talk.callee.speak()

    def said(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, name, fields in self.log if name == event]

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not happened():
                await asyncio.sleep(0.01)

    async def written(self) -> None:
        """Until what has come is in the files."""
        before = [one["octets"] for one in self.recorder.show()]
        await self.until(lambda: [one["octets"] for one in self.recorder.show()] != before)


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time between two writes is short: nobody waits for it."""
    monkeypatch.setattr(module, "TURN", 0.02)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def seconds_of(path: Path) -> float:
    with wave.open(str(path)) as read:
        assert read.getparams()[:3] == (2, 2, 8000)
        assert len(read.readframes(10**9)) == read.getnframes() * 4, "the header says what is there"
        return float(read.getnframes() / 8000)


def test_a_call_is_recorded_to_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path / "a" / "b")
        [told] = desk.recorder.start(CALL, "wav")
        path = Path(told["file"])
        assert (path.parent, path.name) == (tmp_path / "a" / "b", f"{name_of(KEY)}.wav")
        assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o027 == 0
        desk.speak(3.0)
        await desk.written()
        assert 1.5 < seconds_of(path) <= 2.1, "whole in the middle too; the last second may still change"
        desk.talk.core.end(KEY, desk.talk.now)
        await desk.until(lambda: desk.said("recording ended"))
        assert seconds_of(path) == pytest.approx(3.0, abs=0.05)
        [ended] = desk.said("recording ended")
        assert ended == {
            "call_id": CALL,
            "file": str(path),
            "octets": path.stat().st_size,
            "seconds": pytest.approx(3.0),
        }
        assert desk.recorder.show() == []
        assert desk.recorder.counters["rtp:rtp_recorded"] == 1
        desk.recorder.close()

    run(test)


def test_a_script_wants_it_and_it_begins_with_the_first_packet(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        desk.talk.core.record(KEY, "pcap", desk.talk.now)
        desk.talk.caller.speak(2)
        await desk.until(lambda: desk.recorder.show())
        desk.talk.core.record(KEY, "", desk.talk.now)
        await desk.until(lambda: desk.said("recording ended"))
        [path] = tmp_path.iterdir()
        assert path.stat().st_size == len(pcap.HEADER) + 2 * (16 + 28 + 172)
        desk.recorder.close()

    run(test)


def test_who_names_the_file_does_not_say_where_it_is(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        desk.talk.core.record(KEY, "wav", desk.talk.now, "../ticket 7")
        await desk.until(lambda: desk.said("recording started"))
        [started] = desk.said("recording started")
        assert Path(started["file"]) == tmp_path / f"{name_of(('../ticket 7',))}.wav"
        desk.talk.core.end(KEY, desk.talk.now)
        await desk.until(lambda: desk.said("recording ended"))

    run(test)


def test_the_server_stops_while_an_end_is_being_written(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        desk.recorder.start(CALL, "wav")
        desk.speak(2.0)
        [told] = desk.recorder.stop(CALL)
        desk.recorder.close()
        assert seconds_of(Path(told["file"])) == pytest.approx(2.0, abs=0.05)
        assert len(desk.said("recording ended")) == 1
        await asyncio.sleep(0.05)

    run(test)


def test_many_calls_are_recorded_side_by_side(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        keys = [(f"other-{number}", "t") for number in range(30)]
        for key in keys:
            desk.talk.invite(key=key)
            desk.talk.answer(key=key)
            desk.recorder.start(key[0], "wav")
        desk.talk.now += 3.0
        await desk.until(lambda: all(one["octets"] > 60_000 for one in desk.recorder.show()))
        for key in keys:
            desk.talk.core.end(key, desk.talk.now)
        await desk.until(lambda: len(desk.said("recording ended")) == 30)
        assert {seconds_of(path) for path in tmp_path.iterdir()} == {3.0}
        desk.recorder.close()

    run(test)


def test_the_server_stops_before_anybody_looked(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        desk.talk.core.record(KEY, "wav", desk.talk.now)
        desk.speak(0.4)
        desk.recorder.close()
        [path] = tmp_path.iterdir()
        assert seconds_of(path) == pytest.approx(0.4, abs=0.05)

    run(test)


def test_the_server_stops_and_the_files_are_whole(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        [told] = desk.recorder.start(CALL, "wav")
        desk.speak(2.0)
        desk.recorder.close()
        desk.recorder.close()
        assert seconds_of(Path(told["file"])) == pytest.approx(2.0, abs=0.05)
        [ended] = desk.said("recording ended")
        assert ended["why"] == "the server stopped"
        assert desk.talk.leg("caller")["because"] != "it is recorded"

    run(test)


def test_stopped_begun_again_and_in_another_form(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        [first] = desk.recorder.start(CALL, "wav")
        assert desk.recorder.start(CALL, "wav") == [first], "it is recorded already"
        desk.speak(0.4)
        assert desk.recorder.stop(CALL)[0]["file"] == first["file"]
        await desk.until(lambda: len(desk.said("recording ended")) == 1)
        [second] = desk.recorder.start(CALL, "wav")
        [third] = desk.recorder.start(CALL, "pcap")
        desk.speak(0.4)
        desk.recorder.stop(CALL)
        await desk.until(lambda: len(desk.said("recording ended")) == 3)
        base = name_of(KEY)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            f"{base}-2.wav",
            f"{base}.pcap",
            f"{base}.wav",
        ]
        assert seconds_of(Path(first["file"])) == pytest.approx(0.4, abs=0.05)
        assert Path(second["file"]).stat().st_size == 44
        assert Path(third["file"]).stat().st_size > 1000
        desk.recorder.close()

    run(test)


def test_who_is_not_there_and_what_cannot_be_heard(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        with pytest.raises(RecordError) as unknown:
            desk.recorder.start("nobody", "wav")
        with pytest.raises(RecordError) as silent:
            desk.recorder.stop(CALL)
        assert unknown.value.missing
        assert silent.value.missing
        for fmts, proto, why in (("9", "RTP/AVP", "no G.711"), ("0", "RTP/SAVP", "encrypted")):
            desk.talk.invite(desk.talk.caller.sdp(fmts=fmts).replace(b"RTP/AVP", proto.encode()))
            desk.talk.answer(desk.talk.callee.sdp(fmts=fmts).replace(b"RTP/AVP", proto.encode()))
            with pytest.raises(RecordError, match=why):
                desk.recorder.start(CALL, "wav")
            assert desk.recorder.start(CALL, "pcap")
            desk.recorder.stop(CALL)
            await desk.until(lambda: not desk.recorder.show())
        desk.recorder.close()

    run(test)


def test_a_full_disk_is_said_once_and_the_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        [told] = desk.recorder.start(CALL, "wav")
        desk.speak(2.0)
        await desk.written()
        size = Path(told["file"]).stat().st_size

        def full(fd: int, data: bytes) -> int:
            if len(data) > 100:
                return write(fd, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

        write = os.write
        monkeypatch.setattr(os, "write", full)
        heard = len(desk.talk.callee.inbox)
        desk.speak(2.0)
        await desk.until(lambda: desk.said("recording ended"))
        assert Path(told["file"]).stat().st_size == size, "what went half is taken back"
        assert seconds_of(Path(told["file"])) > 0.5
        assert len(desk.talk.callee.inbox) == heard + 50
        assert desk.talk.leg("caller")["carried_by"] == "user", "nothing is taken of it any more"
        with pytest.raises(RecordError, match="No space left"):
            desk.recorder.start(CALL, "wav")
        assert [fields["why"] for fields in desk.said("recording failed")] == ["No space left on device"]
        assert len(list(tmp_path.iterdir())) == 1
        monkeypatch.setattr(os, "write", write)
        assert desk.recorder.start(CALL, "wav")
        assert desk.recorder.counters["rtp:rtp_recording_failed"] == 2
        desk.recorder.close()

    run(test)


@pytest.mark.parametrize("trouble", ["nearly full", "a file in its place", "forbidden"])
def test_what_cannot_be_begun_is_refused(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        folder = tmp_path / "recordings"
        if trouble == "a file in its place":
            folder.write_text("")
        if trouble == "forbidden":

            def refuse(*_: object) -> int:
                raise PermissionError(errno.EACCES, "Permission denied")

            monkeypatch.setattr(os, "open", refuse)
        desk = Desk(folder, min_free=10**18 if trouble == "nearly full" else 0)
        with pytest.raises(RecordError):
            desk.recorder.start(CALL, "wav")
        assert len(desk.said("recording failed")) == 1
        assert not (folder.is_dir() and list(folder.iterdir()))
        desk.speak(0.2)
        assert desk.talk.leg("caller")["carried_by"] == "user"
        desk.recorder.close()

    run(test)


def test_a_file_ends_at_its_limit(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Desk(tmp_path, max_size=50_000)
        [told] = desk.recorder.start(CALL, "wav")
        for _ in range(5):
            desk.speak(1.0)
            await asyncio.sleep(0.1)
        await desk.until(lambda: desk.said("recording ended"))
        assert "record_max_size" in desk.said("recording ended")[0]["why"]
        assert Path(told["file"]).stat().st_size < 50_000 + 3 * 32_000
        seconds_of(Path(told["file"]))
        desk.recorder.close()

    run(test)


def test_a_disk_that_hangs_costs_packets_of_the_recording_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        desk = Desk(tmp_path)
        desk.recorder.start(CALL, "pcap")
        hangs = asyncio.Event()
        loop, write = asyncio.get_running_loop(), os.write

        def stuck(fd: int, data: bytes) -> int:
            loop.call_soon_threadsafe(hangs.set)
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
            return write(fd, data)

        released = asyncio.Event()
        monkeypatch.setattr(os, "write", stuck)
        desk.speak(0.2)
        await hangs.wait()
        monkeypatch.setattr(os, "write", write)
        heard = len(desk.talk.callee.inbox)
        count = MOST_WAITING // 172 // 2 + 500
        desk.speak(count * 0.04)
        await asyncio.sleep(0.1)
        assert len(desk.talk.callee.inbox) == heard + count
        [told] = desk.recorder.show()
        assert 900 < told["lost"] < 1100
        released.set()
        desk.recorder.stop(CALL)
        await desk.until(lambda: desk.said("recording ended"))
        assert desk.said("recording ended")[0]["lost"] == told["lost"]
        assert desk.recorder.counters["rtp:rtp_recording_lost"] == told["lost"]
        desk.recorder.close()

    run(test)


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    async def test() -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        folder = tmp_path / "recordings"
        folder.mkdir()
        (folder / f"{name_of(KEY)}.wav").symlink_to(victim)
        desk = Desk(folder)
        [told] = desk.recorder.start(CALL, "wav")
        assert told["file"].endswith("-2.wav")
        desk.speak(0.2)
        desk.recorder.close()
        assert victim.read_text() == "precious"

    run(test)


def test_tcpdump_reads_it(tmp_path: Path) -> None:
    if subprocess.run(["which", "tcpdump"], capture_output=True).returncode:
        pytest.skip("no tcpdump here")

    async def test() -> None:
        desk = Desk(tmp_path)
        [told] = desk.recorder.start(CALL, "pcap")
        desk.speak(0.2)
        desk.talk.caller.report()
        desk.recorder.close()
        done = subprocess.run(
            ["tcpdump", "-nvvT", "rtp", "-r", told["file"]], capture_output=True, text=True, timeout=20
        )
        assert done.stdout.count("udp/rtp") >= 10
        assert "bad udp cksum" not in done.stdout
        assert "bad cksum" not in done.stdout

    run(test)

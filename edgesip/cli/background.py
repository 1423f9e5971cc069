"""`edgesip start|stop|restart|status`: the same server as `run`, in the background."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgesip.cli.client import ask, pid_behind
from edgesip.cli.fail import BAD_CONFIG, FAILED, NOT_FOUND, UNREACHABLE, Fail
from edgesip.cli.options import (
    AdvertiseOption,
    ListenOption,
    Output,
    OutputOption,
    ProfileOption,
    SetOption,
    SocketOption,
    StateDirOption,
)
from edgesip.cli.output import duration, printable, say, show_json, show_table
from edgesip.cli.owned import open_owned, trouble
from edgesip.cli.paths import made_state_dir, socket_of, state_dir_of
from edgesip.cli.pidfile import server_of
from edgesip.cli.runstate import kept
from edgesip.places import log_file, run_file

if TYPE_CHECKING:
    import subprocess

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


def start(
    profile: ProfileOption,
    listen: ListenOption = None,
    advertise: AdvertiseOption = None,
    set_: SetOption = None,
    state_dir: StateDirOption = None,
    socket: SocketOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Start the server in the background and wait until it is ready; its log is STATE_DIR/edgesip.log."""
    from edgesip.cli.run import load_profile, run_state

    loaded = load_profile(profile, listen, advertise, set_, state_dir, socket)
    options = run_state(loaded, profile, listen, advertise, set_).arguments()
    _start(made_state_dir(loaded.state_dir), options, output)


def stop(state_dir: StateDirOption = None, output: OutputOption = Output.table) -> None:
    """Stop the server of the state directory and wait until it is gone.

    Where one that was killed has left media in the kernel, that is taken away.
    """
    directory = state_dir_of(state_dir)
    taken = _take_away(directory) if server_of(directory) is None else ""
    pid = None if taken else _stop(directory)
    if output is Output.json:
        show_json({"pid": pid, "state_dir": str(directory), "taken_away": taken})
    elif taken:
        say(f"no server runs on {directory}; what a killed one had left in {taken} is taken away")


def restart(state_dir: StateDirOption = None, output: OutputOption = Output.table) -> None:
    """Stop the server if it runs, and start it with the options it had, if they still make a server."""
    from edgesip.cli.run import tried

    directory = state_dir_of(state_dir)
    path = run_file(directory)
    try:
        was = kept(directory)
    except FileNotFoundError:
        raise Fail(NOT_FOUND, f"{directory}: no server has run here yet; use edgesip start") from None
    except OSError as error:
        raise trouble(path, error) from None
    except ValueError as error:
        raise Fail(BAD_CONFIG, f"{path}: {error}; use edgesip start") from None
    tried(was.profile, was.listen, was.advertise, was.set, directory, Path(was.socket))
    if server_of(directory) is not None:
        _stop(directory)
    _start(directory, was.arguments(), output)


def status(
    state_dir: StateDirOption = None, socket: SocketOption = None, output: OutputOption = Output.table
) -> None:
    """Say whether a server runs on the state directory, or behind --socket, and whether it answers."""
    path = socket_of(state_dir, socket)
    where: dict[str, str] = {}
    if socket is not None and state_dir is None:
        pid = pid_behind(path)
    else:
        directory = state_dir_of(state_dir)
        running = server_of(directory)
        if running is None:
            raise Fail(UNREACHABLE, f"no server runs on {directory}")
        where, pid = {"state_dir": str(directory)}, running
    try:
        up, version = ask(path, "core.uptime"), ask(path, "core.version")
    except Fail as fail:
        raise Fail(fail.code, f"a server runs, pid {pid}, but does not answer: {fail.message}") from None
    if output is Output.json:
        show_json({"pid": pid, "version": version, "uptime": up["uptime"], "socket": str(path)} | where)
        return
    show_table(
        ("Version", "Pid", "Up for", "Since", "Socket"),
        [(version, pid, duration(up["uptime"]), up["up_since"], path)],
    )


def _start(state_dir: Path, options: list[str], output: Output) -> None:
    import subprocess

    if (pid := server_of(state_dir)) is not None:
        raise Fail(FAILED, f"a server runs already on {state_dir}, pid {pid}")
    log = log_file(state_dir)
    script = Path(sys.executable).with_name("edgesip")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "edgesip.cli.main"]
    command = [*program, "run", *options, "--state-dir", str(state_dir)]
    try:
        sink = open_owned(log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
    except OSError as error:
        raise trouble(log, error) from None
    try:
        begin = os.fstat(sink).st_size
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
        line = _ready_line(child, log, lambda: _lines_from(sink, begin))
    finally:
        os.close(sink)
    if output is Output.json:
        show_json({"pid": child.pid, "ready": line, "log": str(log), "state_dir": str(state_dir)})
    else:
        say(f"{line} (pid {child.pid}, log {log})")


def _ready_line(child: subprocess.Popen[bytes], log: Path, lines_now: Callable[[], list[str]]) -> str:
    """What the server says when it is ready; `Fail` with its exit code when it ends instead."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        code = child.poll()
        lines = lines_now()
        for line in lines:
            if line.startswith("ready"):
                return line
        if code is not None:
            for line in lines:
                say(line)
            why = f"its log is {log}" if lines else f"it wrote nothing to {log}: is the disk full?"
            raise Fail(code if code > 0 else FAILED, f"the server did not start; {why}")
        time.sleep(0.05)
    child.terminate()
    raise Fail(FAILED, f"the server was not ready within {START_TIMEOUT:.0f} s; its log is {log}")


def _stop(state_dir: Path) -> int:
    """The pid of the server that is gone now."""
    pid = server_of(state_dir)
    if pid is None:
        raise Fail(UNREACHABLE, f"no server runs on {state_dir}")
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise Fail(FAILED, f"not permitted to stop pid {pid}; try as its user or as root") from None
    except ProcessLookupError:
        return pid
    deadline = time.monotonic() + STOP_TIMEOUT
    while server_of(state_dir) == pid:
        if time.monotonic() > deadline:
            raise Fail(FAILED, f"pid {pid} does not end; its log is {log_file(state_dir)}")
        time.sleep(0.02)
    return pid


def _take_away(state_dir: Path) -> str:
    """Where a server that is no more had left media in the kernel, now removed; "" for nowhere."""
    from edgesip.relay.kernel.leftover import take_away

    left = take_away(state_dir)
    if left.why:
        raise Fail(FAILED, f"{left.path}: {left.why}; try as the user of the server or as root")
    return "" if left.path is None else str(left.path)


def _lines_from(log: int, begin: int) -> list[str]:
    """The whole lines written to an open file since `begin`."""
    data = os.pread(log, max(0, os.fstat(log).st_size - begin), begin)
    return [printable(line) for line in data.decode("utf-8", "surrogateescape").split("\n")[:-1]]

"""`edgesip start|stop|restart|status`: the same server as `run`, in the background."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from edgesip.cli.client import ask
from edgesip.cli.fail import FAILED, NOT_FOUND, UNREACHABLE, Fail
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
from edgesip.cli.paths import leave_to_owner, made_state_dir, socket_of, state_dir_of
from edgesip.cli.pidfile import server_of
from edgesip.places import log_file, run_file

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


def start(
    profile: ProfileOption,
    listen: ListenOption = None,
    advertise: AdvertiseOption = None,
    set_: SetOption = None,
    state_dir: StateDirOption = None,
    socket: SocketOption = None,
) -> None:
    """Start the server in the background and wait until it is ready; its log is STATE_DIR/edgesip.log."""
    from edgesip.cli.run import load_profile

    loaded = load_profile(profile, listen, advertise, set_, state_dir, socket)
    options = ["--profile", profile if loaded.name == profile else str(loaded.file)]
    for name, values in (("--listen", listen), ("--advertise", advertise), ("--set", set_)):
        for value in values or []:
            options += [name, value]
    _start(made_state_dir(loaded.state_dir), [*options, "--socket", str(loaded.socket)])


def stop(state_dir: StateDirOption = None) -> None:
    """Stop the server of the state directory and wait until it is gone."""
    _stop(state_dir_of(state_dir))


def restart(state_dir: StateDirOption = None) -> None:
    """Stop the server if it runs, and start it with the options it had."""
    directory = state_dir_of(state_dir)
    try:
        kept = json.loads(run_file(directory).read_text())
        options = ["--profile", str(kept["profile"]), "--socket", str(kept["socket"])]
        for name in ("listen", "advertise", "set"):
            for value in kept[name]:
                options += [f"--{name}", str(value)]
    except (OSError, ValueError, KeyError, TypeError):
        raise Fail(NOT_FOUND, f"{directory}: no server has run here yet; use edgesip start") from None
    if server_of(directory) is not None:
        _stop(directory)
    _start(directory, options)


def status(
    state_dir: StateDirOption = None, socket: SocketOption = None, output: OutputOption = Output.table
) -> None:
    """Say whether a server runs on the state directory, and whether it answers."""
    directory = state_dir_of(state_dir)
    pid = server_of(directory)
    if pid is None:
        raise Fail(UNREACHABLE, f"no server runs on {directory}")
    path = socket_of(directory, socket)
    try:
        up = ask(path, "core.uptime")
        version = ask(path, "core.version")
    except Fail as fail:
        raise Fail(fail.code, f"a server runs, pid {pid}, but does not answer: {fail.message}") from None
    if output is Output.json:
        found = {"pid": pid, "version": version, "uptime": up["uptime"], "socket": str(path)}
        show_json(found | {"state_dir": str(directory)})
        return
    show_table(
        ("Version", "Pid", "Up for", "Since", "Socket"),
        [(version, pid, duration(up["uptime"]), up["up_since"], path)],
    )


def _start(state_dir: Path, options: list[str]) -> None:
    import subprocess

    if (pid := server_of(state_dir)) is not None:
        raise Fail(FAILED, f"a server runs already on {state_dir}, pid {pid}")
    log = log_file(state_dir)
    script = Path(sys.executable).with_name("edgesip")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "edgesip.cli.main"]
    command = [*program, "run", *options, "--state-dir", str(state_dir)]
    with log.open("ab") as sink:
        begin = sink.tell()
        leave_to_owner(log)
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        code = child.poll()
        lines = _lines_from(log, begin)
        for line in lines:
            if line.startswith("ready"):
                say(f"{line} (pid {child.pid}, log {log})")
                return
        if code is not None:
            for line in lines:
                say(line)
            raise Fail(code if code > 0 else FAILED, f"the server did not start; its log is {log}")
        time.sleep(0.05)
    child.terminate()
    raise Fail(FAILED, f"the server was not ready within {START_TIMEOUT:.0f} s; its log is {log}")


def _stop(state_dir: Path) -> None:
    pid = server_of(state_dir)
    if pid is None:
        raise Fail(UNREACHABLE, f"no server runs on {state_dir}")
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise Fail(FAILED, f"not permitted to stop pid {pid}; try as its user or as root") from None
    except ProcessLookupError:
        return
    deadline = time.monotonic() + STOP_TIMEOUT
    while server_of(state_dir) == pid:
        if time.monotonic() > deadline:
            raise Fail(FAILED, f"pid {pid} does not end; its log is {log_file(state_dir)}")
        time.sleep(0.02)


def _lines_from(log: Path, begin: int) -> list[str]:
    """The whole lines written since `begin`."""
    with log.open("rb") as source:
        source.seek(begin)
        data = source.read()
    return [printable(line) for line in data.decode("utf-8", "surrogateescape").split("\n")[:-1]]

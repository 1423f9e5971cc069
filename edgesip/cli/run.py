"""`edgesip run` and `edgesip check`: a profile becomes a server in the foreground, or is only tried."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgesip.cli.fail import BAD_CONFIG, FAILED, Fail
from edgesip.cli.options import (
    AdvertiseOption,
    ListenOption,
    ProfileOption,
    SetOption,
    SocketOption,
    StateDirOption,
)
from edgesip.cli.output import printable, say
from edgesip.cli.paths import default_state_dir, made_state_dir
from edgesip.cli.pidfile import serving
from edgesip.cli.runstate import RunState, keep
from edgesip.places import ConfigError

if TYPE_CHECKING:
    from edgesip.app import Edge
    from edgesip.profile import Profile


def run(
    profile: ProfileOption,
    listen: ListenOption = None,
    advertise: AdvertiseOption = None,
    set_: SetOption = None,
    state_dir: StateDirOption = None,
    socket: SocketOption = None,
) -> None:
    """Run the server in the foreground until SIGTERM or Ctrl-C."""
    from edgesip.cli.serve import serve
    from edgesip.control import log
    from edgesip.control.notify import notify
    from edgesip.store.api import StoreError

    _be_called("edgesip")
    log.configure()
    loaded = load_profile(profile, listen, advertise, set_, state_dir, socket)
    made_state_dir(loaded.state_dir)
    with serving(loaded.state_dir):
        edge = _provisioned(loaded, lambda: _read(profile, listen, advertise, set_, state_dir, socket))
        options = run_state(loaded, profile, listen, advertise, set_)

        def ready(line: str) -> None:
            keep(loaded.state_dir, options)
            try:
                print(printable(line), file=sys.stderr, flush=True)
            except OSError as error:
                raise Fail(FAILED, f"cannot say that the server is ready: {error.strerror}") from None
            notify("READY=1", f"STATUS={line}")

        try:
            serve(edge.run, ready, edge.hangup)
        except ConfigError as error:
            raise Fail(BAD_CONFIG, str(error)) from None
        except StoreError as error:
            raise Fail(FAILED, str(error)) from None


def check(
    profile: ProfileOption,
    listen: ListenOption = None,
    advertise: AdvertiseOption = None,
    set_: SetOption = None,
    state_dir: StateDirOption = None,
    socket: SocketOption = None,
) -> None:
    """Read a profile and put the server together without starting it."""
    loaded = tried(profile, listen, advertise, set_, state_dir, socket)
    say(f"{loaded.file}: good")


def tried(
    name: str,
    listen: list[str] | None,
    advertise: list[str] | None,
    sets: list[str] | None,
    state_dir: Path | None,
    socket: Path | None,
) -> Profile:
    """A profile that a server could be started with, or `Fail` with 78."""
    loaded = load_profile(name, listen, advertise, sets, state_dir, socket)
    edge = _provisioned(loaded)
    if edge.certificates is not None:
        for sentence in edge.certificates.ending():
            say(f"warning: {sentence}")
    return loaded


def run_state(
    loaded: Profile,
    profile: str,
    listen: list[str] | None,
    advertise: list[str] | None,
    sets: list[str] | None,
) -> RunState:
    """What makes the same server again, from any directory."""
    return RunState(
        profile=profile if loaded.name == profile else str(loaded.file),
        socket=str(loaded.socket),
        listen=listen or [],
        advertise=advertise or [],
        set=sets or [],
    )


def load_profile(
    name: str,
    listen: list[str] | None,
    advertise: list[str] | None,
    sets: list[str] | None,
    state_dir: Path | None,
    socket: Path | None,
) -> Profile:
    """The profile with the command line laid over it, or `Fail` with 78."""
    try:
        return _read(name, listen, advertise, sets, state_dir, socket)
    except ConfigError as error:
        raise Fail(BAD_CONFIG, str(error)) from None


def _be_called(name: str) -> None:
    """What `top` and `pgrep` show in place of the interpreter's name."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _read(
    name: str,
    listen: list[str] | None,
    advertise: list[str] | None,
    sets: list[str] | None,
    state_dir: Path | None,
    socket: Path | None,
) -> Profile:
    from edgesip.profile import load

    return load(
        name,
        default_state_dir=default_state_dir(),
        sets=sets or (),
        listen=listen or (),
        advertise=advertise or (),
        state_dir=state_dir,
        socket=socket,
    )


def _provisioned(profile: Profile, again: Callable[[], Profile] | None = None) -> Edge:
    from edgesip.app import provision
    from edgesip.store.api import StoreError

    try:
        return provision(profile, again)
    except ConfigError as error:
        raise Fail(BAD_CONFIG, str(error)) from None
    except StoreError as error:
        raise Fail(FAILED, str(error)) from None

"""`edgesip run` and `edgesip check`: a profile becomes a server in the foreground, or is only tried."""

from __future__ import annotations

import json
import sys
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
from edgesip.cli.paths import default_state_dir, leave_to_owner, made_state_dir
from edgesip.cli.pidfile import serving
from edgesip.places import ConfigError, run_file

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

    log.configure()
    loaded = load_profile(profile, listen, advertise, set_, state_dir, socket)
    made_state_dir(loaded.state_dir)
    with serving(loaded.state_dir):
        edge = _provisioned(loaded)
        options = {
            "profile": profile if loaded.name == profile else str(loaded.file),
            "listen": listen or [],
            "advertise": advertise or [],
            "set": set_ or [],
            "socket": str(loaded.socket),
        }

        def ready(line: str) -> None:
            kept = run_file(loaded.state_dir)
            kept.write_text(json.dumps(options))
            leave_to_owner(kept)
            print(printable(line), file=sys.stderr, flush=True)
            notify("READY=1", f"STATUS={line}")

        try:
            serve(edge.run, ready)
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
    loaded = load_profile(profile, listen, advertise, set_, state_dir, socket)
    _provisioned(loaded)
    say(f"{loaded.file}: good")


def load_profile(
    name: str,
    listen: list[str] | None,
    advertise: list[str] | None,
    sets: list[str] | None,
    state_dir: Path | None,
    socket: Path | None,
) -> Profile:
    """The profile with the command line laid over it, or `Fail` with 78."""
    from edgesip.profile import load

    try:
        return load(
            name,
            default_state_dir=default_state_dir(),
            sets=sets or (),
            listen=listen or (),
            advertise=advertise or (),
            state_dir=state_dir,
            socket=socket,
        )
    except ConfigError as error:
        raise Fail(BAD_CONFIG, str(error)) from None


def _provisioned(profile: Profile) -> Edge:
    from edgesip.app import provision
    from edgesip.store.api import StoreError

    try:
        return provision(profile)
    except ConfigError as error:
        raise Fail(BAD_CONFIG, str(error)) from None
    except StoreError as error:
        raise Fail(FAILED, str(error)) from None

"""Which state directory and socket a verb means."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from edgesip.cli.fail import BAD_CONFIG, Fail
from edgesip.cli.runstate import kept
from edgesip.places import ConfigError, socket_in

SERVICE_USER = "edgesip"
SYSTEM_STATE = Path("/var/lib/edgesip")


def default_state_dir() -> Path | None:
    """/var/lib/edgesip for root and the service user, else in the user's home; None for one without any."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    if uid == 0 or name == SERVICE_USER:
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "edgesip"
    try:
        return Path.home() / ".local" / "state" / "edgesip"
    except RuntimeError:  # neither $HOME nor an entry in the user database
        return None


def state_dir_of(option: Path | None) -> Path:
    """The state directory of `--state-dir`, absolute, or the default one."""
    directory = option or default_state_dir()
    if directory is None:
        raise Fail(BAD_CONFIG, "this user has no home directory: name the state directory by --state-dir")
    return directory.absolute()


def socket_of(state_dir: Path | None, socket: Path | None) -> Path:
    """The control socket a question goes to: the one asked for, else where the server said it would be."""
    directory = state_dir_of(state_dir)
    try:
        path = socket_in(directory, socket)
    except ConfigError as error:
        raise Fail(BAD_CONFIG, str(error)) from None
    if socket is None and not os.path.exists(path):
        try:
            return Path(kept(directory).socket)
        except (OSError, ValueError):
            return path
    return path


def made_state_dir(path: Path) -> Path:
    """The state directory, made if it is not there yet."""
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        message = f"{path}: the state directory cannot be made: {error.strerror}; choose one by --state-dir"
        raise Fail(BAD_CONFIG, message) from None
    return path

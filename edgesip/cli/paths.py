"""Which state directory and socket a verb means."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

from edgesip.cli.fail import BAD_CONFIG, Fail
from edgesip.places import ConfigError, run_file, socket_in

SERVICE_USER = "edgesip"
SYSTEM_STATE = Path("/var/lib/edgesip")


def default_state_dir() -> Path:
    """/var/lib/edgesip for root and the service user, else in the user's own state directory."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    if uid == 0 or name == SERVICE_USER:
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME", "")
    return Path(base if base.startswith("/") else Path.home() / ".local" / "state") / "edgesip"


def state_dir_of(option: Path | None) -> Path:
    """The state directory of `--state-dir`, absolute, or the default one."""
    return (option or default_state_dir()).absolute()


def socket_of(state_dir: Path | None, socket: Path | None) -> Path:
    """The control socket a question goes to: the one asked for, else where the server said it would be."""
    directory = state_dir_of(state_dir)
    try:
        path = socket_in(directory, socket)
    except ConfigError as error:
        raise Fail(BAD_CONFIG, str(error)) from None
    if socket is None and not path.exists():
        return _kept_socket(directory) or path
    return path


def _kept_socket(state_dir: Path) -> Path | None:
    """Where the last server of this state directory was told to put its socket."""
    try:
        return Path(json.loads(run_file(state_dir).read_text())["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def made_state_dir(path: Path) -> Path:
    """The state directory, made if it is not there yet."""
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        message = f"{path}: the state directory cannot be made: {error.strerror}; choose one by --state-dir"
        raise Fail(BAD_CONFIG, message) from None
    return path


def leave_to_owner(file: Path) -> None:
    """A file that root made in somebody's state directory becomes that somebody's, for a server to use."""
    if os.geteuid() == 0:
        owner = file.parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)

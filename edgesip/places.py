"""Where the files of a server are, and the error of a configuration that cannot be used.

Small, because the command line reads it at every call.
"""

from __future__ import annotations

from pathlib import Path

SOCKET_PATH_MAX = 107
"""Longest path of a unix socket in bytes (struct sockaddr_un holds 108 with its final NUL)."""


class ConfigError(Exception):
    """The configuration cannot be used; the message says where and what to write instead (exit code 78)."""


def socket_in(state_dir: Path, socket: Path | None = None) -> Path:
    """The control socket: the one asked for, else edgesip.sock in the state directory, if it fits."""
    path = (socket or state_dir / "edgesip.sock").absolute()
    size = len(str(path).encode("utf-8", "surrogateescape"))
    if size > SOCKET_PATH_MAX:
        raise ConfigError(
            f"{path}: a socket's path has at most {SOCKET_PATH_MAX} bytes, this has {size};"
            " choose a shorter --socket or --state-dir"
        )
    return path


def location_db(state_dir: Path) -> Path:
    """The SQLite file that keeps bindings, unless `usrloc.db_url` names another."""
    return state_dir / "location.db"


def kept_db(state_dir: Path) -> Path:
    """The SQLite file that keeps bans and subscriptions."""
    return state_dir / "kept.db"


def subscribers_db(state_dir: Path) -> Path:
    """The SQLite file that keeps the users."""
    return state_dir / "subscribers.db"


def calls_db(state_dir: Path) -> Path:
    """The SQLite file that keeps the calls that are up."""
    return state_dir / "calls.db"


def auth_secret(state_dir: Path) -> Path:
    """What nonces are keyed with, unless `auth.secret` is set."""
    return state_dir / "auth.secret"


def pid_file(state_dir: Path) -> Path:
    """The file a running server holds locked."""
    return state_dir / "edgesip.pid"


def log_file(state_dir: Path) -> Path:
    """Where a server in the background writes what one in the foreground writes to stderr."""
    return state_dir / "edgesip.log"


def run_file(state_dir: Path) -> Path:
    """With which options the last server was run, for `edgesip restart`."""
    return state_dir / "edgesip.run.json"

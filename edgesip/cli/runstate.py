"""With which options the last server of a state directory was run: kept for `restart`, and for its socket."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgesip.cli.owned import open_owned, trouble
from edgesip.places import run_file


@dataclass(frozen=True, slots=True)
class RunState:
    """The options of `run`, but for the state directory itself; `profile` is a name or an absolute path."""

    profile: str
    socket: str
    listen: list[str]
    advertise: list[str]
    set: list[str]

    def arguments(self) -> list[str]:
        """The options as `edgesip run` takes them."""
        words = ["--profile", self.profile, "--socket", self.socket]
        for name, values in (("listen", self.listen), ("advertise", self.advertise), ("set", self.set)):
            for value in values:
                words += [f"--{name}", value]
        return words


def keep(state_dir: Path, state: RunState) -> None:
    """Write the options down, or `Fail`."""
    path = run_file(state_dir)
    try:
        with os.fdopen(open_owned(path, os.O_WRONLY | os.O_CREAT), "w") as file:
            file.truncate(0)
            json.dump(asdict(state), file)
    except OSError as error:
        raise trouble(path, error) from None


def kept(state_dir: Path) -> RunState:
    """The options of the last server; `OSError` when they cannot be read, `ValueError` when they are none."""
    with os.fdopen(open_owned(run_file(state_dir), os.O_RDONLY)) as file:
        found = json.load(file)
    try:
        lists = [_texts(found[name]) for name in ("listen", "advertise", "set")]
        return RunState(str(found["profile"]), str(found["socket"]), *lists)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not what edgesip keeps there: {error!r}") from None


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return [str(one) for one in value]

"""`edgesip doctor`: is everything there that a server needs? Each line says so, or what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesip.cli.client import ask, pid_behind
from edgesip.cli.fail import BAD_CONFIG, FAILED, Fail
from edgesip.cli.options import (
    AdvertiseOption,
    ListenOption,
    Output,
    OutputOption,
    SetOption,
    SocketOption,
    StateDirOption,
)
from edgesip.cli.output import printable, put, show_json
from edgesip.cli.paths import state_dir_of
from edgesip.cli.run import load_profile
from edgesip.cli.runstate import RunState, kept


def doctor(
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME|FILE", help="default: what the last server there was run with"
        ),
    ] = None,
    listen: ListenOption = None,
    advertise: AdvertiseOption = None,
    set_: SetOption = None,
    state_dir: StateDirOption = None,
    socket: SocketOption = None,
    output: OutputOption = Output.table,
    json: Annotated[bool, typer.Option("--json", help="the same as -o json")] = False,
) -> None:
    """Look at this host with the eyes of a profile: ports, addresses, clock, names, certificates, disk."""
    from edgesip.doctor.finding import Finding, broken, fail
    from edgesip.doctor.visit import findings

    if profile is None:
        was = _last(state_dir)
        profile, socket = was.profile, socket or Path(was.socket)
        listen, advertise, set_ = listen or was.listen, advertise or was.advertise, [*was.set, *(set_ or ())]
    as_json = json or output is Output.json
    seen: list[Finding] = []
    try:
        loaded = load_profile(profile, listen, advertise, set_, state_dir, socket)
    except Fail as error:
        found = iter([fail("profile", error.message, "correct it; edgesip check says when it is good")])
    else:
        version, pid = "", 0
        try:
            version, pid = str(ask(loaded.socket, "core.version")), pid_behind(loaded.socket)
        except Fail:
            version = ""
        found = findings(loaded, version, pid)
    for one in found:
        seen.append(one)
        if not as_json:
            put(f"{one.level:4}  {printable(one.check)}: {printable(one.text)}\n")
            put(f"      -> {printable(one.do)}\n" if one.do else "")
    if as_json:
        show_json([one._asdict() for one in seen])
    if broken(seen):
        raise Fail(FAILED, "not fit to serve: see the lines that say fail")


def _last(state_dir: Path | None) -> RunState:
    """With which options the last server of a state directory was run, or `Fail`."""
    directory = state_dir_of(state_dir)
    try:
        return kept(directory)
    except FileNotFoundError:
        raise Fail(
            BAD_CONFIG, f"{directory}: no server has run here yet: name a profile by --profile"
        ) from None
    except (OSError, ValueError) as error:
        raise Fail(BAD_CONFIG, f"{directory}: {error}: name a profile by --profile") from None

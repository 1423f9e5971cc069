"""`edgesip doctor`: is everything there that a server needs? Each line says so, or what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesip.cli.client import ask, pid_behind
from edgesip.cli.fail import FAILED, Fail
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
from edgesip.cli.output import printable, put, show_json
from edgesip.cli.run import load_profile


def doctor(
    profile: ProfileOption,
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

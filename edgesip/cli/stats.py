"""`edgesip stats` and `edgesip uptime`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, show_json, show_table
from edgesip.cli.paths import socket_of


def stats(
    which: Annotated[
        str, typer.Argument(metavar="[GROUP[:NAME]]", help="none for all of them", show_default=False)
    ] = "all",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Statistics, by Kamailio's names: all, those of a group, or one."""
    wanted = which if ":" in which or which == "all" else f"{which}:"
    result = ask(socket_of(state_dir, socket), "stats.get_statistics", wanted)
    if output is Output.json:
        show_json(result)
        return
    show_table(("Statistic", "Value"), [line.split(" = ", 1) for line in result])


def uptime(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Since when the server runs."""
    result = ask(socket_of(state_dir, socket), "core.uptime")
    if output is Output.json:
        show_json(result)
        return
    show_table(("Up for", "Since", "Now"), [(duration(result["uptime"]), result["up_since"], result["now"])])

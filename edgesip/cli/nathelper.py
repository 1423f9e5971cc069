"""`edgesip nathelper enable_ping`: pings switched off and on."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import say, show_json
from edgesip.cli.paths import socket_of

app = typer.Typer(help="Pings that keep phones reachable.", no_args_is_help=True, suggest_commands=False)


@app.callback()
def group() -> None:
    """Pings that keep phones reachable."""


@app.command("enable_ping")
def enable_ping(
    wanted: Annotated[str, typer.Argument(metavar="0|1", help="0: off, 1: on", show_default=False)],
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Pings off or on, until the server ends or somebody says otherwise."""
    result = ask(socket_of(state_dir, socket), "nathelper.enable_ping", wanted)
    if output is Output.json:
        show_json(result)
    else:
        say(str(result))

"""`edgesip rtp list|ports`: the media relay."""

from __future__ import annotations

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import show_json, show_table
from edgesip.cli.paths import socket_of

FIELDS = ("side", "media", "local", "remote", "state", "rank", "packets", "bytes", "carried_by", "because")

app = typer.Typer(help="The media relay.", no_args_is_help=True)


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Living media sessions, a line for each leg."""
    result = ask(socket_of(state_dir, socket), "rtp.list")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (session["call-id"], *(leg.get(field, "") for field in FIELDS))
        for session in result
        for leg in session["legs"]
    ]
    titles = ("Call-ID", *(field.capitalize().replace("_", " ") for field in FIELDS))
    show_table(titles, rows)


@app.command()
def ports(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """How many ports the relay has and uses."""
    result = ask(socket_of(state_dir, socket), "rtp.ports")
    if output is Output.json:
        show_json(result)
        return
    show_table([name.capitalize() for name in result], [list(result.values())])

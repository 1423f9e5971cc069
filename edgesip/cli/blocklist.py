"""`edgesip blocklist list|add|flush`: destinations that nothing is sent to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import say, show_json, show_table
from edgesip.cli.paths import socket_of

app = typer.Typer(
    help="Destinations that are known to be dead.", no_args_is_help=True, suggest_commands=False
)


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """The destinations that are left out now, and why."""
    result = ask(socket_of(state_dir, socket), "dst_blocklist.view")
    if output is Output.json:
        show_json(result)
        return
    rows = [(one["proto"], one["ip"], one["port"], one["expires"], one["reason"]) for one in result]
    show_table(("Transport", "Address", "Port", "Expires in", "Reason"), rows)


@app.command()
def add(
    ip: Annotated[str, typer.Argument(metavar="IP", show_default=False)],
    port: Annotated[str, typer.Argument(metavar="PORT", show_default=False)],
    transport: Annotated[str, typer.Argument(metavar="[PROTO]", help="udp, tcp or tls")] = "udp",
    seconds: Annotated[
        int, typer.Option("--for", metavar="SECONDS", min=0, help="0: until it is flushed")
    ] = 0,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Send nothing to a destination."""
    more = [seconds] if seconds else []
    _done(ask(socket_of(state_dir, socket), "dst_blocklist.add", ip, port, transport, *more), output)


@app.command()
def flush(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Forget every dead destination."""
    _done(ask(socket_of(state_dir, socket), "dst_blocklist.delete_all"), output)


def _done(result: Any, output: Output) -> None:
    if output is Output.json:
        show_json(result)
    else:
        say(str(result))

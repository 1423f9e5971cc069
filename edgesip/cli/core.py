"""`edgesip core sockets|tcp`: what is listened on, and who is connected."""

from __future__ import annotations

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, show_json, show_table
from edgesip.cli.paths import socket_of

app = typer.Typer(help="Listeners and connections.", no_args_is_help=True, suggest_commands=False)


@app.command()
def sockets(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """What is listened on, and what peers are told instead."""
    result = ask(socket_of(state_dir, socket), "core.sockets_list")
    if output is Output.json:
        show_json(result)
        return
    rows = [(one["proto"], one["address"], one["port"], one["advertise"]) for one in result]
    show_table(("Transport", "Address", "Port", "Advertised"), rows)


@app.command()
def tcp(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Every connection over TCP and TLS."""
    result = ask(socket_of(state_dir, socket), "core.tcp_list")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (
            one["id"],
            one["type"],
            end(one["src_ip"], one["src_port"]),
            end(one["dst_ip"], one["dst_port"]),
            one["opened_by"],
            one["state"],
            duration(one["timeout"]),
        )
        for one in result
    ]
    show_table(("Id", "Type", "Peer", "Ours", "Opened by", "State", "Idle for at most"), rows)


def end(host: str, port: int) -> str:
    """One end of a connection."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

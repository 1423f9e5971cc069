"""`edgesip tls list|certificates|reload`: TLS connections, and the certificates that they get."""

from __future__ import annotations

import typer

from edgesip.cli.client import ask
from edgesip.cli.core import end
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import say, show_json, show_table
from edgesip.cli.paths import socket_of

app = typer.Typer(help="TLS.", no_args_is_help=True, suggest_commands=False)


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Every TLS connection, and whom the other side proved to be."""
    result = ask(socket_of(state_dir, socket), "tls.list")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (
            one["id"],
            end(one["src_ip"], one["src_port"]),
            one["state"],
            one["version"],
            one["cipher"],
            one["server_name"],
            one["proven"],
        )
        for one in result
    ]
    show_table(("Id", "Peer", "State", "Version", "Cipher", "Asked for", "Proven"), rows)


@app.command()
def certificates(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """The certificates that new connections get, and until when they are good."""
    result = ask(socket_of(state_dir, socket), "tls.certificates")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (one["domain"] or "(all others)", ", ".join(one["names"]), one["until"], one["issuer"], one["file"])
        for one in result
    ]
    show_table(("For", "Names", "Good until", "Issuer", "File"), rows)


@app.command()
def reload(socket: SocketOption = None, state_dir: StateDirOption = None) -> None:
    """Read the certificates anew, without waiting for the next look at the files."""
    say(ask(socket_of(state_dir, socket), "tls.reload"))

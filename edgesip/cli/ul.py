"""`edgesip ul lookup|dump|rm|rm-contact`: who is registered, from where."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, say, show_json, show_table
from edgesip.cli.paths import socket_of

TABLE = "location"
NAT_FLAG = 1 << 6  # FLB_NATB of Kamailio's default configuration

app = typer.Typer(help="Registered contacts.", no_args_is_help=True)

AorArgument = Annotated[
    str, typer.Argument(metavar="AOR", help="a user: alice, or sip:alice@any.host", show_default=False)
]


@app.command()
def lookup(
    aor: AorArgument,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """The contacts of one user, with the public address each comes from."""
    _show(ask(socket_of(state_dir, socket), "ul.lookup", TABLE, aor), output)


@app.command()
def dump(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """The contacts of all users."""
    _show(ask(socket_of(state_dir, socket), "ul.dump"), output)


@app.command()
def rm(
    aor: AorArgument,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Remove all contacts of a user."""
    _done(ask(socket_of(state_dir, socket), "ul.rm", TABLE, aor), output)


@app.command("rm-contact")
def rm_contact(
    aor: AorArgument,
    contact: Annotated[
        str, typer.Argument(metavar="CONTACT", help="as `ul lookup` shows it", show_default=False)
    ],
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Remove one contact, written as `ul lookup` shows it."""
    _done(ask(socket_of(state_dir, socket), "ul.rm_contact", TABLE, aor, contact), output)


def _done(result: Any, output: Output) -> None:
    if output is Output.json:
        show_json(result)
    else:
        say(str(result))


def _show(result: Any, output: Output) -> None:
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (
            found["AoR"],
            contact["Address"],
            contact["Received"],
            _left(contact["Expires"]),
            contact["User-Agent"],
            contact["Socket"],
            "behind NAT" if contact["CFlags"] & NAT_FLAG else "public",
        )
        for found in (result if isinstance(result, list) else [result])
        for contact in found["Contacts"]
    ]
    show_table(("AoR", "Contact", "Received", "Expires in", "User-Agent", "Socket", "NAT"), rows)


def _left(expires: int | str) -> str:
    return duration(expires) if isinstance(expires, int) else expires

"""`edgesip ul show|online|lookup|dump|add|rm|rm-contact|flush`: who is registered, from where."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, say, show_json, show_table
from edgesip.cli.paths import socket_of

TABLE = "location"
NAT_FLAG = 1 << 6  # FLB_NATB of Kamailio's default configuration

app = typer.Typer(help="Registered contacts.", no_args_is_help=True, suggest_commands=False)

AorArgument = Annotated[
    str, typer.Argument(metavar="AOR", help="a user: alice, or sip:alice@any.host", show_default=False)
]


@app.command()
def show(
    aor: Annotated[
        str, typer.Argument(metavar="[AOR]", help="a user; all users without one", show_default=False)
    ] = "",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """The contacts of one user, or of all."""
    where = socket_of(state_dir, socket)
    _show(ask(where, "ul.lookup", TABLE, aor) if aor else ask(where, "ul.dump"), output)


@app.command()
def online(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """The users who are registered, and how many contacts each has."""
    found = _records(ask(socket_of(state_dir, socket), "ul.dump", "brief"))
    users = sorted((str(one["AoR"]), len(one["Contacts"])) for one in found)
    if output is Output.json:
        show_json([{"AoR": aor, "Contacts": contacts} for aor, contacts in users])
    else:
        show_table(("AoR", "Contacts"), users)


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
def add(
    aor: AorArgument,
    contact: Annotated[
        str, typer.Argument(metavar="CONTACT", help="a SIP URI: sip:alice@192.0.2.9", show_default=False)
    ],
    expires: Annotated[int, typer.Option(metavar="SECONDS", help="0 for ever")] = 0,
    q: Annotated[str, typer.Option(metavar="Q", help="0 to 1, the best first", show_default=False)] = "",
    path: Annotated[str, typer.Option(metavar="LIST", help="URIs on the way there", show_default=False)] = "",
    received: Annotated[
        str, typer.Option(metavar="URI", help="where it really is: sip:IP:PORT", show_default=False)
    ] = "",
    send_from: Annotated[
        str, typer.Option("--from", metavar="SOCKET", help="our end: udp:IP:PORT", show_default=False)
    ] = "",
    flags: Annotated[int, typer.Option(metavar="BITS", help="kept for scripts")] = 0,
    cflags: Annotated[int, typer.Option(metavar="BITS", help="the same; 64: it is behind NAT")] = 0,
    methods: Annotated[int, typer.Option(metavar="BITS", help="what it can do; 0 for everything")] = 0,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Add a contact that does not register: a gateway, a phone with a fixed address."""
    words = [str(expires), q or ".", path or ".", str(flags), str(cflags), str(methods)]
    words += [received or ".", send_from or "."]
    _done(ask(socket_of(state_dir, socket), "ul.add", TABLE, aor, contact, *words), output)


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


@app.command()
def flush(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Write changes to the store now that would be written later (`usrloc.db_mode` 2)."""
    _done(ask(socket_of(state_dir, socket), "ul.flush"), output)


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
            _pings(contact),
            contact["User-Agent"],
            contact["Socket"],
            "behind NAT" if contact["CFlags"] & NAT_FLAG else "public",
        )
        for found in _records(result)
        for contact in (one["Contact"] for one in found["Contacts"])
    ]
    show_table(
        ("AoR", "Contact", "Received", "Expires in", "Ping every", "User-Agent", "Socket", "NAT"), rows
    )


def _records(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The addresses of record in an answer: of `ul.dump` all in its tree, of `ul.lookup` the one."""
    if "Domains" not in result:
        return [result]
    return [one["Info"] for domain in result["Domains"] for one in domain["Domain"]["AoRs"]]


def _pings(contact: dict[str, Any]) -> str:
    """How often it is pinged, and in how many milliseconds it answered the last time."""
    every, roundtrip = contact.get("KA-Interval", 0), contact.get("KA-Roundtrip", 0)
    if not every:
        return "-"
    return f"{every:g} s" + (f", {roundtrip / 1000:.0f} ms" if roundtrip else ", no answer")


def _left(expires: int | str) -> str:
    return duration(expires) if isinstance(expires, int) else expires

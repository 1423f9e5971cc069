"""`edgesip dns lookup|list|flush`: what DNS says, and what of it is remembered."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgesip.cli.client import ask
from edgesip.cli.fail import FAILED, NOT_FOUND, Fail
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import say, show_json, show_table
from edgesip.cli.paths import socket_of

app = typer.Typer(help="What DNS says of names.", no_args_is_help=True, suggest_commands=False)


@app.command()
def lookup(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="a host, HOST:PORT or a SIP URI", show_default=False),
    ],
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Where a call to a name would be sent, in the order of trying."""
    result = ask(socket_of(state_dir, socket), "dns.lookup", name)
    if output is Output.json:
        show_json(result)
    elif result["hops"]:
        rows = [
            (one["proto"], one["ip"], one["port"], one["blocked"] or "is tried") for one in result["hops"]
        ]
        show_table(("Transport", "Address", "Port", "State"), rows)
    if result["failed"]:
        say("not all of DNS answered")
    if not result["hops"]:
        why = f"DNS did not answer for {name}" if result["failed"] else f"nothing leads to {name}"
        raise Fail(FAILED if result["failed"] else NOT_FOUND, why)


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """The answers that are remembered."""
    result = ask(socket_of(state_dir, socket), "dns.list")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (entry["name"], entry["type"], entry["expires"], told)
        for entry in result
        for told in ([_told(one) for one in entry["records"]] or [_nothing(entry)])
    ]
    show_table(("Name", "Type", "Expires in", "Record"), rows)


@app.command()
def flush(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Forget every answer, and ask again."""
    result = ask(socket_of(state_dir, socket), "dns.delete_all")
    if output is Output.json:
        show_json(result)
    else:
        say(str(result))


def _told(record: dict[str, Any]) -> str:
    """A record as a zone file has it."""
    return " ".join(str(value) or '""' for value in _ordered(record))


def _ordered(record: dict[str, Any]) -> list[Any]:
    if "rr_weight" in record:
        return [record[f"rr_{name}"] for name in ("priority", "weight", "port", "name")]
    return list(record.values())


def _nothing(entry: dict[str, Any]) -> str:
    return "(no answer came)" if entry["failed"] else "(does not exist)"

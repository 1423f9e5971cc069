"""`edgesip ban list|add|rm|why`: who is not heard, and why."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, say, show_json, show_table
from edgesip.cli.paths import socket_of

app = typer.Typer(
    help="Sources that are not heard for a while.", no_args_is_help=True, suggest_commands=False
)

AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", show_default=False)]
UserOption = Annotated[str, typer.Option("--user", metavar="USER", help="only this user at the address")]


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Everybody who is banned now."""
    result = ask(socket_of(state_dir, socket), "ban.list")
    if output is Output.json:
        show_json(result)
    else:
        _show(result)


@app.command()
def add(
    address: AddressArgument,
    seconds: Annotated[int, typer.Option("--for", metavar="SECONDS", min=0, help="0: ban.autoexpire")] = 0,
    user: UserOption = "",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Do not hear an address any more: its registered phones neither."""
    place = socket_of(state_dir, socket)
    if user and not seconds:
        seconds = 300
    more = [seconds, user] if user else [seconds] if seconds else []
    result = ask(place, "ban.add", address, *more)
    if output is Output.json:
        show_json(result)
    else:
        say(f"{result['source']} is banned for {result['expires']} s")


@app.command()
def rm(
    address: Annotated[str, typer.Argument(metavar="ADDRESS|all", show_default=False)],
    user: UserOption = "",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Lift the bans of an address, or all; what was counted against it is forgotten."""
    result = ask(socket_of(state_dir, socket), "ban.rm", address, *([user] if user else []))
    if output is Output.json:
        show_json(result)
    else:
        say(str(result))


@app.command()
def why(
    address: AddressArgument,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """What was counted against an address: when, what, in whose name, in which message."""
    result = ask(socket_of(state_dir, socket), "ban.why", address)
    if output is Output.json:
        show_json(result)
        return
    say(
        f"{result['source']}: {result['points']} points in this window,"
        f" banned {result['banned_before']} times before"
    )
    if result["bans"]:
        _show(result["bans"])
    rows = [
        (_clock(one["time"]), one["what"], one["user"], one["from"], one["call-id"]) for one in result["seen"]
    ]
    show_table(("Time", "What", "User", "From", "Call-ID"), rows)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _show(bans: list[dict[str, Any]]) -> None:
    rows = [
        (one["source"], one["user"], one["why"], duration(one["expires"]), one["times"], one["dropped"])
        for one in bans
    ]
    show_table(("Source", "User", "Why", "Left", "Times", "Dropped"), rows)

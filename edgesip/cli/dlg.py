"""`edgesip dlg list|briefing|subscriptions`: calls, and who is told of whom."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, show_json, show_table
from edgesip.cli.paths import socket_of

STATES = {1: "calling", 2: "ringing", 3: "answered", 4: "talking", 5: "ended"}

app = typer.Typer(help="Calls and subscriptions.", no_args_is_help=True, suggest_commands=False)


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """All calls, the ended ones that are still remembered included."""
    result = ask(socket_of(state_dir, socket), "dlg.list")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (
            one["call-id"],
            one["from_uri"],
            one["to_uri"],
            f"{one['state']} {STATES.get(one['state'], '')}",
            duration(one["duration"]),
            one["ended_by"],
        )
        for one in result
    ]
    show_table(("Call-ID", "From", "To", "State", "Talked", "Ended by"), rows)


@app.command()
def briefing(
    letters: Annotated[
        str,
        typer.Argument(
            metavar="LETTERS", help="f t URIs, c Call-ID, F T tags, I S E init, start and end time, s state"
        ),
    ] = "ftcFT",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """All calls in a few fields each."""
    result = ask(socket_of(state_dir, socket), "dlg.briefing", f"{letters}")
    if output is Output.json:
        show_json(result)
        return
    columns = list(result[0]) if result else ["h_entry", "h_id"]
    show_table(columns, [[one[column] for column in columns] for one in result])


@app.command()
def subscriptions(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Dialogs that a SUBSCRIBE or REFER opened: presence, lamps, waiting messages, transfers."""
    result = ask(socket_of(state_dir, socket), "dlg.subscriptions")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (
            one["call-id"],
            f"{one['method']} {one['event']}".strip(),
            one["from_uri"],
            one["ruri"],
            ", ".join(end["address"] for end in one["notifiers"]) or "no answer yet",
            duration(one["expires"]),
        )
        for one in result
    ]
    show_table(("Call-ID", "Event", "From", "For", "Notified from", "Left"), rows)

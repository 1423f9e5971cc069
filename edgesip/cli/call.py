"""`edgesip call why`: what is wrong with the audio of a call."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import printable, put, show_json
from edgesip.cli.paths import socket_of

app = typer.Typer(help="Calls, living or just ended.", no_args_is_help=True, suggest_commands=False)


@app.callback()
def _calls() -> None:
    """Keeps `why` a verb of its own."""


@app.command()
def why(
    call_id: Annotated[
        str, typer.Argument(metavar="CALL-ID", help="a call by its Call-ID, or the beginning of it")
    ],
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Why there is no audio: a verdict for each side, and what to do; for calls that ended as well."""
    result = ask(socket_of(state_dir, socket), "call.why", call_id)
    if output is Output.json:
        show_json(result)
        return
    put("\n".join(_shown(one) for one in result))


def _shown(call: dict[str, Any]) -> str:
    """One call as a few lines."""
    when = [f"began {_time(call['created'])}"]
    when += [f"answered {_time(call['answered'])}"] if call["answered"] else []
    when += [f"ended {_time(call['ended'])}"] if call["ended"] else [call["state"]]
    lines = [f"{call['call-id']}: {', '.join(when)}"]
    if call["note"]:
        lines.append(f"  {call['note']}")
    for leg in call["legs"]:
        lines.append(f"  {leg['side']} {leg['media']}: {leg['text']}")
        lines += [f"    -> {leg['do']}"] if leg["do"] else []
        for one in leg["also"]:
            lines.append(f"    also: {one['text']}")
            lines += [f"      -> {one['do']}"] if one["do"] else []
    return "".join(f"{printable(line)}\n" for line in lines)


def _time(at: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))

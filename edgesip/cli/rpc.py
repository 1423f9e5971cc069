"""`edgesip rpc METHOD [ARG...]`: any method of the server, by its name."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, SocketOption, StateDirOption
from edgesip.cli.output import printable, put, show_json
from edgesip.cli.paths import socket_of


def rpc(
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="its name, from --list", show_default=False)
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARG...", help="a number is an integer; i:5 and s:5 say which", show_default=False
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="names of all methods")] = False,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: Annotated[Output | None, typer.Option("-o", "--output", help="json for programs")] = None,
) -> None:
    """Call a method of the server and print its result."""
    if list_ == (method is not None):
        raise typer.BadParameter("give a METHOD, or --list alone")
    params = [_typed(argument) for argument in arguments or []]
    result = ask(socket_of(state_dir, socket), method or "system.listMethods", *params)
    if list_ and output is not Output.json:
        put("".join(f"{printable(name)}\n" for name in result))
    else:
        show_json(result)


def _typed(argument: str) -> int | str:
    """An argument as its type: `i:` and `s:` say it, else what is written like an integer is one."""
    prefix, value = argument[:2], argument[2:]
    if prefix == "s:":
        return value
    if prefix == "i:":
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value, re.ASCII):
            raise typer.BadParameter(f"{argument}: i: wants an integer")
        return int(value)
    # 0049... and +49... are phone numbers, not integers
    return int(argument) if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", argument, re.ASCII) else argument

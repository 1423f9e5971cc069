"""The options that many verbs share, as types of their parameters."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """What `-o` takes."""

    table = "table"
    json = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="table for people, json for programs")]
# readable=False: whoever may not read a path is told by the verb, which knows what was wanted of it
SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", metavar="PATH", help="control socket (STATE_DIR/edgesip.sock)", readable=False),
]
StateDirOption = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="state directory", readable=False)
]
ProfileOption = Annotated[
    str, typer.Option("--profile", metavar="NAME|FILE", help="a profile by name, or a TOML file")
]
ListenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--listen", metavar="TRANSPORT:ADDR:PORT", help="instead of the profile's list; may be repeated"
    ),
]
AdvertiseOption = Annotated[
    list[str] | None,
    typer.Option("--advertise", metavar="ADDR[:PORT]", help="the address others reach this host by, or auto"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="[SECTION.]KEY=VALUE", help="a key of the profile; may be repeated"),
]

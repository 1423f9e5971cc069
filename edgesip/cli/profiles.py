"""`edgesip profiles list|show`: what `--profile NAME` can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesip.cli.fail import FAILED, NOT_FOUND, Fail
from edgesip.cli.options import Output, OutputOption
from edgesip.cli.output import put, show_json, show_table
from edgesip.places import ConfigError

app = typer.Typer(help="Profiles that can be run.", no_args_is_help=True, suggest_commands=False)


@app.command("list")
def list_(output: OutputOption = Output.table) -> None:
    """All profiles, with what each is for."""
    from edgesip.profile import available

    found = [(name, _about(file), str(file)) for name, file in available().items()]
    if output is Output.json:
        show_json([{"name": name, "about": about, "file": file} for name, about, file in found])
    else:
        show_table(("Name", "About", "File"), found)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="a profile by name, or a TOML file", show_default=False)
    ],
) -> None:
    """The text of a profile, to read or to start a new one from."""
    from edgesip.profile import find

    try:
        put(find(name).read_text("utf-8"))
    except ConfigError as error:
        raise Fail(NOT_FOUND, str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Fail(FAILED, f"{name}: cannot be read: {error}") from None


def _about(file: Path) -> str:
    """The first line of a profile's comment."""
    try:
        first = file.read_text("utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""

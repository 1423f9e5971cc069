"""`edgesip prompt make|list|play|stop`: music and announcements for calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from edgesip.cli.client import ask
from edgesip.cli.fail import FAILED, USAGE, Fail
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import say, show_json, show_table
from edgesip.cli.paths import made_state_dir, socket_of, state_dir_of

LARGEST = 512 * 1024 * 1024

CallArgument = Annotated[str, typer.Argument(metavar="CALL-ID", show_default=False)]
ToOption = Annotated[str, typer.Option("--to", metavar="SIDE", help="caller, callee or both")]

app = typer.Typer(help="Music and announcements for calls.", no_args_is_help=True, suggest_commands=False)


@app.command()
def make(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, readable=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="where to (STATE_DIR/prompts)", readable=False)
    ] = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Make a prompt of a WAV file: any rate, any number of channels.

    It becomes NAME.0 (PCMU), NAME.8 (PCMA), and .9 (G.722) and .3 (GSM) where their encoders are installed. A
    server takes it up at once, in place of one that was there.
    """
    from edgesip.forms_rtp import is_prompt_name

    if not is_prompt_name(name):
        raise Fail(USAGE, f"{name!r} is no name for a prompt: letters, digits, dots, dashes, underscores")
    where = directory.absolute() if directory is not None else state_dir_of(state_dir) / "prompts"
    from edgesip.relay.prompt import CODECS
    from edgesip.relay.sound import SoundError, read_wav, tracks_of

    try:
        if file.stat().st_size > LARGEST:
            raise Fail(FAILED, f"{file}: more than {LARGEST >> 20} MiB")
        sound = read_wav(file.read_bytes())
    except SoundError as error:
        raise Fail(FAILED, f"{file}: {error}") from None
    except OSError as error:
        raise Fail(FAILED, f"{file}: {error.strerror}") from None
    if directory is None:
        made_state_dir(where.parent)
    tracks = tracks_of(sound)
    written = []
    try:
        where.mkdir(mode=0o755, exist_ok=True)
        for code in CODECS:
            target = where / f"{name}.{code}"
            if code in tracks:
                _write(target, tracks[code])
                written.append(CODECS[code].name)
            else:  # what was there is of another recording
                target.unlink(missing_ok=True)
    except OSError as error:
        raise Fail(FAILED, f"{where}: {error.strerror}") from None
    seconds = round(len(sound.samples) / sound.rate, 1)
    if output is Output.json:
        show_json({"name": name, "directory": str(where), "codecs": written, "seconds": seconds})
    else:
        say(f"{name}: {seconds} seconds in {', '.join(written)}, in {where}")


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """The prompts that a running server can play."""
    result = ask(socket_of(state_dir, socket), "rtp.prompts")
    if output is Output.json:
        show_json(result)
        return
    rows = [(one["name"], one["seconds"], " ".join(one["codecs"]), one["directory"]) for one in result]
    show_table(("Name", "Seconds", "Codecs", "Directory"), rows)


@app.command()
def play(
    call_id: CallArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    to: ToOption = "both",
    count: Annotated[
        int, typer.Option("--count", metavar="N", help="how many times; -1: until it is stopped")
    ] = 1,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Play a prompt into a call, in place of what the other side says meanwhile."""
    _done(ask(socket_of(state_dir, socket), "rtp.play", call_id, name, to, count), output)


@app.command()
def stop(
    call_id: CallArgument,
    to: ToOption = "both",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """End what plays into a call; the call goes on."""
    _done(ask(socket_of(state_dir, socket), "rtp.stop", call_id, to), output)


def _write(target: Path, track: bytes) -> None:
    """The whole file or the old one: a server may be reading it."""
    beside = target.with_name(f".{target.name}.new")
    beside.write_bytes(track)
    os.replace(beside, target)


def _done(result: Any, output: Output) -> None:
    if output is Output.json:
        show_json(result)
    else:
        say(str(result))

"""`edgesip rtp list|show|destroy|block|unblock|play|stop|stats|ports|enable|disable`: the media relay."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgesip.cli import prompt
from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, say, show_json, show_table
from edgesip.cli.paths import socket_of

FIELDS = ("side", "media", "local", "remote", "state", "rank", "packets", "bytes", "carried_by", "because")
ENDS = {
    "rejected": "never answered",
    "terminated": "with its call",
    "timeout": "without media for too long",
    "silent_timeout": "on hold for too long",
    "final_timeout": "at the longest time",
    "force_terminated": "by an operator",
}
"""What ended a session, in words."""

_FIRST = ("Side", "Media", "Codec", "SSRC", "Lost", "Late", "Twice")
QUALITY = (*_FIRST, "Jitter", "Trip", "MOS", "Lowest", "Keys")

app = typer.Typer(help="The media relay.", no_args_is_help=True, suggest_commands=False)
app.command()(prompt.play)
app.command()(prompt.stop)

CallArgument = Annotated[str, typer.Argument(metavar="CALL-ID", show_default=False)]
SideArgument = Annotated[str, typer.Argument(metavar="caller|callee|both")]
UrlArgument = Annotated[str, typer.Argument(metavar="URL|all", help="as `rtp interfaces` shows it")]


@app.command("list")
def list_(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """Living media sessions, a line for each leg."""
    result = ask(socket_of(state_dir, socket), "rtp.list")
    if output is Output.json:
        show_json(result)
        return
    rows = [
        (session["call-id"], *(leg.get(field, "") for field in FIELDS))
        for session in result
        for leg in session["legs"]
    ]
    titles = ("Call-ID", *(field.capitalize().replace("_", " ") for field in FIELDS))
    show_table(titles, rows)


@app.command()
def show(
    call_id: CallArgument,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Everything about a call's media, up to 30 seconds after its end too."""
    result = ask(socket_of(state_dir, socket), "rtp.show", call_id)
    if output is Output.json:
        show_json(result)
        return
    for session in result:
        say(_headline(session))
        rows = [_leg(leg) for leg in session["legs"]]
        titles = ("Side", "Media", "Says", "Is told", "Sent to", "State", "Rank", "Packets", "Heard")
        show_table((*titles, "Dropped", "Direction", "Carried by", "Because"), rows)
        if heard := [leg for leg in session["legs"] if leg["quality"]]:
            show_table(QUALITY, [_quality(leg, leg["quality"]) for leg in heard])


@app.command()
def destroy(
    call_id: CallArgument,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """End the media of a call; its signalling goes on, and a new offer gets new ports."""
    _done(ask(socket_of(state_dir, socket), "rtp.destroy", call_id), output)


@app.command()
def block(
    call_id: CallArgument,
    side: SideArgument = "both",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Drop what one side of a call sends, or what both send, until `unblock`."""
    _done(ask(socket_of(state_dir, socket), "rtp.block", call_id, side), output)


@app.command()
def unblock(
    call_id: CallArgument,
    side: SideArgument = "both",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Let it through again."""
    _done(ask(socket_of(state_dir, socket), "rtp.unblock", call_id, side), output)


@app.command()
def stats(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """What the relay has counted since the start."""
    result = ask(socket_of(state_dir, socket), "rtp.stats")
    if output is Output.json:
        show_json(result)
        return
    rows: list[tuple[str, object]] = []
    for name, value in result.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{name} {part}".strip().replace("_", " "), _number(number)) for part, number in parts]
    show_table(("What", "Number"), rows)


@app.command()
def ports(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """How many ports the relay has and uses."""
    result = ask(socket_of(state_dir, socket), "rtp.ports")
    if output is Output.json:
        show_json(result)
        return
    show_table([name.capitalize() for name in result], [list(result.values())])


@app.command()
def interfaces(
    socket: SocketOption = None, state_dir: StateDirOption = None, output: OutputOption = Output.table
) -> None:
    """What calls get their media ports on, and whether it takes new calls."""
    result = ask(socket_of(state_dir, socket), "rtpproxy.list")
    if output is Output.json:
        show_json(result)
        return
    rows = [(one["url"], "drained: no new calls" if one["disabled"] else "takes calls") for one in result]
    show_table(("URL", "State"), rows)


@app.command()
def enable(
    url: UrlArgument = "all",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Take new calls again."""
    _done(ask(socket_of(state_dir, socket), "rtpproxy.enable", url, "1"), output)


@app.command()
def disable(
    url: UrlArgument = "all",
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Refuse new calls with 503 and let the running ones end by themselves."""
    _done(ask(socket_of(state_dir, socket), "rtpproxy.enable", url, "0"), output)


def _headline(session: dict[str, Any]) -> str:
    """What there is to say of the whole session, in a sentence."""
    words = [session["call-id"]]
    if session["state"] == "ended":
        ended, lasted = duration(session["ended"]), duration(session["duration"])
        words.append(f"ended {ended} ago {ENDS[session['ended_by']]}, lasted {lasted}")
    elif session["state"] == "answered":
        words.append(f"answered {duration(session['duration'])} ago" + (", on hold" * session["on_hold"]))
        words.append(f"ends in {session['timeout_in']} s without media")
    else:
        words.append(f"offered {duration(session['age'])} ago, not answered")
    if session["branches"] > 1:
        words.append(f"{session['branches']} branches")
    if session["blocked"]:
        words.append(f"blocked: {' and '.join(session['blocked'])}")
    return ", ".join(words)


def _leg(leg: dict[str, Any]) -> tuple[object, ...]:
    heard = f"{leg['heard']} s ago" if leg["heard"] >= 0 else "never"
    dropped = leg["src_mismatch"] + leg["invalid"] + leg["withheld"]
    return (
        *(leg[field] for field in ("side", "media", "said", "told", "remote", "state", "rank", "packets")),
        heard,
        f"{dropped}, {leg['src_mismatch']} of strangers" if leg["src_mismatch"] else dropped,
        leg["direction"],
        leg["carried_by"],
        leg["because"],
    )


def _quality(leg: dict[str, Any], how: dict[str, Any]) -> tuple[object, ...]:
    trip = "-" if how["rtt"] is None else f"{how['rtt']:g} ms"
    lowest = "-" if how["mos_lowest"] is None else how["mos_lowest"]
    lost = f"{how['lost']} ({how['loss']:g} %)" if how["lost"] else 0
    numbers = (lost, how["reordered"], how["duplicates"], f"{how['jitter']:g} ms", trip, how["mos"], lowest)
    return (leg["side"], leg["media"], how["codec"], how["ssrc"], *numbers, how["dtmf"])


def _number(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _done(result: Any, output: Output) -> None:
    if output is Output.json:
        show_json(result)
    else:
        say(str(result))

"""`edgesip route test`: what the route script of a profile would do with a message, step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgesip.cli.fail import BAD_CONFIG, FAILED, Fail
from edgesip.cli.options import (
    AdvertiseOption,
    ListenOption,
    Output,
    OutputOption,
    ProfileOption,
    SetOption,
    StateDirOption,
)
from edgesip.cli.output import printable, put, show_json
from edgesip.cli.run import load_profile
from edgesip.places import ConfigError

if TYPE_CHECKING:
    from edgesip.dryrun import Rehearsal
    from edgesip.signal.wire.message import Request, Response
    from edgesip.testing import Sent

app = typer.Typer(help="Route scripts.", no_args_is_help=True, suggest_commands=False)


@app.command("test")
def dry_run(
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="a file with one SIP request; - reads stdin")
    ],
    profile: ProfileOption,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="TRANSPORT:ADDR:PORT", help="where it came from; else what its Via says"
        ),
    ] = None,
    as_: Annotated[
        str, typer.Option("--as", metavar="USER", help="go on as if this user's password had been right")
    ] = "",
    binding: Annotated[
        list[str] | None,
        typer.Option(
            "--binding",
            metavar="USER=URI[;received=ADDR:PORT]",
            help="a phone that is registered, besides those in the state directory; may be repeated",
        ),
    ] = None,
    listen: ListenOption = None,
    advertise: AdvertiseOption = None,
    set_: SetOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Run a message through a route script: what it asks, decides, and what would leave. Sends nothing."""
    from edgesip.dryrun import DryRun
    from edgesip.signal.wire.grammar import ParseError
    from edgesip.store.api import StoreError
    from edgesip.testing import NotAsked

    octets = _octets(message)
    loaded = load_profile(profile, listen, advertise, set_, state_dir, None)
    try:
        found = DryRun(loaded, as_, binding or []).run(octets, source or _source(octets))
    except ConfigError as error:
        raise Fail(BAD_CONFIG, str(error)) from None
    except ParseError as error:
        raise Fail(
            FAILED, f"{message}: {_wrong(error.reason, octets)}; answered with {error.status}"
        ) from None
    except NotAsked as asked:
        _show_unasked(str(asked), asked.sent, output)
    except (StoreError, ValueError) as error:
        raise Fail(FAILED, str(error)) from None
    else:
        _show(found, output)


def _octets(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Fail(FAILED, f"{name}: cannot be read: {error.strerror}") from None


def _source(octets: bytes) -> str:
    """Where the top Via says that the message came from; ParseError for what is no message."""
    from edgesip.address import bracketed, is_ip
    from edgesip.signal.wire.message import parse

    via = parse(octets).headers.via
    host = via.received or via.host
    if not is_ip(host):
        raise ValueError(f"its Via names {host}, which is no IP address: say by --source where it came from")
    return f"{via.transport.lower()}:{bracketed(host)}:{via.rport or via.port or 5060}"


def _wrong(reason: str, octets: bytes) -> str:
    if "Content-Length" not in reason:
        return reason
    blank = b"\r\n\r\n" if b"\r\n\r\n" in octets else b"\n\n"
    return f"{reason}: {len(octets.partition(blank)[2])} octets follow the header"


def _show(found: Rehearsal, output: Output) -> None:
    from edgesip.dryrun import told

    outcome = found.outcome
    assert outcome is not None
    assert found.decision is not None
    if output is Output.json:
        show_json(
            {
                "script": found.script,
                "hook": found.hook,
                "steps": [{"asked": step.asked, "answer": step.answer} for step in found.steps],
                "fault": found.fault,
                "decision": told(found.decision),
                "wanted": list(found.wanted),
                "sent": [_as_json(one) for one in outcome.sent],
                "remarks": found.remarks,
            }
        )
        return
    lines = [f"{found.script}: {found.hook}(call)"]
    lines += [f"  {step.asked}" + (f" -> {step.answer}" if step.answer else "") for step in found.steps]
    if found.fault:
        lines.append(f"the script raised {found.fault}")
    lines.append(f"decision: {told(found.decision)}")
    lines += [f"wanted: {one}" for one in found.wanted]
    lines += [f"note: {one}" for one in found.remarks]
    put("".join(f"{printable(line)}\n" for line in [*lines, *_messages(outcome.sent)]))


def _show_unasked(why: str, sent: tuple[Sent, ...], output: Output) -> None:
    if output is Output.json:
        show_json({"script": None, "why": why, "sent": [_as_json(one) for one in sent]})
        return
    put("".join(f"{printable(line)}\n" for line in [why, *_messages(sent)]))


def _messages(sent: tuple[Sent, ...]) -> list[str]:
    lines = [] if sent else ["nothing would leave"]
    for flow, message in sent:
        lines += [f"would leave by {flow.transport}:{flow.local} to {flow.remote}:", ""]
        lines += [f"    {line}" for line in _text(message).splitlines()]
        lines.append("")
    return lines


def _as_json(sent: Sent) -> dict[str, Any]:
    flow = sent.flow
    return {
        "transport": flow.transport,
        "from": str(flow.local),
        "to": str(flow.remote),
        "message": _text(sent.message),
    }


def _text(message: Request | Response) -> str:
    return bytes(message).decode("utf-8", "surrogateescape")

"""`edgesip rtp record`: a call's sound, or its packets, in a file."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import duration, say, show_json, show_table
from edgesip.cli.paths import socket_of


def record(
    call_id: Annotated[str, typer.Argument(metavar="[CALLID]", show_default=False)] = "",
    pcap: Annotated[
        bool, typer.Option("--pcap", help="every packet, for Wireshark, in place of the sound")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="record it no longer")] = False,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Record a call from now on, the caller left, the callee right; without CALLID, what is recorded now."""
    if (pcap or stop) and not call_id:
        raise typer.BadParameter("say which call: CALLID")
    if pcap and stop:
        raise typer.BadParameter("--pcap begins a recording, --stop ends it")
    words = [call_id, "stop" if stop else "pcap" if pcap else "wav"] if call_id else []
    result = ask(socket_of(state_dir, socket), "rtp.record", *words)
    if output is Output.json:
        show_json(result)
    elif call_id:
        for one in result:
            say(f"{'recorded' if stop else 'recording to'} {one['file']}")
    else:
        rows = [
            (one["call-id"], one["format"], duration(one["seconds"]), one["octets"], one["lost"], one["file"])
            for one in result
        ]
        show_table(("Call-ID", "Format", "For", "Bytes", "Lost", "File"), rows)

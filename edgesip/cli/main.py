"""`edgesip`: the verbs, and what becomes of their failures.

Every verb is one small file. This one imports them, and they import nothing that is slow before they need
it: an answer to `edgesip ul lookup alice` costs the start of Python and Typer, and little more.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import edgesip
from edgesip.cli import (
    background,
    ban,
    blocklist,
    call,
    core,
    dlg,
    dns,
    doctor,
    nathelper,
    profiles,
    prompt,
    record,
    reload,
    route,
    rpc,
    rtp,
    run,
    stats,
    subscriber,
    tls,
    trace,
    ul,
)
from edgesip.cli.fail import FAILED, Fail
from edgesip.cli.output import drain, put, say

app = typer.Typer(
    suggest_commands=False,  # click does so by itself since 8.4
    name="edgesip",
    help="A SIP registrar, proxy and NAT edge with an RTP relay, in one process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run.run)
app.command()(background.start)
app.command()(background.stop)
app.command()(background.restart)
app.command()(background.status)
app.command()(reload.reload)
app.command()(run.check)
app.command()(doctor.doctor)
app.add_typer(profiles.app, name="profiles")
app.add_typer(route.app, name="route")
app.add_typer(subscriber.app, name="subscriber")
app.add_typer(ul.app, name="ul")
app.add_typer(dlg.app, name="dlg")
rtp.app.command()(record.record)
app.add_typer(call.app, name="call")
app.add_typer(rtp.app, name="rtp")
app.add_typer(prompt.app, name="prompt")
app.add_typer(core.app, name="core")
app.add_typer(tls.app, name="tls")
app.add_typer(dns.app, name="dns")
app.add_typer(blocklist.app, name="blocklist")
app.add_typer(ban.app, name="ban")
app.add_typer(nathelper.app, name="nathelper")
app.command()(trace.trace)
app.command()(stats.stats)
app.command()(stats.uptime)
app.command()(rpc.rpc)


def _version(wanted: bool) -> None:
    if wanted:
        put(f"edgesip {edgesip.__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: exit codes 0 done, 1 failed, 2 usage, 3 not found, 4 no server, 78 configuration."""
    if sys.stderr is None:  # closed by the caller: print would fall back to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Fail as fail:
        say(f"edgesip: {fail.message}")
        sys.exit(fail.code)
    except (
        OSError
    ) as error:  # a verb knows the failures that happen to people; the others are told as they are
        say(f"edgesip: {error}")
        sys.exit(FAILED)
    finally:
        drain()


if __name__ == "__main__":
    main()

"""`edgesip reload`: the route script and the profile as they are now, in the server that runs."""

from __future__ import annotations

from edgesip.cli.client import ask
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import say, show_json
from edgesip.cli.paths import socket_of


def reload(
    state_dir: StateDirOption = None, socket: SocketOption = None, output: OutputOption = Output.table
) -> None:
    """Read route script and profile anew; on any error the old ones go on and the error is told."""
    result = ask(socket_of(state_dir, socket), "app_python.reload")
    if output is Output.json:
        show_json(result)
        return
    say(f"{result['route']}: taken up")
    if result["changed"]:
        say(f"changed: {', '.join(result['changed'])}")
    if result["restart"]:
        say(f"takes a restart: {', '.join(result['restart'])}")

"""nathelper's method: pings switched off and on while the server runs."""

from __future__ import annotations

from typing import Any

from edgesip.control.rpc import Method, RpcFault
from edgesip.signal.net.service import SignalService

_WORDS = {"0": False, "1": True, "off": False, "on": True}


def methods_for(service: SignalService) -> list[Method]:
    """The one method over a service."""

    def enable_ping(params: list[Any]) -> str:
        """Kamailio's answers: 500 without an argument, and where there is nothing to switch."""
        if not params:
            raise RpcFault(500, "nathelper.enable_ping 0|1")
        wanted = _WORDS.get(str(int(params[0]) if isinstance(params[0], bool) else params[0]).lower())
        if wanted is None:
            raise RpcFault(500, f"nathelper.enable_ping 0|1, not {params[0]!r}")
        pinger = service.core.pinger
        if pinger.settings.interval <= 0:
            raise RpcFault(500, "NATping disabled: nathelper.natping_interval is 0")
        pinger.switch(wanted)
        service.step([])
        return "pings are on" if wanted else "pings are off"

    help_ = "nathelper.enable_ping 0|1: pings off or on until the server ends or somebody says otherwise."
    return [Method("nathelper.enable_ping", enable_ping, help_)]

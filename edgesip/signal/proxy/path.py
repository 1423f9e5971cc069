"""Path (RFC 3327): the Path entries that we write into a REGISTER on its way to its registrar.

What has to be known of the sender is given; our own address depends on where the copy leaves. The Path that a
binding was stored with is the locator's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesip.address import Flow, bracketed
from edgesip.signal.nat.repair import alias_value
from edgesip.signal.proxy.forward import record_routes
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.wire.headers import Headers


@dataclass(frozen=True, slots=True)
class PathSettings:
    """The `[path]` section."""

    received_format: int = 0
    received_name: str = "received"
    enable_r2: bool = True


@dataclass(frozen=True, slots=True)
class PathEntry:
    """One `add_path`: `user` and `tail` of its URI; `address` instead of ours; `double`: two of them where
    the sender and the next hop see different addresses of ours.
    """

    user: str
    tail: str
    address: str = ""
    double: bool = True

    def apply(self, headers: Headers, inbound: Flow, outbound: Flow, myself: Myself) -> Headers:
        """The headers with it, before any other Path."""
        if self.address:
            transport = "" if inbound.transport == "udp" else f";transport={inbound.transport}"
            entries = [f"<sip:{self.address}{transport}{self.tail}>"]
        else:
            entries = record_routes(inbound, outbound if self.double else inbound, myself, self.tail)
        named = [entry.replace(":", f":{self.user}@", 1) for entry in entries] if self.user else entries
        fields = list(headers.fields)
        at = next((place for place, field in enumerate(fields) if field[0] == "Path"), len(fields))
        fields[at:at] = [("Path", entry) for entry in reversed(named)]
        return headers.altered(fields)


def led(headers: Headers, routes: Sequence[str]) -> Headers:
    """The headers with the Route that leads to a binding behind other proxies, before any other."""
    if not routes:
        return headers
    return headers.altered([*(("Route", one) for one in routes), *headers.fields], "routes")


def received_param(settings: PathSettings, source: Flow) -> str:
    """`;received=` with the address that a packet came from, in the form that is wanted."""
    if settings.received_format:
        value = alias_value(source.remote, source.transport)
    else:
        value = f"sip:{bracketed(source.remote.host)}:{source.remote.port}"
        value += "" if source.transport == "udp" else f"%3Btransport%3D{source.transport}"
    return f";{settings.received_name}={value}"

"""The methods about listeners, connections and certificates: `core.sockets_list`, `core.tcp_list`, `tls.*`.

Kamailio's names and fields as far as they mean something here. Only `tls.reload` changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from edgesip.control.rpc import Method, RpcFault
from edgesip.signal.net.streams import IDLE, Listed
from edgesip.signal.net.tls_files import Certificates

Log = Callable[[str, str, dict[str, Any]], None]


class Socket(NamedTuple):
    """A listener: its transport and address, and what peers are told instead ("" for the same)."""

    transport: str
    host: str
    port: int
    advertise: str = ""


class Streams(Protocol):
    """Whoever has the connections."""

    def listed(self) -> Iterator[Listed]:
        """Every connection, the oldest first."""


def methods_for(
    sockets: Sequence[Socket], streams: Streams, certificates: Certificates | None, write: Log
) -> list[Method]:
    """The table of methods; without `certificates` there is no TLS to ask about."""
    asked = _Questions(sockets, streams, certificates, write)
    return [
        Method("core.sockets_list", asked.sockets, "Every socket that is listened on."),
        Method("core.tcp_list", asked.connections, "Every connection over TCP and TLS."),
        Method("tls.certificates", asked.certificates, "The certificates that new connections get."),
        Method("tls.list", asked.tls, "Every TLS connection: cipher, and whom the other side proved to be."),
        Method("tls.reload", asked.reload, "Read the certificates anew; connections that are there stay."),
    ]


class _Questions:
    def __init__(
        self, sockets: Sequence[Socket], streams: Streams, certificates: Certificates | None, write: Log
    ) -> None:
        self._sockets = sockets
        self._streams = streams
        self._certificates = certificates
        self._write = write

    def sockets(self, params: list[Any]) -> list[dict[str, Any]]:
        return [
            {"proto": one.transport, "address": one.host, "port": one.port, "advertise": one.advertise}
            for one in self._sockets
        ]

    def connections(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        return (
            {
                "id": one.ident,
                "type": one.flow.transport.upper(),
                "state": "established" if one.ready else "handshake",
                "opened_by": "us" if one.outgoing else "peer",
                "timeout": int(one.idle_left),
                "lifetime": int(IDLE),
                **_ends(one),
            }
            for one in self._streams.listed()
        )

    def tls(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        return (
            {
                "id": one.ident,
                "timeout": int(one.idle_left),
                **_ends(one),
                "state": "established" if one.ready else "handshake",
                "version": one.version,
                "cipher": one.cipher,
                "server_name": one.flow.peer,
                "proven": one.names,
            }
            for one in self._streams.listed()
            if one.flow.transport == "tls"
        )

    def certificates(self, params: list[Any]) -> list[dict[str, Any]]:
        return [
            {
                "domain": one.domain,
                "file": one.file,
                "names": list(one.names),
                "issuer": one.issuer,
                "serial": one.serial,
                "not_before": int(one.not_before),
                "not_after": int(one.not_after),
                "until": one.until,
            }
            for one in (self._certificates.shown if self._certificates is not None else ())
        ]

    def reload(self, params: list[Any]) -> str:
        if self._certificates is None:
            raise RpcFault(500, "there is no TLS: set tls.certificate and listen on tls:ADDR:PORT")
        refused = self._certificates.reload(self._write)
        if refused:
            raise RpcFault(500, f"the old certificates stay: {refused}")
        return f"Ok. Certificates taken up: {len(self._certificates.shown)}"


def _ends(one: Listed) -> dict[str, Any]:
    """As in Kamailio: the source is the other side."""
    flow = one.flow
    return {
        "src_ip": flow.remote.host,
        "src_port": flow.remote.port,
        "dst_ip": flow.local.host,
        "dst_port": flow.local.port,
    }

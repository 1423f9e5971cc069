"""A DNS server of its own for a test: dnsmasq, authoritative for `example`, on a host of the network.

Knows records as a zone has them; what is asked of it stands in its log.
"""

from __future__ import annotations

import re

from lab.network import Host, Network
from lab.process import Process

ZONE = "example"


class Names:
    """The names under `example`; `ttl` in seconds. They are changed by `serve`, which starts it again."""

    def __init__(self, network: Network, host: Host, ttl: int = 60) -> None:
        self.network = network
        self.host = host
        self.ttl = ttl
        self._process: Process | None = None

    def serve(self, *records: str) -> None:
        """Answer with these from now on: `a NAME IP`, `srv NAME TARGET PORT PRIORITY WEIGHT`,
        `naptr NAME ORDER PREFERENCE SERVICE REPLACEMENT`.
        """
        if self._process is not None:
            self._process.stop()
        self._process = self.network.start(
            self.host,
            f"dnsmasq-{self.host.name}",
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"),
            *("--no-resolv", "--no-hosts", "--bind-interfaces", f"--listen-address={self.host.address}"),
            *("--log-queries", "--log-facility=-", f"--local=/{ZONE}/", f"--local-ttl={self.ttl}"),
            *(_option(*record.split()) for record in records),
        )
        self._process.wait_for(r"started, version", after=len(self.log()) if self.asked("") else 0)

    def stop(self) -> None:
        """Answer nothing any more, with an error from the host's kernel."""
        assert self._process is not None
        self._process.stop()

    def log(self) -> str:
        return self._process.text() if self._process is not None else ""

    def asked(self, name: str, kind: str = r"\w+") -> int:
        """How often a name was asked for, since the beginning."""
        return len(re.findall(rf"query\[{kind}\] {re.escape(name)} ", self.log()))


def _option(kind: str, name: str, *values: str) -> str:
    if kind == "a":
        return f"--host-record={name},{values[0]}"
    if kind == "srv":
        return f"--srv-host={name},{','.join(values)}"
    order, preference, service, replacement = values
    return f"--naptr-record={name},{order},{preference},s,{service},,{replacement}"

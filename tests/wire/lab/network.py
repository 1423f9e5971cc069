"""The little internet of a test: a public segment, a server, NAT routers and the LANs behind them.

Both LANs are 192.168.1.0/24 and both phones .10, so a server that believes an address inside a message
reaches the wrong phone or nobody, never the right one by luck. Knows no SIP.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

from lab.netns import Namespace, owner_mark, remove_orphans
from lab.process import Process

PUBLIC = "203.0.113.{}"
SERVER = "203.0.113.1"
LAN_PHONE = "192.168.1.10"
NAT_KINDS = {"port-preserving": "masquerade", "symmetric": "masquerade random,fully-random"}
_numbers = itertools.count(1)

# Unsolicited datagrams are dropped without leaving a conntrack entry, as home routers do.
_ROUTER_RULES = """
table ip lab {{
  chain out {{ type nat hook postrouting priority srcnat; oifname "wan" {masquerade}; }}
  chain through {{ type filter hook forward priority filter; policy drop;
                   ct state established,related accept; iifname "lan" accept; }}
  chain in {{ type filter hook input priority filter; policy accept;
              iifname "wan" ct state established,related accept; iifname "wan" drop; }}
}}
"""


def _ip(namespace: Namespace, *commands: str) -> None:
    namespace.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")


class Host:
    """A machine with one interface, `eth0`."""

    def __init__(self, namespace: Namespace, address: str, public: str) -> None:
        self.namespace = namespace
        self.address = address
        self.public = public

    @property
    def name(self) -> str:
        return self.namespace.role


class Network:
    """Builds hosts on demand; `close` ends every process and removes every namespace it made."""

    def __init__(self) -> None:
        remove_orphans()
        self._mark = f"{owner_mark()}-{next(_numbers)}"
        self._namespaces: list[Namespace] = []
        self.processes: list[Process] = []
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self._mark}-"))
        try:
            self._switch = self._namespace("switch")
            self._switch.sysctl("net.bridge.bridge-nf-call-iptables", 0)
            # The segment's gateway answers ARP and forwards nothing: private addresses vanish there.
            _ip(
                self._switch,
                "link add segment type bridge forward_delay 0",
                f"addr add {PUBLIC.format(254)}/24 dev segment",
                "link set segment up",
            )
        except BaseException:
            self.close()
            raise

    def _namespace(self, role: str) -> Namespace:
        namespace = Namespace(role, f"{self._mark}-{role}")
        self._namespaces.append(namespace)
        return namespace

    def public_host(self, name: str, number: int) -> Host:
        """A machine at 203.0.113.`number`, with a default route as a real one has."""
        namespace = self._namespace(name)
        address = PUBLIC.format(number)
        self._plug(namespace, "eth0", address)
        return Host(namespace, address, address)

    def _plug(self, namespace: Namespace, device: str, address: str) -> None:
        end = f"p{len(self._namespaces)}"
        _ip(
            self._switch,
            f"link add {end} type veth peer name {device} netns {namespace.full_name}",
            f"link set {end} master segment up",
        )
        _ip(
            namespace,
            "link set lo up",
            f"addr add {address}/24 dev {device}",
            f"link set {device} up",
            f"route add default via {PUBLIC.format(254)}",
        )

    def nat_host(self, name: str, number: int, kind: str = "port-preserving", lifetime: int = 0) -> Host:
        """The phone 192.168.1.10 behind an own router at 203.0.113.`number`.

        `kind` is a key of NAT_KINDS; `lifetime` (s) bounds an idle UDP mapping, 0 leaves the kernel's.
        """
        router = self._namespace(f"router-{name}")
        namespace = self._namespace(name)
        public = PUBLIC.format(number)
        self._plug(router, "wan", public)
        _ip(
            router,
            f"link add lan type veth peer name eth0 netns {namespace.full_name}",
            "addr add 192.168.1.1/24 dev lan",
            "link set lan up",
        )
        _ip(
            namespace,
            "link set lo up",
            f"addr add {LAN_PHONE}/24 dev eth0",
            "link set eth0 up",
            "route add default via 192.168.1.1",
        )
        router.sysctl("net.ipv4.ip_forward", 1)
        router.run("nft", "-f", "-", stdin=_ROUTER_RULES.format(masquerade=NAT_KINDS[kind]))
        if lifetime:
            router.sysctl("net.netfilter.nf_conntrack_udp_timeout", lifetime)
            router.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", lifetime)
        return Host(namespace, LAN_PHONE, public)

    def start(
        self, host: Host, name: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> Process:
        """Start a long-running program on `host`; its output is kept as `name`.log."""
        with host.namespace.inside():
            process = Process(name, arguments, self.directory / f"{name}.log", environment)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        for namespace in reversed(self._namespaces):
            namespace.remove()
        self._namespaces.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

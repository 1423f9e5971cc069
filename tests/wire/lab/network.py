"""The little internet of a test: a public segment, a server, NAT routers and the LANs behind them.

Both LANs are 192.168.1.0/24 and both phones .10, so a server that believes an address inside a message
reaches the wrong phone or nobody, never the right one by luck. Knows no SIP.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

from lab.netns import Namespace, owner_mark, remove_orphans, run
from lab.process import Process
from lab.routers import CONES, rules_for

PUBLIC = "203.0.113.{}"
PUBLIC6 = "2001:db8::{}"
SERVER = "203.0.113.1"
SERVER6 = "2001:db8::1"
LAN_PHONE = "192.168.1.10"
_numbers = itertools.count(1)


def _ip(namespace: Namespace, *commands: str) -> None:
    namespace.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")


class Host:
    """A machine with one interface, `eth0`; `address6` is empty where there is only IPv4."""

    def __init__(self, namespace: Namespace, address: str, public: str, address6: str = "") -> None:
        self.namespace = namespace
        self.address = address
        self.address6 = address6
        self.public = public

    @property
    def name(self) -> str:
        return self.namespace.role

    def own(self, family: int) -> str:
        """Its own address of a family, 4 or 6."""
        return self.address6 if family == 6 else self.address


class Router:
    """A NAT router with interfaces `wan` and `lan`; `public` is what the internet sees of those behind it."""

    def __init__(self, network: Network, namespace: Namespace, kind: str, lan: str, public: str) -> None:
        self._network = network
        self._kind = kind
        self.namespace = namespace
        self.lan = lan
        self.public = public

    def host(self, name: str, number: int = 10) -> Host:
        """A machine in its LAN; in every LAN the first is .10."""
        namespace, address = self._network.behind(self, name, number)
        return Host(namespace, address, self.public)

    def reboot(self, public: str = "") -> None:
        """Forget every mapping, as a power cut does; perhaps come back with another public address."""
        namespace = self.namespace
        gateway = namespace.run("ip", "-4", "route", "show", "default").split()[2]
        namespace.run("ip", "link", "set", "wan", "down")
        if public:
            old = namespace.run("ip", "-4", "-br", "addr", "show", "wan").split()[2]
            _ip(namespace, f"addr del {old} dev wan", f"addr add {public}/24 dev wan")
            self.public = public
        self.forget()
        _ip(namespace, "link set wan up", f"route add default via {gateway}")

    def lose(self, percent: int) -> None:
        """From now on lose so many of a hundred datagrams, each way, and tell nobody."""
        self.namespace.run(
            *("nft", "-f", "-"),
            stdin=f"""table ip loss {{ chain through {{ type filter hook forward priority filter - 1;
                meta l4proto udp numgen random mod 100 < {percent} drop; }}
            }}""",
        )

    def forget(self) -> None:
        """Drop every mapping."""
        self.namespace.run("conntrack", "-F")
        if self._kind in CONES:
            self.namespace.run("nft", "flush", "map", "ip", "lab", "open")


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
                f"addr add {PUBLIC6.format(254)}/64 dev segment nodad",
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
        """A machine at 203.0.113.`number` and 2001:db8::`number`, with default routes as a real one has."""
        namespace = self._namespace(name)
        address, address6 = PUBLIC.format(number), PUBLIC6.format(number)
        self._plug(namespace, "eth0", address)
        _ip(
            namespace,
            f"addr add {address6}/64 dev eth0 nodad",
            f"route add default via {PUBLIC6.format(254)}",
        )
        return Host(namespace, address, address, address6)

    @property
    def ports(self) -> tuple[Namespace, list[str]]:
        """Where the switch of the public segment is, and the names of its ports."""
        shown = self._switch.run("ip", "-br", "link", "show", "master", "segment")
        return self._switch, [line.split("@")[0] for line in shown.splitlines()]

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

    def router(
        self,
        name: str,
        number: int,
        kind: str = "port-restricted",
        *,
        lan: str = "192.168.1",
        lifetime: int = 0,
        carrier: Router | None = None,
    ) -> Router:
        """A router at 203.0.113.`number`, or at .`number` in the LAN of a carrier's router.

        `kind` as in `rules_for`; `lifetime` (s) bounds an idle UDP mapping, 0 leaves the kernel's.
        """
        if carrier is None:
            namespace, public = self._namespace(f"router-{name}"), PUBLIC.format(number)
            self._plug(namespace, "wan", public)
        else:
            public = carrier.public
            namespace, _ = self.behind(carrier, f"router-{name}", number, "wan")
        _ip(
            namespace,
            "link add lan type bridge forward_delay 0",
            f"addr add {lan}.1/24 dev lan",
            "link set lan up",
        )
        namespace.sysctl("net.bridge.bridge-nf-call-iptables", 0)
        namespace.sysctl("net.ipv4.ip_forward", 1)
        namespace.run("nft", "-f", "-", stdin=rules_for(kind))
        if lifetime:
            namespace.sysctl("net.netfilter.nf_conntrack_udp_timeout", lifetime)
            namespace.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", lifetime)
        return Router(self, namespace, kind, lan, public)

    def own_lan(self, host: Host, lan: str) -> Router:
        """A second network on the other side of a machine, which has .1 there and routes nothing."""
        _ip(
            host.namespace,
            "link add lan type bridge forward_delay 0",
            f"addr add {lan}.1/24 dev lan",
            "link set lan up",
        )
        host.namespace.sysctl("net.bridge.bridge-nf-call-iptables", 0)
        return Router(self, host.namespace, "none", lan, host.public)

    def behind(self, router: Router, name: str, number: int, device: str = "eth0") -> tuple[Namespace, str]:
        """A namespace in the LAN of a router, and its address there."""
        namespace = self._namespace(name)
        end, address = f"l{len(self._namespaces)}", f"{router.lan}.{number}"
        _ip(
            router.namespace,
            f"link add {end} type veth peer name {device} netns {namespace.full_name}",
            f"link set {end} master lan up",
        )
        _ip(
            namespace,
            "link set lo up",
            f"addr add {address}/24 dev {device}",
            f"link set {device} up",
            f"route add default via {router.lan}.1",
        )
        return namespace, address

    def nat_host(self, name: str, number: int, kind: str = "port-restricted", lifetime: int = 0) -> Host:
        """The phone 192.168.1.10 behind an own router at 203.0.113.`number`.

        Besides the kinds of `rules_for` there is `cgnat`: behind a second, symmetric router of its provider.
        """
        if kind == "cgnat":
            carrier = self.router(f"carrier-{name}", number, "symmetric", lan="100.64.0", lifetime=lifetime)
            return self.router(name, 10, lifetime=lifetime, carrier=carrier).host(name)
        return self.router(name, number, kind, lifetime=lifetime).host(name)

    def start(
        self,
        host: Host,
        name: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        keyboard: bool = False,
    ) -> Process:
        """Start a long-running program on `host`; its output is kept as `name`.log."""
        with host.namespace.inside():
            process = Process(name, arguments, self.directory / f"{name}.log", environment, keyboard)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        for namespace in reversed(self._namespaces):
            namespace.remove()
        self._namespaces.clear()
        for mounted in self.directory.glob("state-*/bpf"):  # of a server that was killed
            if mounted.is_mount():
                run(["umount", str(mounted)])
        shutil.rmtree(self.directory, ignore_errors=True)

"""Judgements on the network: listeners, addresses, media ports, firewall, names: facts in, findings out."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import NamedTuple

from edgesip.address import bracketed, is_internal, is_loopback
from edgesip.doctor.finding import OK, Finding, fail, ok, warn
from edgesip.forms import Network
from edgesip.signal.nat.public import Public


class Bound(NamedTuple):
    """What became of binding one listener: `error` is an errno, 0 for success; `told` says it in words."""

    listen: str
    error: int = 0
    told: str = ""


class Media(NamedTuple):
    """The media ports: the range, the kernel's ephemeral one, what is reserved of that, a sample of binds."""

    low: int
    high: int
    ephemeral: tuple[int, int]
    reserved: tuple[tuple[int, int], ...]
    busy: tuple[int, ...]
    tried: int


class Looked(NamedTuple):
    """What DNS said of a name: where it leads (`hops`), and whether nobody answered."""

    name: str
    hops: tuple[str, ...]
    silent: bool


NAME_IT = 'advertise = ["ADDR"] or --advertise ADDR; "auto" finds it'


def listener(bound: Bound, pid: int) -> Finding:
    """Can it be bound? `pid` is the running server's, 0 for none: what it holds is in good hands."""
    check = f"listen {bound.listen}"
    if not bound.error:
        return ok(check, "can be bound")
    if bound.error == errno.EADDRINUSE and pid:
        if f"(pid {pid})" in bound.told:
            return ok(check, f"held by the running server (pid {pid})")
        if "another user's process" in bound.told:
            return ok(check, "held, by the running server it seems; root can see by whom")
    do = {
        errno.EADDRINUSE: "stop that program, or listen on another port",
        errno.EADDRNOTAVAIL: "correct listen; an address outside belongs into advertise",
        errno.EACCES: "listen on a port above 1023, or use the service of the package, which may",
    }
    return fail(check, bound.told, do.get(bound.error, "correct listen"))


def commands(bound: Bound, pid: int, allow: Sequence[Network]) -> Finding:
    """Can commands of the rtpproxy protocol come here, and from this host alone?"""
    found = listener(bound, pid)
    if found.level == OK and not bound.listen.startswith(("udp:127.", "udp:[::1]")):
        outside = [str(one) for one in allow if not one.is_loopback]
        if outside:
            text = f"whoever can write a source address of {', '.join(outside)} commands the relay"
            do = "let the firewall stop others, or take a unix socket"
            return warn(f"rtpp.{found.check}", text, do)
    return found._replace(check=f"rtpp.{found.check}")


def addresses(named: Sequence[str], local: Sequence[str]) -> list[Finding]:
    """What phones are told, when it is written in the profile or left out: `named` is advertised."""
    outside = [host for host in local if not is_loopback(host)]
    if not outside:
        return [warn("address", "only loopback is listened on", "nobody but this host gets here: set listen")]
    if not named:
        public = [host for host in outside if not is_internal(host)]
        if public:
            return [ok("address", f"phones are told {', '.join(outside)}; public: {', '.join(public)}")]
        text = f"phones are told {', '.join(outside)}: private, and nothing else is advertised"
        return [warn("address", text, f"if phones come from outside, name the public address: {NAME_IT}")]
    found = []
    for host in named:
        if host in local:
            found.append(ok("address", f"phones are told {host}, an address of this host"))
        elif is_internal(host):
            text = f"phones are told {host}, which is a private address"
            found.append(
                warn("address", text, "right only when every phone is inside: else name the public one")
            )
        else:
            found.append(ok("address", f"phones are told {host} in place of this host's own"))
    return found


def public(seen: Public | str, named: Sequence[str], auto: bool) -> Finding:
    """What routes and STUN servers say of our address; a text says why they say nothing."""
    check = "public address"
    if isinstance(seen, str):
        if auto:
            return fail(check, seen, "the server does not start like this")
        return warn(check, seen, "what is advertised could not be compared with what others see")
    others = [host for host in named if ":" not in host]
    if not auto and others and seen.address not in others:
        text = f"{seen.address} ({seen.how}), but {', '.join(others)} is advertised"
        return warn(check, text, "correct advertise, unless packets come in by another way than they go out")
    if not auto and not others and seen.behind_nat:
        return warn(check, f"{seen.address} ({seen.how}), and nothing is advertised", NAME_IT)
    if seen.remark:
        return warn(check, f"{seen.address} ({seen.how})", f"not all servers answered: {seen.remark}")
    return ok(check, f"{seen.address}: {seen.how}")


def media(found: Media, running: bool) -> list[Finding]:
    """Is the range free, and left alone by the kernel?"""
    check = f"media ports {found.low}-{found.high}"
    findings = []
    low, high = max(found.low, found.ephemeral[0]), min(found.high, found.ephemeral[1])
    if low <= high and not any(one <= low and high <= other for one, other in found.reserved):
        findings.append(
            warn(
                check,
                f"{low}-{high} are also handed out by the kernel to any program (ip_local_port_range)",
                f"sysctl -w net.ipv4.ip_local_reserved_ports={low}-{high}, or another relay.ports",
            )
        )
    if found.busy and not running:
        ports = ", ".join(map(str, found.busy[:5]))
        some = f"{len(found.busy)} of {found.tried} that were tried are taken ({ports})"
        level = fail if len(found.busy) == found.tried else warn
        findings.append(level(check, some, "another relay.ports; ss -lunp shows who has them"))
    if not findings:
        shown = "the running server uses them" if running else f"{found.tried} were tried, all are free"
        findings.append(ok(check, shown))
    return findings


def firewall(ruleset: str | None, wanted: Sequence[str]) -> Finding:
    """A hint only: does an nftables ruleset that drops by default mention our ports at all?"""
    check = "firewall"
    if ruleset is None:
        return ok(check, "not looked at: nft cannot be asked by this user, or is not there")
    if not re.search(r"hook input [^}]*policy drop", ruleset):
        return ok(check, "nftables drops nothing by default here; what is in front of this host is not seen")
    missing = [port for port in wanted if not re.search(rf"(?<!\d){re.escape(port)}(?!\d)", ruleset)]
    if missing:
        text = f"nftables drops by default, and no rule names {', '.join(missing)}"
        return warn(check, text, "accept them, unless another rule does so in other words")
    return ok(check, "nftables drops by default, and its rules name our ports")


def conntrack(modules: str, builtin: bool, helper: str, ruleset: str | None) -> Finding:
    """The kernel's SIP helper, which rewrites SIP in the firewall of this very host (threat: host ALG).

    `modules` is /proc/modules, `builtin` whether /sys/module has it, `helper` nf_conntrack_helper's value.
    """
    check = "conntrack SIP helper"
    if ruleset is not None and re.search(r'type "sip"|ct helper set "[^"]*sip', ruleset):
        text = "nftables hands SIP to the kernel's helper, which rewrites addresses and ports in it"
        return warn(check, text, "take the `ct helper` rule for SIP out of the ruleset; reload it")
    where = "of this host may rewrite SIP, and has broken calls so"
    loaded = any(line.split(" ", 1)[0] == "nf_conntrack_sip" for line in modules.splitlines())
    if loaded:
        do = "modprobe -r nf_nat_sip nf_conntrack_sip; and blacklist nf_conntrack_sip in /etc/modprobe.d"
        return warn(check, f"nf_conntrack_sip is loaded: the firewall {where}", do)
    if builtin and helper == "1":
        text = f"nf_conntrack_helper=1 puts it on all connections to port 5060: the kernel {where}"
        return warn(check, text, "sysctl -w net.netfilter.nf_conntrack_helper=0, and a file in /etc/sysctl.d")
    if builtin:
        return ok(check, "built into this kernel, and nothing puts it on SIP that can be seen from here")
    return ok(check, "not loaded")


def upstream(looked: Looked) -> Finding:
    """Where calls to the outside go."""
    check = f"upstream {looked.name}"
    if looked.hops:
        return ok(check, f"leads to {', '.join(looked.hops)}")
    if looked.silent:
        return fail(check, "DNS does not answer", "check /etc/resolv.conf or dns.servers; edgesip dns lookup")
    return fail(
        check, "DNS knows no address for it", "correct upstream; edgesip dns lookup shows the answers"
    )


def domain(looked: Looked, ours: Sequence[str]) -> Finding:
    """A domain of ours should lead here: phones are set up with it. `ours` are addresses of this server."""
    check = f"domain {looked.name}"
    if looked.silent and not looked.hops:
        return warn(check, "DNS does not answer", "phones that are set up with it look it up, too")
    if not looked.hops:
        return warn(
            check,
            "DNS has no address for it",
            "phones need one: publish SRV or A records, or name an address",
        )
    hosts = {hop.partition(":")[2].rpartition(":")[0].strip("[]") for hop in looked.hops}
    if hosts & set(ours):
        return ok(check, f"leads here: {', '.join(looked.hops)}")
    text = f"leads to {', '.join(looked.hops)}, none of them this server as phones are told it"
    return warn(check, text, "correct the DNS records or advertise, unless a proxy stands in front")


def servers(answering: bool, names: Sequence[str]) -> Finding:
    """The DNS servers, when there was nothing of ours to look up."""
    check = "DNS"
    if answering:
        return ok(check, f"answers ({', '.join(names)})")
    return fail(
        check, f"no answer from {', '.join(names) or 'any server'}", "correct dns.servers or /etc/resolv.conf"
    )


def hop(transport: str, host: str, port: int) -> str:
    """A hop for people."""
    return f"{transport}:{bracketed(host)}:{port}"

"""Judgements on who carries media: the kernel or this process, and what of the firewall that passes by.

Pure: facts in, findings out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence

from edgesip.doctor.finding import Finding, fail, ok, warn
from edgesip.forms import PortRange

CHECK = "media path"
_PORTS = re.compile(r"\b(?:udp|th) [sd]port (\{[^}]*\}|\S+)")
_TOUCHES = re.compile(
    r"\b(?:drop|reject|limit|quota|meter|queue|tproxy|notrack|dnat|snat|redirect|masquerade|fwd|dup)\b"
    r"|\b(?:mark|dscp|priority) set\b|\b(?:add|update) @"
)
_REWRITES = re.compile(r'\b(?:masquerade|snat)\b|xt target "(?:MASQUERADE|SNAT)"')
_SOURCE = re.compile(r"\bip6? saddr (\{[^}]*\}|\S+)")
_SHOWN = 70


def path(wanted: str, refusal: str, inside: bool, server_may: bool | None) -> Finding:
    """Who carries what is settled. `wanted` is `relay.path`; `refusal` says why the kernel does not for this
    user; `inside`: only loopback is listened on; `server_may` is of the running server, None without one.
    """
    if wanted == "user":
        return ok(CHECK, "this process carries all media, as relay.path says")
    if wanted == "auto" and inside:
        return ok(CHECK, "this process carries all media: it comes by loopback alone")
    if not refusal:
        return ok(CHECK, "the kernel carries what is settled: its program loads, and forwards a packet")
    if server_may:
        return ok(CHECK, f"the running server may use the kernel's; of this user: {refusal}")
    do = 'relay.path = "user" says that this is meant'
    if "CAP_" in refusal:
        do = f"give the service CAP_BPF and CAP_NET_ADMIN, as its unit does; {do}"
    if wanted == "kernel":
        return fail(CHECK, f"the server does not start like this: {refusal}", do)
    return warn(CHECK, f"this process carries all media: {refusal}", do)


def pinned(where: str, why: str) -> Finding:
    """Whether media goes on while no server runs: `where` things are pinned, or `why` they are not."""
    check = "media without a server"
    if where:
        return ok(check, f"goes on when the server crashes: kept in {where}")
    do = "mount -t bpf bpf /sys/fs/bpf, and make /sys/fs/bpf/edgesip for the server's user"
    return warn(check, f"ends with the server's process: {why}", do)


def bypassed(ruleset: str | None, ranges: Iterable[PortRange]) -> Iterator[Finding]:
    """Rules for media ports that what the kernel carries does not meet: it passes before the firewall."""
    found = [rule for rule in _rules(ruleset) if _TOUCHES.search(rule) and _names(rule, list(ranges))]
    if found:
        text = (
            f"{_count(found)} of the firewall for media ports, which packets that the kernel carries do not "
            f"meet: {_shown(found[0])}"
        )
        yield warn("media firewall", text, 'relay.path = "user" where such rules have to be met')


def rewritten(ruleset: str | None, hosts: Sequence[str]) -> Iterator[Finding]:
    """Source addresses that the firewall of this host changes, and not in what the kernel carries."""
    found = [rule for rule in _rules(ruleset) if _REWRITES.search(rule) and _concerns(rule, hosts)]
    if found:
        text = (
            f"{_count(found)} of this host's firewall may change source addresses, but not of packets that "
            f"the kernel carries: {_shown(found[0])}"
        )
        do = 'relay.path = "user", or leave out what comes from our media ports'
        yield warn("media masquerade", text, do)


def _rules(ruleset: str | None) -> list[str]:
    lines = [line.strip() for line in (ruleset or "").splitlines()]
    return [line for line in lines if line and not line.startswith(("table", "chain", "type", "#"))]


def _names(rule: str, ranges: Sequence[PortRange]) -> bool:
    """True when a rule is about UDP ports that are in one of the ranges."""
    for found in _PORTS.findall(rule):
        for item in found.strip("{}").split(","):
            low, _, high = item.strip().partition("-")
            if low.isdigit() and (high.isdigit() or not high):
                first, last = int(low), int(high or low)
                if any(first <= one.high and one.low <= last for one in ranges):
                    return True
    return False


def _concerns(rule: str, hosts: Sequence[str]) -> bool:
    """False when a rule names source addresses, and none of these."""
    named = [item.strip() for found in _SOURCE.findall(rule) for item in found.strip("{}").split(",")]
    try:
        networks = [ipaddress.ip_network(one, strict=False) for one in named]
    except ValueError:  # a set, or "!=": it cannot be said
        return True
    return not networks or any(ipaddress.ip_address(host) in one for host in hosts for one in networks)


def _count(found: Sequence[str]) -> str:
    return "a rule" if len(found) == 1 else f"{len(found)} rules"


def _shown(rule: str) -> str:
    return rule if len(rule) <= _SHOWN else f"{rule[:_SHOWN]}..."

"""`edgesip doctor`: what a server needs of its host and its profile, looked at one after the other.

Joins probes to judgements, in the order in which a start would stumble. Changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import edgesip
from edgesip import publicity, spoofing
from edgesip.address import Addr, parse_ip
from edgesip.carrying import hosts_of, is_inside
from edgesip.doctor import carriage, files, host, network, probe
from edgesip.doctor.chain import doubt
from edgesip.doctor.finding import Finding, fail, ok
from edgesip.naming import resolver_for
from edgesip.places import ConfigError, calls_db, kept_db
from edgesip.profile import Profile
from edgesip.relaying import ranges_of
from edgesip.reloading import script_of
from edgesip.securing import certificates_of, pairs_of
from edgesip.signal.nat.public import Public, Undecided
from edgesip.signal.net.links import RECEIVE_BUFFER, expand, local_addresses
from edgesip.signal.net.resolver import Resolver
from edgesip.signal.net.whoami import look
from edgesip.signal.proxy.hops import DEFAULT_PORTS, Name, Question, name_of
from edgesip.signal.wire.uri import parse_uri
from edgesip.store.api import StoreError
from edgesip.store.snapshot import read_subscribers, soundness

SCRIPT_HELP = "edgesip check says more; edgesip route test tries it with a message"


def findings(profile: Profile, version: str = "", pid: int = 0) -> Iterator[Finding]:
    """Every finding, as it comes. `version` and `pid` are those of the running server, where one answers."""
    yield files.server(version, f"edgesip {edgesip.__version__}", pid)
    yield _profile(profile)
    listens = [(one.transport, addr) for one in profile.listen for addr in expand(Addr(one.host, one.port))]
    if profile.listen and not listens:
        yield fail("listen", "this host has none of these addresses", "correct listen; ip address shows them")
    for transport, addr in dict.fromkeys(listens):
        yield network.listener(probe.bound(transport, addr), pid)
    yield from _commands(profile, pid)
    local = list(dict.fromkeys(addr.host for _, addr in listens))
    if profile.listen:
        told = yield from _addresses(profile, local)
    else:
        local = [*profile.relay.address] or [host for family in (4, 6) for host in local_addresses(family)]
        yield from network.addresses(profile.relay.advertise, local)
    rules = probe.ruleset()
    if profile.relay.enabled:
        ports = profile.relay.ports
        where = next(iter(profile.relay.address), next(iter(local), "127.0.0.1"))
        yield from network.media(probe.media(where, ports.low, ports.high), bool(pid))
        limit, whose = probe.files_limit(pid)
        yield host.files(limit, ports.low, ports.high, whose)
        yield from _carriage(profile, local, rules, pid)
    else:
        yield ok(carriage.CHECK, "the relay is off: media does not pass here")
    yield host.buffers(probe.rmem_max(), RECEIVE_BUFFER)
    wanted = [str(addr.port) for _, addr in listens]
    wanted += sorted(map(str, ranges_of(profile))) if profile.relay.enabled else []
    yield network.firewall(rules, list(dict.fromkeys(wanted)))
    yield from host.clock(probe.clock())
    yield files.disk(probe.disk(profile.state_dir))
    if profile.listen:
        yield from host.raw_pings(spoofing.wishes(profile), *probe.raw_socket(pid))
        yield probe.sip_helper(rules)
        yield from _certificates(profile, any(transport == "tls" for transport, _ in listens))
        yield from asyncio.run(_names(profile, listens, [*local, *told]))
        yield from _store(profile)


def _profile(profile: Profile) -> Finding:
    try:
        script_of(profile)
    except ConfigError as error:
        return fail("profile", str(error), SCRIPT_HELP)
    return ok("profile", f"{profile.file} and {profile.route} can be read")


def _commands(profile: Profile, pid: int) -> Iterator[Finding]:
    """Where others command the relay, and who can."""
    for one in profile.rtpp.listen:
        for addr in () if one.addr is None else expand(one.addr):
            yield network.commands(probe.bound("udp", addr), pid, profile.rtpp.allow)
        if one.addr is None and not Path(one.path).parent.is_dir():
            yield fail(f"rtpp.listen {one}", "there is no such directory", "make it, or name another")


def _carriage(profile: Profile, local: Sequence[str], rules: str | None, pid: int) -> Iterator[Finding]:
    """Who carries media, and what of the firewall it then passes by."""
    wanted, hosts = profile.relay.path, hosts_of(profile, local)
    inside = is_inside(hosts)
    idle = wanted == "user" or (wanted == "auto" and inside)
    refusal = "" if idle else probe.kernel_refusal(bool(pid))
    server_may = probe.may_use_bpf(pid) if pid else None
    yield carriage.path(wanted, refusal, inside, server_may)
    if idle or (refusal and not server_may):
        return
    kept = probe.pinned(profile.state_dir)
    yield carriage.pinned("" if kept.path is None else str(kept.path), kept.why)
    yield from carriage.bypassed(rules, ranges_of(profile))
    yield from carriage.rewritten(rules, hosts)


def _addresses(profile: Profile, local: Sequence[str]) -> Generator[Finding, None, list[str]]:
    """What phones are told, and what others see; gives back the addresses told."""
    auto = publicity.is_auto(profile)
    seen: Public | str | None = None
    if auto or profile.stun.servers:
        try:
            seen = look(local, profile.stun.servers)
        except Undecided as error:
            seen = str(error)
    if auto and isinstance(seen, Public):
        profile = publicity.with_address(profile, seen)
    named = [] if publicity.is_auto(profile) else [one.host for one in profile.advertise]
    if seen is not None:
        yield network.public(seen, named, auto)
    if not auto or isinstance(seen, Public):
        yield from network.addresses(named, local)
    return named


def _certificates(profile: Profile, wanted: bool) -> Iterator[Finding]:
    try:
        loaded = certificates_of(profile, wanted)
    except ConfigError as error:
        yield fail("certificates", str(error), "correct [tls]; the key has to fit its certificate")
        return
    if loaded is None:
        return
    for pair, shown in zip(pairs_of(profile), loaded.shown, strict=True):
        chain = doubt(pair.certificate, pair.private_key, profile.tls.ca_list)
        yield from files.certificate(shown, time.time(), chain)
    yield from files.names(loaded.shown, profile.domains)


async def _names(profile: Profile, listens: Sequence[tuple[str, Addr]], ours: Sequence[str]) -> list[Finding]:
    """The upstream and our own domains in DNS; any name at all when there are none."""
    resolver = resolver_for(profile.dns, listens, lambda level, event, fields: None)
    found = []
    try:
        if profile.upstream is not None:
            name = name_of(parse_uri(str(profile.upstream)))
            found.append(network.upstream(await _looked(resolver, name, str(profile.upstream))))
        names = [name_of(parse_uri(f"sip:{one}")) for one in profile.domains]
        found += [network.domain(await _looked(resolver, name, name.host), ours) for name in names]
        if not found:
            answer = await resolver.answer(Question("invalid", "A"))
            servers = [str(one) for one in profile.dns.servers] or ["those of /etc/resolv.conf"]
            found.append(network.servers(not answer.failed, servers))
    finally:
        await resolver.close()
    return found


async def _looked(resolver: Resolver, name: Name, shown: str) -> network.Looked:
    if parse_ip(name.host) is not None:
        port = name.port or DEFAULT_PORTS[name.transport or "udp"]
        return network.Looked(shown, (network.hop(name.transport or "udp", name.host, port),), False)
    answer = await resolver.resolve(name)
    hops = tuple(network.hop(one.transport, *one.addr) for one in answer.hops)
    return network.Looked(shown, hops, answer.failed)


def _store(profile: Profile) -> Iterator[Finding]:
    if profile.location_db is not None:
        trouble, rows = soundness(profile.location_db, "location")
        yield files.database(files.Database(str(profile.location_db), trouble, rows), "bindings")
    keepsakes = kept_db(profile.state_dir)
    trouble, rows = soundness(keepsakes, "bans")
    yield files.database(files.Database(str(keepsakes), trouble, rows), "bans and subscriptions")
    calls = calls_db(profile.state_dir)
    trouble, rows = soundness(calls, "dialog")
    yield files.database(files.Database(str(calls), trouble, rows), "calls that are up")
    trouble, rows = soundness(profile.subscribers_db, "subscriber")
    yield files.database(files.Database(str(profile.subscribers_db), trouble, rows), "user database")
    if trouble:
        return
    try:
        users = read_subscribers(profile.subscribers_db).users()
    except StoreError as error:
        yield fail("users", str(error), "run doctor as the server's user, or as root")
        return
    realm = profile.auth.realm
    yield from files.users(len(users), sum(one.realm != realm for one in users), realm, profile.auth.enabled)
    asked = profile.auth.algorithm if profile.auth.enabled else ()
    yield from files.hashes([(name, sum(not one.ha1_by(name) for one in users)) for name in asked])

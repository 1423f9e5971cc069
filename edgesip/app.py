"""The edge as a whole: the only file that knows the entire profile and introduces the rooms to each other.

`provision` checks everything that can be checked without starting; `Edge.run` opens, serves and closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgesip import (
    carrying,
    lending,
    pinging,
    prompting,
    publicity,
    relaying,
    resuming,
    shunning,
    silencing,
    spoofing,
    subscribing,
)
from edgesip.address import Addr, Flow
from edgesip.answers import Answers, sources_of
from edgesip.control import dns, log, nathelper, prompts, record, reload, rtp, subscriptions, tm, ul, why
from edgesip.control.collector import Collector
from edgesip.control.holder import bind_failure, not_ours
from edgesip.control.methods import methods_for
from edgesip.control.ring import Ring
from edgesip.control.rpc import Rpc
from edgesip.control.server import ControlServer
from edgesip.control.trace import methods_for as trace_methods_for
from edgesip.control.transports import Socket
from edgesip.control.transports import methods_for as transport_methods_for
from edgesip.doctor import probe
from edgesip.doctor.finding import OK
from edgesip.guarding import addresses_of, guard_methods, guard_of, pairs_of, trusted_of
from edgesip.keeping import learning_of, load_state, room_for, save_state, state_file
from edgesip.keepsakes import Keepsakes
from edgesip.lasting import LoadRules, checkpoints, load_bindings, warn_users
from edgesip.locating import Registered, usrloc_of
from edgesip.naming import blocklist_for, refresh, refreshing, resolver_for
from edgesip.places import calls_db, kept_db
from edgesip.profile import ConfigError, Profile
from edgesip.proving import digest_of, rooms_of, users_of
from edgesip.recording import recorder_for
from edgesip.registering import lookup_of, path_of, registrar_of, seals_for
from edgesip.relay import core as relay
from edgesip.relay.cases import Media
from edgesip.relay.moments import Moment
from edgesip.relay.packets import LooseSource, StrangeSource
from edgesip.relay.recorder import Recorder
from edgesip.relay.service import News, RelayService, limits
from edgesip.reloading import Reloading, script_of, tm_of
from edgesip.script import Rooms, Script, hooks_of
from edgesip.securing import certificates_of
from edgesip.signal.core import CoreSettings, SignalCore
from edgesip.signal.dialog.table import Dialogs, DialogSettings
from edgesip.signal.guard.digest import Digest
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.nat.keepalive import Pinger
from edgesip.signal.nat.learning import Learning
from edgesip.signal.net.errors import LinkError
from edgesip.signal.net.links import expand, is_local, route
from edgesip.signal.net.resolver import Resolver
from edgesip.signal.net.service import SignalService
from edgesip.signal.net.tls_files import Certificates
from edgesip.signal.proxy.blocklist import Blocklist
from edgesip.signal.proxy.locate import Locator
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.record_route import RrSettings
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.transaction.layer import Transactions
from edgesip.signal.wire.uri import parse_uri
from edgesip.store.api import StoreError, Users
from edgesip.store.sqlite import SqliteStore
from edgesip.whying import Whys


def provision(profile: Profile, again: Callable[[], Profile] | None = None) -> Edge:
    """Everything short of starting: the script is loaded, the addresses are ours. Raises `ConfigError`.

    `again` reads the profile anew, for `reload`.
    """
    script, wanted = script_of(profile), profile
    addresses_of(profile), trusted_of(profile), pairs_of(profile)
    profile = publicity.settled(profile)
    listens: list[tuple[str, Addr]] = []
    for one in profile.listen:
        found = [(one.transport, addr) for addr in expand(Addr(one.host, one.port))]
        for _, addr in found:
            if not is_local(addr.host):
                raise ConfigError(f"{profile.where('listen')}: listen {one}: {not_ours(addr.host)}")
        listens += [pair for pair in found if pair not in listens]
    pinging.check_socket(profile, listens)
    lending.check(profile)
    relaying.check(profile, _hosts(listens), lambda host: None if is_local(host) else not_ours(host))
    certificates = certificates_of(profile, any(transport == "tls" for transport, _ in listens))
    return Edge(profile, script, tuple(listens), certificates, again, wanted)


class Edge:
    """One server: made by `provision`, lives in `run`."""

    def __init__(
        self,
        profile: Profile,
        script: Script,
        listens: tuple[tuple[str, Addr], ...],
        certificates: Certificates | None = None,
        again: Callable[[], Profile] | None = None,
        wanted: Profile | None = None,
    ) -> None:
        self.profile = profile
        self._wanted = wanted or profile
        self._publicity: publicity.Watch | None = None
        self._media_core: relay.RelayCore | None = None
        self._shelf = prompting.shelf_of(profile)
        self._lent: lending.Lent | None = None
        self.certificates = certificates
        self._again = again
        self._script = script
        self._listens = listens
        self._wall_offset = time.time() - time.monotonic()
        self._log = log.writer("edgesip")
        self._myself = Myself(
            listens,
            tuple((one.host, one.port) for one in profile.advertise),
            frozenset(profile.domains) | {socket.gethostname()},
        )
        section = profile.siptrace
        self._ring = Ring(section.trace_on, section.max_octets, section.max_events)

    async def run(self, ready: Callable[[str], None]) -> None:
        """Open everything, call `ready` with its line, serve until cancelled, close everything.

        Raises `ConfigError` when an address is taken or a file cannot be used.
        """
        async with contextlib.AsyncExitStack() as stack:
            line = await self._start(stack)
            ready(line)
            await asyncio.get_running_loop().create_future()

    def hangup(self) -> None:
        """SIGHUP after the server is ready: the route script and the profile are read anew."""
        self._reloading.hangup()
        self._look_again()

    def _reload(self) -> dict[str, Any]:
        result = self._reloading.reload()
        self._look_again()
        return result

    def _look_again(self) -> None:
        if self._media_core is not None:
            prompting.use(self._reloading.profile, self._media_core, self._shelf, self._log)
            relaying.use(self._reloading.profile, self._media_core)
            silencing.use(self._reloading.profile, self._media_core)
        if self._publicity is not None:
            self._publicity.again()

    async def _start(self, stack: contextlib.AsyncExitStack) -> str:
        profile, loop = self.profile, asyncio.get_running_loop()
        max_sessions = self._max_sessions()
        try:
            profile.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
            subscribers = users_of(profile, self._log)
            stack.callback(subscribers.close)
            digest = digest_of(profile, self._wall_offset, time.monotonic())
            store = SqliteStore(profile.location_db) if profile.location_db else None
            if store is not None:
                stack.callback(store.close)
        except (OSError, StoreError) as error:
            raise ConfigError(f"{profile.state_dir}: the state directory cannot be used: {error}") from None
        media = self._media(loop, max_sessions, stack) if profile.relay.enabled else None
        recorder: Recorder | None = None
        resolver = resolver_for(profile.dns, self._listens, log.writer("edgesip.dns"))
        blocklist = blocklist_for(profile.dns)
        service, upstream = self._signal(subscribers, digest, store, media, resolver, blocklist)
        self._service = service
        service.rooms.lines.alive = service.streams.alive
        keepsakes = Keepsakes(kept_db(profile.state_dir), service.core, self._log)
        stack.callback(keepsakes.close)
        self._whys = Whys(profile.relay, service.core.dialogs, media, self._ring, self._log)
        self._reloading = reloading = Reloading(self._wanted, self._again, service, self._log)
        if publicity.is_auto(self._wanted):
            told = next((one.host for one in profile.advertise), "")
            self._publicity = publicity.Watch(lambda: reloading.profile, told, self._log)
            _background(stack, self._publicity.run())
        stack.push_async_callback(resolver.close)
        stack.push_async_callback(service.stop)
        await self._open(service, loop)
        if media is not None:
            media.start()
            stack.callback(media.stop)
            stack.callback(carrying.follow(self._carrier, media.core.packets, loop))
            recorder = recorder_for(lambda: reloading.profile, media, loop, log.writer("edgesip.record"))
            stack.callback(recorder.close)
        if media is not None:
            _background(stack, shunning.watch(service.core.guard.bans, media.core.packets))
            self._lent = reloading.lent = lending.Lent(profile, media.core, log.writer("edgesip.rtpp"))
        self._resume(stack)
        if store is not None:
            rules = LoadRules(profile.usrloc.db_mode, profile.usrloc.db_load, profile.usrloc.db_clean_tcp)
            load_bindings(store, service.core.usrloc, self._listens, self._wall_offset, self._log, rules)
        kept, room = state_file(profile), service.core.traversal
        load_state(kept, room, self._listens, time.monotonic(), self._wall_offset, self._log)
        stack.callback(self._save_endpoints, kept)
        keepsakes.load(self._listens, time.monotonic(), self._wall_offset)
        _background(stack, keepsakes.run())
        helper = probe.sip_helper(None)
        if helper.level != OK:
            self._log("warning", "conntrack SIP helper", {"why": helper.text, "do": helper.do})
        warn_users(subscribers, profile.auth.realm, profile.auth.algorithm, self._log)
        collector = Collector()
        _background(stack, collector.run())
        spoofing.grant(profile, service, self._log)
        service.start(loop)
        if self.certificates is not None:
            _background(stack, self.certificates.watch(self._log))
        sources = sources_of(service, media, resolver, blocklist, collector, self._ring, self.certificates)
        sources += (lambda: recorder.counters,) if recorder is not None else ()
        sources += (lambda: self._lent.counters if self._lent is not None else {},)
        answers = Answers(time.monotonic(), service, media, sources)
        methods = [*methods_for(answers), *trace_methods_for(self._ring, lambda: answers.wall_offset)]
        methods += transport_methods_for(self._sockets(), service.streams, self.certificates, self._log)
        methods += ul.methods_for(Registered(service, store, answers.started))
        methods += dns.methods_for(resolver, blocklist, time.monotonic)
        methods += guard_methods(
            service.core.guard, lambda: self._reloading.profile, lambda: answers.wall_offset, self._log
        )
        methods += reload.methods_for(self._reload)
        methods += record.methods_for(recorder) if recorder is not None else ()
        methods += tm.methods_for(service, time.monotonic)
        methods += nathelper.methods_for(service)
        methods += why.methods_for(self._whys.why)
        methods += rtp.methods_for(self._media_core, time.monotonic)
        methods += prompts.methods_for(self._media_core, self._shelf, time.monotonic)
        table = service.core.subscriptions
        methods += subscriptions.methods_for(table, time.monotonic, lambda: answers.wall_offset)
        control = ControlServer(Rpc(methods), profile.socket)
        await control.start()
        stack.push_async_callback(control.close)
        if upstream is not None:
            await refresh(upstream, resolver, self._log)
            service.core.guard.bans.review()
            _background(stack, refreshing(upstream, resolver, self._log))
        if store is not None:
            _background(stack, checkpoints(store, self._log))
        if self._lent is not None:
            await self._lent.serve(stack)
        return self._ready(max_sessions)

    def _resume(self, stack: contextlib.AsyncExitStack) -> None:
        rooms = resuming.Rooms(self._service.core.dialogs, self._media_core, self._listens)
        told = self._lent.adopt if self._lent is not None else None
        resuming.begin(stack, calls_db(self.profile.state_dir), rooms, self._wall_offset, told, self._log)
        if self._media_core is not None:
            carrying.resumed(self._carrier, self._log)

    async def _open(self, service: SignalService, loop: asyncio.AbstractEventLoop) -> None:
        try:
            service.udp.open([addr for transport, addr in self._listens if transport == "udp"], loop)
            await service.streams.open([one for one in self._listens if one[0] != "udp"], loop)
        except LinkError as error:
            raise ConfigError(bind_failure(error.transport, *error.addr, error)) from None

    def _sockets(self) -> list[Socket]:
        found = []
        for transport, addr in self._listens:
            told = self._myself.address_for(addr, transport)
            found.append(Socket(transport, *addr, "" if told == addr else str(told)))
        return found

    def _save_endpoints(self, path: Path) -> None:
        now = time.monotonic()
        save_state(path, self._service.core.traversal, now, time.time() - now, self._log)

    # -- the rooms, each with its slice ------------------------------------------------------------

    def _max_sessions(self) -> int:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                soft = hard
        return limits(self.profile.relay.ports.low, self.profile.relay.ports.high, soft)

    def _media(
        self, loop: asyncio.AbstractEventLoop, max_sessions: int, stack: contextlib.AsyncExitStack
    ) -> RelayService:
        hosts = _hosts(self._listens)
        settings = relaying.settings_of(self.profile, hosts, max_sessions)
        self._carrier = carrier = carrying.carrier_of(self.profile, hosts, max_sessions, self._log)
        stack.callback(carrying.leave, self.profile, carrier)
        media = RelayService(
            settings,
            loop,
            self._media_events,
            kernel=carrier.kernel,
            overheard=carrier.kernel,
            why=carrier.why,
            prompts=self._shelf.find,
        )
        stack.callback(media.stop)  # a start that fails leaves nothing in the kernel
        self._media_core = media.core
        prompting.use(self.profile, media.core, self._shelf, self._log)
        silencing.use(self.profile, media.core)
        return media

    def _media_events(self, events: Sequence[News]) -> None:
        now = time.monotonic()
        for event in events:
            if isinstance(event, Moment):
                self._ring.note(event.at, "debug", event.event, event.call_id, event.fields)
            elif isinstance(event, relay.MediaTimeout):
                fields = silencing.fields_of(event)
                self._ring.note(now, "warning", "media timeout", event.key[0], tuple(fields.items()))
                self._log("warning", "media timeout", {"call_id": event.key[0], **fields})
                if self._lent is not None and self._lent.timed_out(event.key, now):
                    continue
                self._silent(event, now)
            elif isinstance(event, Media):
                self._whys.ended(event)
            elif isinstance(event, LooseSource):
                fields = _fields(event)
                self._ring.note(now, "warning", "media from anywhere", event.key[0], tuple(fields.items()))
                self._log("warning", "media from anywhere", {"call_id": event.key[0], **fields})
            else:
                fields = _fields(event)
                self._ring.note(now, "warning", "media from a stranger", event.key[0], tuple(fields.items()))
                self._log("warning", "media from a stranger", {"call_id": event.key[0], **fields})

    def _silent(self, event: relay.MediaTimeout, now: float) -> None:
        assert self._media_core is not None  # it has said so
        core, profile = self._service.core, self._reloading.profile
        self._service.step(silencing.acted(event, profile, self._media_core, core, now))

    def _signal(
        self,
        subscribers: Users,
        digest: Digest,
        store: SqliteStore | None,
        media: RelayService | None,
        resolver: Resolver,
        blocklist: Blocklist,
    ) -> tuple[SignalService, Upstream | None]:
        profile = self.profile
        myself = self._myself
        upstream = None
        if profile.upstream is not None:
            upstream = Upstream(parse_uri(str(profile.upstream)), profile.upstream_users)
        usrloc = Usrloc(usrloc_of(profile))

        learning = Learning(learning_of(profile))
        pinger = Pinger(pinging.pings_of(profile), os.urandom, myself.address_for, learning)

        def pinged(flow: Flow) -> bool:
            return pinger.covers(usrloc, flow)

        traversal = room_for(profile.nat_traversal, os.urandom, myself.address_for, pinged)
        seals = seals_for(profile)
        guard = guard_of(profile, usrloc, upstream)
        rooms = Rooms(
            myself,
            usrloc,
            subscribers,
            digest,
            guard,
            upstream,
            traversal=traversal,
            lookup=lookup_of(profile),
            path=path_of(profile),
            seals=seals,
            nat=pinging.rules_of(profile),
            media=media.core if media is not None else None,
            rtpproxy=relaying.rules_of(profile),
        )
        rooms = rooms_of(rooms, self._script, profile)
        core = SignalCore(
            CoreSettings(
                registrar_of(profile),
                profile.usrloc.db_mode if store is not None else 0,
                self._wall_offset,
                RrSettings(**profile.rr.model_dump()),
                seals,
                float(profile.usrloc.timer_interval),
            ),
            myself,
            Transactions(tm_of(profile.tm)),
            usrloc,
            Dialogs(DialogSettings(float(profile.dialog.default_timeout))),
            digest,
            pinger,
            media.core if media is not None else None,
            os.urandom,
            hooks_of(self._script, rooms, time.monotonic),
            blocklist,
            traversal=traversal,
            guard=guard,
        )
        pinging.use(profile, core)
        subscribing.use(profile, core)
        service = SignalService(
            core,
            self._script,
            rooms,
            Locator(myself, route, usrloc.present, blocklist, guard.trusts, profile.dns.use_dns_failover),
            resolver,
            store,
            log.writer("edgesip.signal"),
            self._ring,
            self.certificates,
        )
        return service, upstream

    def _ready(self, max_sessions: int) -> str:
        section = self.profile.relay
        listens = ",".join(f"{transport}:{addr}" for transport, addr in self._listens)
        words = [f"listen={listens}"] if listens else []
        if self.profile.advertise:
            words.append(f"advertise={','.join(str(one) for one in self.profile.advertise)}")
        if section.enabled:
            hosts = section.address or _hosts(self._listens)
            words.append(f"relay={','.join(hosts) or 'auto'}")
            if section.advertise:
                words.append(f"relay_advertise={','.join(section.advertise)}")
            words += [f"relay_{one.name}={','.join(one.address)}" for one in section.interface]
            words.append(f"ports={section.ports} path={self._carrier.word} max_sessions={max_sessions}")
        else:
            words.append("relay=off")
        if self.profile.rtpp.listen:
            words.append(f"rtpp={','.join(str(one) for one in self.profile.rtpp.listen)}")
        return "ready " + " ".join(words)


def _fields(event: StrangeSource | LooseSource) -> dict[str, Any]:
    return {name: str(value) for name, value in event._asdict().items() if name != "key"}


def _hosts(listens: Sequence[tuple[str, Addr]]) -> tuple[str, ...]:
    """The addresses that are listened on."""
    return tuple(dict.fromkeys(addr.host for _, addr in listens))


def _background(stack: contextlib.AsyncExitStack, work: Any) -> None:
    """Run a task until the stack unwinds."""
    task = asyncio.ensure_future(work)

    async def end() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)

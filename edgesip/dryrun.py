"""A message run through a profile's route script with nothing sent: what it asked, decided, what would leave.

Builds the rooms of a profile as values, opens no listener, writes no file. What the script asks of its call
is written down by a stand-in that passes everything on to the real one.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from edgesip import relaying
from edgesip.address import Addr, parse_ip
from edgesip.guarding import guard_of
from edgesip.locating import usrloc_of
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.proving import digest_settings, rooms_of, users_of
from edgesip.publicity import unasked
from edgesip.registering import lookup_of, path_of, registrar_of
from edgesip.relay.core import RelayCore
from edgesip.relay.path import UserPath
from edgesip.reloading import script_of
from edgesip.script import Call, Rooms, Script, UndoneCall, explain, refusal_for
from edgesip.signal.decision import Challenge, Decision, Drop, Forward, Redirect, Reply, Save
from edgesip.signal.guard.digest import Digest
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.net.links import expand
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.uri import parse_uri
from edgesip.store.api import Subscribers
from edgesip.store.snapshot import read_location, read_subscribers
from edgesip.testing import NOW, SECRET, Believing, Outcome, Stage

SCRIPT_DEADLINE = 5.0
AUTHENTICATES = ("www_authenticate", "proxy_authenticate", "www_authorize", "proxy_authorize")
SIGNS = {
    1: "the Contact is private",
    2: "the Via is not the source",
    4: "the Via is private",
    8: "the media address is private",
    16: "the source port is not the Via's",
    32: "the source is private",
    64: "it came over WebSocket",
    128: "the source port is not the Contact's",
    256: "the media address is not the source",
    512: "the next hop is not what the URI says",
}
"""The bits of nat_uac_test, in a few words."""


class Step(NamedTuple):
    """One thing that the script asked of its call, and the answer; "" for what it only wanted done."""

    asked: str
    answer: str


@dataclass(slots=True)
class Rehearsal:
    """What came of it; `fault` is what the script raised."""

    script: str
    hook: str
    steps: list[Step] = field(default_factory=list)
    decision: Decision | None = None
    wanted: tuple[str, ...] = ()
    fault: str = ""
    outcome: Outcome | None = None
    remarks: list[str] = field(default_factory=list)


class Noted:
    """A call that writes down what it is asked."""

    def __init__(
        self, call: Call, steps: list[Step], told: Callable[[str, tuple[Any, ...], Any], str]
    ) -> None:
        self._call = call
        self._steps = steps
        self._told = told

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._call, name)
        if callable(value):
            return lambda *given, **named: self._asked(name, value, given, named)
        step = Step(name, repr(value) if isinstance(value, str | int) else str(value))
        if name not in ("headers", "body", "buffer") and step not in self._steps:
            self._steps.append(step)
        return value

    def _asked(self, name: str, method: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        words = [*map(repr, given), *(f"{key}={value!r}" for key, value in named.items())]
        asked = f"{name}({', '.join(words)})"
        try:
            result = method(*given, **named)
        except Exception as error:
            self._steps.append(Step(asked, f"raised {type(error).__name__}: {error}"))
            raise
        self._steps.append(Step(asked, self._told(name, given, result)))
        return result


class DryRun:
    """A profile's script on a stage. `user` is believed without a password, `bindings` are there besides.

    Raises `ConfigError` for a profile or script that cannot be used, `StoreError` for a state directory that
    cannot be read, ValueError for a binding that is none.
    """

    def __init__(self, profile: Profile, user: str = "", bindings: Sequence[str] = ()) -> None:
        profile = unasked(profile)
        self._profile = profile
        self._user = user
        self._script: Script = script_of(profile)
        listens = [
            (one.transport, addr) for one in profile.listen for addr in expand(Addr(one.host, one.port))
        ]
        if not listens:
            raise ConfigError(f"{profile.where('listen')}: this host has none of these addresses")
        self._hosts = sorted({*profile.domains, socket.gethostname()})
        advertise = tuple((one.host, one.port) for one in profile.advertise)
        myself = Myself(tuple(listens), advertise, frozenset(self._hosts))
        self._hosts += sorted({addr.host for _, addr in listens} | {host for host, _ in advertise})
        settings = digest_settings(profile.auth)
        realm = profile.auth.realm
        digest = Believing(realm, user) if user else Digest(realm, SECRET, settings)
        usrloc, upstream = Usrloc(usrloc_of(profile)), self._upstream()
        hosts = tuple(dict.fromkeys(addr.host for _, addr in listens))
        media = self._media(hosts) if profile.relay.enabled else None
        rooms = Rooms(
            myself,
            usrloc,
            self._users(),
            digest,
            guard_of(profile, usrloc, upstream),
            upstream,
            lookup=lookup_of(profile),
            path=path_of(profile),
            media=media,
            rtpproxy=relaying.rules_of(profile),
        )
        rooms = rooms_of(rooms, self._script, profile)
        self.stage = Stage(rooms, self._script, media, registrar_of(profile))
        self._register(bindings)

    def run(self, octets: bytes, source: str) -> Rehearsal:
        """One message. Raises ParseError for what cannot be read, `NotAsked` where no script is asked."""
        call = self.stage.arrive(octets, source)
        found = Rehearsal(self._script.path, "request")
        decision = self._decided(found, self._script.request, call)
        found.outcome = self.stage.carry(decision)
        if (undone := found.outcome.undone) is not None:
            found.steps.append(Step(f"{told(decision)}: refused, so {undone.hook}(call)", ""))
            again = UndoneCall(undone, self.stage.rooms, NOW)
            decision = self._decided(found, self._script.undone[undone.hook], again)
            found.outcome = self.stage.carry(decision)
        found.decision, found.wanted = decision, call.wanted()
        found.remarks = self._remarks(found)
        return found

    def _decided(self, found: Rehearsal, hook: Callable[[Any], Any], call: Call) -> Decision:
        """What a function of the script returns, or what its fault costs."""
        noted = Noted(call, found.steps, lambda name, given, result: self._answer(call, name, given, result))
        try:
            decision: Any = hook(noted)
            if inspect.isawaitable(decision):
                decision = asyncio.run(asyncio.wait_for(_awaited(decision), SCRIPT_DEADLINE))
            if isinstance(decision, Decision):
                return decision
            raise TypeError(f"the script returned {decision!r}, not a decision")
        except Exception as error:
            found.fault = explain(error, self._script.path)
            return refusal_for(error)

    # -- the rooms ---------------------------------------------------------------------------------

    def _users(self) -> Subscribers:
        if self._profile.users_file is not None:
            return users_of(self._profile, lambda level, event, fields: None)
        return read_subscribers(self._profile.subscribers_db)

    def _upstream(self) -> Upstream | None:
        if self._profile.upstream is None:
            return None
        upstream = Upstream(parse_uri(str(self._profile.upstream)), self._profile.upstream_users)
        ip = parse_ip(upstream.uri.host)
        upstream.hosts = frozenset({str(ip)} if ip is not None else ())
        return upstream

    def _media(self, hosts: tuple[str, ...]) -> RelayCore:
        serial = count(1)
        return RelayCore(
            relaying.settings_of(self._profile, hosts, 4),
            bind=lambda pair: True,
            unbind=lambda pair: None,
            path=UserPath(),
            entropy=lambda size: next(serial).to_bytes(size, "big"),
        )

    def _register(self, bindings: Sequence[str]) -> None:
        path = self._profile.location_db
        for record in read_location(path) if path is not None else ():
            try:
                self.stage.rooms.usrloc.put(Binding.from_record(record, time.time() - NOW))
            except ValueError:
                continue
        for text in bindings:
            user, equals, rest = text.partition("=")
            if not equals or not user:
                raise ValueError(f"{text!r} is not USER=URI[;received=ADDRESS:PORT]")
            uri = parse_uri(rest)
            received = (uri.param("received") or "").removeprefix("sip:")
            contact = str(uri.without_param("received"))
            transport = (uri.param("transport") or "udp").lower()
            source = f"{transport}:{received}" if received else ""
            self.stage.register(user, contact, source=source, nated=bool(received))

    # -- in words ----------------------------------------------------------------------------------

    def _answer(self, call: Call, name: str, given: tuple[Any, ...], result: Any) -> str:
        if name == "nat_uac_test":
            signs = [bit for bit in SIGNS if call.nat_signs(given[0]) & bit] if result else []
            return f"{result}" + (f" ({'; '.join(f'{bit}: {SIGNS[bit]}' for bit in signs)})" if signs else "")
        if name == "lookup":
            shown = [f"{one.contact} at {one.flow.transport}:{one.flow.remote}" for one in result]
            return f"{len(shown)} binding{'s' * (len(shown) != 1)}" + (
                f": {', '.join(shown)}" if shown else ""
            )
        if name in AUTHENTICATES and result is None:
            return "None: " + (f"{self._user} is believed" if self._user else "no password is asked for")
        if result is None:
            return ""
        return repr(result)

    def _remarks(self, found: Rehearsal) -> list[str]:
        remarks = []
        asked = {step.asked: step.answer for step in found.steps}
        if "True" in (asked.get("is_foreign()"), "") or asked.get("is_myself()") == "False":
            remarks.append(f"ours are {', '.join(self._hosts)}; domains in the profile adds others")
        if isinstance(found.decision, Challenge):
            remarks.append("--as USER goes on as if the password had been right")
        upstream = self.stage.rooms.upstream
        if upstream is not None and not upstream.hosts and "from_upstream()" in asked:
            remarks.append(f"{upstream.uri.host} is not looked up here, so no source is the upstream")
        if found.outcome is not None:
            for host, addr in found.outcome.names:
                remarks.append(f"{host} is not looked up here: {addr.host} stands for what DNS would say")
        return remarks


def told(decision: Decision) -> str:
    """A decision in words."""
    if isinstance(decision, Forward):
        return "Forward to " + (", ".join(map(_target, decision.targets)) or "where the request says")
    if isinstance(decision, Reply):
        return f"Reply {decision.status} {decision.reason}".rstrip()
    if isinstance(decision, Challenge):
        return f"Challenge {decision.status}"
    if isinstance(decision, Redirect):
        return f"Redirect {decision.status} to {', '.join(map(_target, decision.contacts))}"
    return "Save" if isinstance(decision, Save) else "Drop" if isinstance(decision, Drop) else repr(decision)


def _target(one: object) -> str:
    return one.contact if isinstance(one, Binding) else str(one)


async def _awaited(decision: Any) -> Any:
    return await decision

"""Bans: who has done too much wrong, and is not heard for a while.

Holds what each source was seen doing (tallies) and whom that banned, both in bounded tables. A ban is as
narrow as it can be: one user at one address, one port of an address that living phones share, the address
itself only where no phone is registered. Knows no packet, socket or clock: times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from edgesip.address import Addr, Flow, source_of
from edgesip.signal.proxy.inbound import Note, note

POINTS = {
    "password": 1,
    "held back": 1,
    "unknown user": 1,
    "malformed": 1,
    "refused": 1,
    "not found": 1,
    "scanner": 5,
    "flood": 1000,
}
"""What counts, and how much: a wrong password, one held back unweighed from a suspect, credentials of a user
who does not exist, a message that cannot be read, a stranger's request for what we do not serve, or for whom
we do not have, a scanner by its own name, more requests than `[pike]` allows."""
GUESSES = ("password", "unknown user")
"""Kinds that count against (source, user) as well."""
SUSPECT = 3
"""Points from which on guesses count that were held back unweighed for other reasons."""
TALLIES = 10_000
EVIDENCE = 6
"""What is remembered of a source: the last few things that counted."""
MEMORY = 86_400.0
"""Seconds without anything wrong after which a source is new again."""


@dataclass(frozen=True, slots=True)
class BanSettings:
    """Seconds of a first ban and of the longest, points that ban a source and a user at a source within
    `window` seconds, bans at a time.
    """

    enabled: bool = True
    autoexpire: float = 300.0
    longest: float = 86_400.0
    failures: int = 20
    user_failures: int = 10
    window: float = 600.0
    size: int = 100_000


class Seen(NamedTuple):
    """One thing that counted."""

    at: float
    kind: str
    user: str
    remote: Addr
    call_id: str


Key = str | Addr | tuple[str, str]
"""A source (`source_of`), one port of it, or a user at it."""


class Tally:
    """What one source, port or user at a source has done since `since`; `times` it was banned before."""

    __slots__ = ("last", "points", "seen", "since", "times")

    def __init__(self, now: float) -> None:
        self.since = now
        self.last = now
        self.points = 0
        self.times = 0
        self.seen: list[Seen] = []


class Ban:
    """Who is not heard until `until`: a source, with `user` that user alone, with `port` that port alone."""

    __slots__ = ("by_hand", "dropped", "host", "port", "since", "source", "times", "until", "user", "why")

    def __init__(
        self, source: str, host: str, since: float, until: float, why: str, times: int, by_hand: bool
    ) -> None:
        self.source = source
        self.host = host
        self.user = ""
        self.port = 0
        self.since = since
        self.until = until
        self.why = why
        self.times = times
        self.by_hand = by_hand
        self.dropped = 0

    @property
    def key(self) -> Key:
        """Whom it is for."""
        if self.user:
            return (self.source, self.user)
        return Addr(self.host, self.port) if self.port else self.source


class Neighbours:
    """What the ban table asks about an address: who lives there, and whether we believe it anyway."""

    __slots__ = ("lives", "registered", "shares", "trusts")

    def __init__(
        self,
        registered: Callable[[Flow], bool],
        shares: Callable[[str], bool],
        lives: Callable[[str, str], bool],
        trusts: Callable[[str], bool],
    ) -> None:
        """Whether a phone is registered over a flow, any at a source, this user's at a source; whether an
        address is the upstream's or trusted."""
        self.registered = registered
        self.shares = shares
        self.lives = lives
        self.trusts = trusts


class Bans:
    """Who is banned, and what everybody else has done so far. `active` is False while nobody is banned."""

    def __init__(self, settings: BanSettings, neighbours: Neighbours, said: list[Note]) -> None:
        """`said` is where what there is to say is left."""
        self.settings = settings
        self._near = neighbours
        self._tallies: dict[Key, Tally] = {}
        self._sources: dict[str, Ban] = {}
        self._ends: dict[Addr, Ban] = {}
        self._users: dict[tuple[str, str], Ban] = {}
        self._said = said
        self.changed: dict[Key, None] = {}
        """Whose bans came, changed or went since somebody last took note: see `records`."""
        self.active = False
        self.counters: dict[str, int] = {
            "ban:banned": 0,
            "ban:dropped": 0,
            "ban:held_back": 0,
            "ban:spared": 0,
            "ban:scored": 0,
        }

    def __len__(self) -> int:
        return len(self._sources) + len(self._ends) + len(self._users)

    def gauges(self) -> dict[str, int]:
        """How many are banned now, and how many sources are watched."""
        return {"ban:active": len(self), "ban:watched": len(self._tallies)}

    # -- who is heard --------------------------------------------------------------------------------

    def refuses(self, data: bytes, flow: Flow, now: float) -> bool:
        """True when these octets are not to be read at all. To be asked while `active`, before parsing.

        Answers to requests of ours are read: they may come from whoever we call.
        """
        remote = flow.remote
        ban = self._sources.get(source_of(remote.host))
        if ban is None or ban.until <= now:
            ban = self._ends.get(remote)
            if ban is None or ban.until <= now:
                return False
        if data.startswith(b"SIP/2.0 "):
            return False
        if not ban.by_hand and self._near.registered(flow):
            return False
        ban.dropped += 1
        self.counters["ban:dropped"] += 1
        return True

    def refuses_connection(self, host: str, now: float) -> bool:
        """True when a new connection from this address, which no phone has yet, is not to be taken."""
        ban = self._sources.get(source_of(host)) if self.active else None
        if ban is None or ban.until <= now:
            return False
        ban.dropped += 1
        self.counters["ban:dropped"] += 1
        return True

    def sources(self, now: float) -> frozenset[str]:
        """The sources (`source_of`) of which nobody is heard now."""
        if not self._sources:
            return frozenset()
        return frozenset([source for source, ban in self._sources.items() if ban.until > now])

    def refuses_user(self, flow: Flow, user: str, now: float) -> bool:
        """True when what this user opens from this source is not heard, by order."""
        ban = self._ban_of(flow, user, now)
        if ban is None or not ban.by_hand:
            return False
        ban.dropped += 1
        self.counters["ban:dropped"] += 1
        return True

    def holds_user(self, flow: Flow, user: str, now: float) -> bool:
        """True when no password of this user is weighed from this source: too many were wrong. He is answered
        all the same, as anybody whose password is wrong, so that his phone shows what is the matter. What
        comes over his registered flow is always weighed.
        """
        ban = self._ban_of(flow, user, now)
        if ban is None or ban.by_hand or self._near.registered(flow):
            return False
        self.counters["ban:held_back"] += 1
        return True

    def _ban_of(self, flow: Flow, user: str, now: float) -> Ban | None:
        ban = self._users.get((source_of(flow.remote.host), user.lower())) if self._users else None
        return ban if ban is not None and ban.until > now else None

    # -- what counts ---------------------------------------------------------------------------------

    def score(
        self, flow: Flow, user: str, kind: str, now: float, call_id: str = "", narrow: bool = False
    ) -> None:
        """Something wrong came over this flow, in the name of `user` (empty: nobody's): see POINTS.

        "password" and "unknown user" are for credentials that were checked and failed: a request without
        any, or with a stale nonce, is no failure. What comes over a registered flow, whoever forged it, or
        from a trusted address, bans nobody. `narrow`: only this port did it, whoever else is there.
        """
        if not self.settings.enabled or self._near.trusts(flow.remote.host):
            return
        self.counters["ban:scored"] += 1
        source = source_of(flow.remote.host)
        tally = self._tally(source, now)
        if len(tally.seen) >= EVIDENCE:
            del tally.seen[0]
        tally.seen.append(Seen(now, kind, user[:64], flow.remote, call_id[:64]))
        if self._near.registered(flow):
            self.counters["ban:spared"] += 1
            return
        points = POINTS[kind]
        if user and kind in GUESSES:
            self._guessed(flow, source, user.lower(), kind, now)
        if narrow or self._near.shares(source):
            tally = self._tally(flow.remote, now)
            tally.points += points
            if tally.points >= self.settings.failures:
                self._ban_end(flow, source, kind, now)
        else:
            tally.points += points
            if tally.points >= self.settings.failures:
                self._ban_source(flow, source, kind, now)

    def suspects(self, flow: Flow) -> bool:
        """True when what is wrong here comes from this source itself, not only from elsewhere."""
        tally = self._tallies.get(source_of(flow.remote.host))
        return tally is not None and tally.points >= SUSPECT

    def good(self, flow: Flow, user: str) -> None:
        """This user has proven his password: what failed at this source in his name is forgotten."""
        if self._tallies:
            self._tallies.pop((source_of(flow.remote.host), user.lower()), None)

    def _guessed(self, flow: Flow, source: str, user: str, kind: str, now: float) -> None:
        """Where the user himself is registered at this source, only the port of the guesser is banned."""
        tally = self._tally((source, user), now)
        tally.points += 1
        if tally.points < self.settings.user_failures:
            return
        if self._near.lives(user, source):
            tally.points = 0
            self._ban_end(flow, source, kind, now)
            return
        ban = self._made(flow.remote.host, source, kind, now, tally)
        ban.user = user
        self._keep(ban)
        self._tell("banned", ban, str(flow.remote))

    def _ban_end(self, flow: Flow, source: str, kind: str, now: float) -> None:
        ban = self._made(flow.remote.host, source, kind, now, self._tally(flow.remote, now))
        ban.port = flow.remote.port
        self._keep(ban)
        self._tell("banned", ban, str(flow.remote))

    def _ban_source(self, flow: Flow, source: str, kind: str, now: float) -> None:
        ban = self._made(flow.remote.host, source, kind, now, self._tally(source, now))
        self._keep(ban)
        self._tell("address banned", ban, flow.remote.host)

    def _made(self, host: str, source: str, why: str, now: float, tally: Tally) -> Ban:
        tally.points = 0
        tally.times += 1
        settings = self.settings
        seconds = min(settings.longest, settings.autoexpire * 2.0 ** min(tally.times - 1, 30))
        self.counters["ban:banned"] += 1
        return Ban(source, host, now, now + seconds, why, tally.times, False)

    def _tell(self, event: str, ban: Ban, source: str) -> None:
        seconds = round(ban.until - ban.since)
        if event == "address banned":
            self._said.append(
                note("warning", event, source=source, banned=ban.source, why=ban.why, seconds=seconds)
            )
        else:
            self._said.append(
                note("warning", "banned", source=source, user=ban.user, why=ban.why, seconds=seconds)
            )

    def _tally(self, key: Key, now: float) -> Tally:
        """The tally of a key, begun anew when its window is over; the least recently used make room."""
        tally = self._tallies.pop(key, None)
        if tally is None or now - tally.last > MEMORY:
            while len(self._tallies) >= TALLIES:
                del self._tallies[next(iter(self._tallies))]
            tally = Tally(now)
        elif now - tally.since > self.settings.window:
            tally.since, tally.points = now, 0
        tally.last = now
        self._tallies[key] = tally
        return tally

    def _keep(self, ban: Ban) -> None:
        """Put a ban in force; when there are too many the oldest of the longest table goes."""
        if len(self) >= self.settings.size:
            if len(self._sources) >= max(len(self._ends), len(self._users)):
                oldest = next(iter(self._sources.values()))
            else:
                ends = len(self._ends) >= len(self._users)
                oldest = next(iter(self._ends.values() if ends else self._users.values()))
            self._lift(oldest)
        key = ban.key
        self.changed[key] = None
        if isinstance(key, str):
            self._sources[key] = ban
        elif isinstance(key, Addr):
            self._ends[key] = ban
        else:
            self._users[key] = ban
        self.active = True

    def of(self, key: Key) -> Ban | None:
        """The ban of exactly this source, port or user at a source."""
        if isinstance(key, str):
            return self._sources.get(key)
        return self._ends.get(key) if isinstance(key, Addr) else self._users.get(key)

    def restore(self, ban: Ban, now: float) -> bool:
        """Put back a ban that another process has left, unless it is over or its address is trusted now.

        The next one of the same source is longer, as if nothing had been between.
        """
        if ban.until <= now or self._near.trusts(ban.host) or len(self) >= self.settings.size:
            return False
        self._keep(ban)
        if not ban.by_hand:
            self._tally(ban.key, now).times = ban.times
        return True

    # -- by order --------------------------------------------------------------------------------------

    def add(self, host: str, user: str, seconds: float, now: float) -> Ban:
        """Ban an address, or a user at it, by order: registered flows too. ValueError for a trusted one."""
        if self._near.trusts(host):
            raise ValueError(f"{host} is trusted or the upstream's: it is never banned")
        source = source_of(host)
        ban = Ban(source, host, now, now + seconds, "by order", 0, True)
        ban.user = user.lower()
        self._keep(ban)
        return ban

    def remove(self, host: str, user: str = "") -> int:
        """Lift every ban of an address, or those of a user at it; what it did is forgotten. How many."""
        source = source_of(host)
        gone = [ban for ban in self if ban.source == source and (not user or ban.user == user.lower())]
        for ban in gone:
            self._lift(ban)
        for key in [key for key in self._tallies if _source_in(key) == source]:
            del self._tallies[key]
        return len(gone)

    def clear(self) -> int:
        """Lift every ban and forget what everybody did; how many were banned."""
        count = len(self)
        self.changed |= dict.fromkeys([ban.key for ban in self])
        self._sources.clear()
        self._ends.clear()
        self._users.clear()
        self._tallies.clear()
        self.active = False
        return count

    def __iter__(self) -> Iterator[Ban]:
        return iter([*self._sources.values(), *self._ends.values(), *self._users.values()])

    def why(self, host: str) -> Tally | None:
        """What was seen of the source of this address; None when nothing is remembered."""
        return self._tallies.get(source_of(host))

    def review(self) -> None:
        """Lift the bans of whoever has come to be trusted."""
        for ban in self:
            if self._near.trusts(ban.host):
                self._lift(ban)

    def _lift(self, ban: Ban) -> None:
        key = ban.key
        self.changed[key] = None
        if isinstance(key, str):
            self._sources.pop(key, None)
        elif isinstance(key, Addr):
            self._ends.pop(key, None)
        else:
            self._users.pop(key, None)
        self.active = len(self) > 0

    # -- time ------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Take out the bans that are over."""
        for ban in self:
            if ban.until <= now:
                self._lift(ban)


def _source_in(key: Key) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, Addr):
        return source_of(key.host)
    return key[0]

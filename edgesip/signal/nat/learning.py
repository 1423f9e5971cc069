"""How long a NAT remembers a silent phone: learned by what was answered, per public address.

A ping that is answered proves that the mapping lived through the silence before it. Pings are made rarer
only as far as that proof goes, less a margin; going beyond it is a trial, and a trial is made where it costs
least: by one phone of an address at a time, just before its own next REGISTER, which opens the way again if
the trial has lost it. After one trial that failed nobody at that address goes as far again.

Holds what is known of flows and addresses, bounded, and answers whether a ping can be left out. Knows no
message and no table: who is pinged at all, and when he is looked at, is the pinger's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesip.address import Flow
from edgesip.signal.location.binding import Binding

MOST = 100_000
"""Flows that are learned about at most; any other is pinged at the usual interval."""
MARGIN = 0.8
"""Pings come at this part of what was proven."""
GROWTH = 1.25
"""A trial goes this far beyond what was proven."""
_MEMORY = 3600.0  # seconds without a look after which a flow or an address may be forgotten
_REGULAR = 0.1  # by which part two spaces between REGISTERs may differ for the next one to be foreseen
_SURE = 2  # times in a row that it was foreseen rightly before anything hangs on it
_EAGER = 8  # pings at half the interval to a phone that has never answered, per registration
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Settings:
    """`start` is the usual interval in seconds, `longest` how rare pings may become; not above `start` turns
    learning off.
    """

    start: float = 25.0
    longest: float = 120.0

    @property
    def learns(self) -> bool:
        """True when there is anything to learn."""
        return 0 < self.start < self.longest


class Watch:
    """What is known of one flow.

    `last` is when a packet went either way, whoever sent it; `fed` when we pinged or the phone proved that it
    was there: a forged packet puts no ping off. `missed` are pings in a row without an answer, `silence` how
    long nothing had gone either way before the first of them; `proven` is the longest silence that was
    answered after, `trial` the one that is tried now (0.0: none). `registered` is when its phone last did,
    `period` after how long it does again, `regular` how often in a row that was so, `who` which of its
    contacts that is of. `eager` is the silence after which a phone that has never answered did not. `host` is
    the place that it is at.
    """

    __slots__ = (
        "answers",
        "eager",
        "fed",
        "host",
        "last",
        "missed",
        "period",
        "proven",
        "registered",
        "regular",
        "silence",
        "trial",
        "who",
    )

    def __init__(self, now: float, host: str) -> None:
        self.host = host
        self.last = now
        self.fed = 0.0  # after a start nobody knows when that was: the first look pings
        self.missed = 0
        self.silence = 0.0
        self.proven = 0.0
        self.trial = 0.0
        self.answers = 0
        self.registered = 0.0
        self.period = 0.0
        self.regular = 0
        self.eager = 0.0
        self.who = 0


class Place:
    """What is known of one public address: `proven` by any of its flows, `ceiling` after which a mapping was
    lost, `trying` whose trial is under way and `until` when at most, `losses` mappings that were lost. Up to
    `doubt` nobody rests for long: somebody who had always answered does not any more.
    """

    __slots__ = ("ceiling", "doubt", "host", "losses", "proven", "trying", "until")

    def __init__(self, host: str) -> None:
        self.host = host
        self.proven = 0.0
        self.ceiling = _NEVER
        self.trying = 0
        self.until = 0.0
        self.doubt = 0.0
        self.losses = 0


class Learning:
    """What all flows have taught; `pause` is the time between two looks at a flow, `now` the last moment that
    we were told.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._watches: dict[int, Watch] = {}  # by the hash of the flow: a flow is ten times as large
        self._old_watches: dict[int, Watch] = {}
        self._places: dict[str, Place] = {}
        self._old_places: dict[str, Place] = {}
        self._turn = 0.0
        self.now = 0.0

    @property
    def pause(self) -> float:
        """Seconds between two looks at a flow: half the usual interval, all of it when nothing is learned."""
        return self.settings.start / 2 if self.settings.learns else self.settings.start

    def __len__(self) -> int:
        return len(self._watches) + len(self._old_watches)

    def use(self, settings: Settings) -> None:
        """Another interval, or another bound, is in force; what was learned stays."""
        self.settings = settings

    # -- what the pinger asks ----------------------------------------------------------------------

    def interval_for(self, flow: Flow, now: float) -> float:
        """Seconds after which this flow wants another ping."""
        watch = self._known(flow)
        start = self.settings.start
        if watch is None or not self.settings.learns:
            return start
        place = self._places.get(flow.remote.host) or self._old_places.get(flow.remote.host)
        return self._interval(watch, place, now) if place is not None else start

    def rests(self, flow: Flow, now: float) -> bool:
        """True when this flow needs no ping before it is looked at again, a `pause` from now."""
        if not self.settings.learns:
            return False
        self._look(now)
        watch = self._watch(flow, now)
        return self.every_other(now) if watch is None else self._rests(watch, hash(flow), now)

    def rests_already(self, key: int, now: float) -> bool | None:
        """The same of the flow with this hash; None when nothing is known of it and `rests` has to see it."""
        if not self.settings.learns:
            return False
        self._look(now)
        watch = self._watches.get(key)
        if watch is not None:
            return self._rests(watch, key, now)
        return None if len(self._watches) < MOST else self.every_other(now)

    def _look(self, now: float) -> None:
        self.now = now
        if now >= self._turn:
            self._grow_old(now)

    def _rests(self, watch: Watch, key: int, now: float) -> bool:
        place, ahead = self._place(watch.host), now - watch.fed + 0.9 * self.pause
        if place.trying and now >= place.until:
            self._give_up(place)
        if watch.trial:
            return ahead <= watch.trial
        interval = self._interval(watch, place, now)
        if ahead <= interval:
            return True
        target = self._target(watch, place) if now >= place.doubt and not place.trying else 0.0
        if target and self._heals(watch, target, interval):
            watch.trial, place.trying = target, key
            place.until = watch.registered + 2 * watch.period
            return True
        return False

    def every_other(self, now: float) -> bool:
        """True at every other look: the usual interval, for a flow that nothing is learned of."""
        return self.settings.learns and now % self.settings.start >= self.pause

    def pinged(self, flow: Flow, now: float, asks: bool = True) -> None:
        """A ping leaves; one that nobody answers (four zero octets) teaches nothing."""
        watch = self._known(flow)
        if watch is None:
            return
        if asks:
            if not watch.missed:
                watch.silence = now - watch.last
            watch.missed += 1
            if watch.missed == 2 and watch.answers and watch.silence > 1.1 * self.settings.start:
                self._place(flow.remote.host).doubt = now + _MEMORY
        watch.trial, watch.last, watch.fed = 0.0, now, now

    # -- what happens ------------------------------------------------------------------------------

    def answered(self, key: int, now: float) -> None:
        """A ping was answered over the flow that it was sent by, of which this is the hash: the mapping has
        lived through the silence.

        So it has when an earlier ping was not: nothing from outside brings a dead mapping back.
        """
        watch = self._watches.get(key) or self._old_watches.get(key)
        if watch is None:
            return
        place = self._place(watch.host)
        if watch.missed > 1:
            place.doubt = 0.0
        if watch.missed:
            watch.proven = max(watch.proven, watch.silence)
            place.proven = max(place.proven, watch.silence)
        if watch.eager:
            place.ceiling, watch.eager = min(place.ceiling, max(watch.eager, watch.proven)), 0.0
        watch.answers += 1
        watch.fed = now
        self._restart(watch, place, key, now)

    def came(self, flow: Flow, now: float) -> None:
        """A packet of the phone's own, no answer to a ping. It may have opened a new mapping in place of a
        dead one, so that what was asked before proves nothing any more.
        """
        self.now = now
        if not self._watches:
            return
        watch = self._known(flow)
        if watch is None:
            return
        if watch.missed or watch.trial:
            self._heard(watch, flow)
            self._restart(watch, self._place(flow.remote.host), hash(flow), now)
        watch.last = now

    def went(self, sends: Sequence[tuple[Flow, bytes]]) -> None:
        """Packets of ours leave, now."""
        if not self._watches:
            return
        for flow, _ in sends:
            watch = self._known(flow)
            if watch is not None:
                watch.last = self.now

    def registered(self, ruid: str, flow: Flow, before: Flow | None, same_contact: bool, now: float) -> None:
        """The phone at the end of a flow has registered the contact `ruid`; `before` is the flow that it
        registered over the last time. From another port without another Contact it was the NAT that forgot,
        not the phone that began anew.
        """
        if not self.settings.learns or flow.transport != "udp":
            return
        old = self._forget(before) if before is not None and before != flow else None
        watch = self._watch(flow, now)
        if watch is None:
            return
        place = self._place(flow.remote.host)
        if old is not None and before is not None and before.remote.host == flow.remote.host:
            watch.registered, watch.period, watch.regular = old.registered, old.period, old.regular
            watch.who = old.who
            watch.eager = old.silence if not old.answers and old.missed > 1 else 0.0
            silence = old.silence if old.missed else now - old.last
            if same_contact and old.answers:
                self._lost(old, place, silence)
            if not same_contact or silence > old.proven:
                watch.proven = old.proven
            if place.trying == hash(before):
                place.trying = 0
        else:
            self._heard(watch, flow)
        if not watch.who or watch.who == hash(ruid):
            watch.who = hash(ruid)
            self._foresee(watch, now)
        watch.fed = now
        self._restart(watch, place, hash(flow), now)

    def refreshed(self, binding: Binding, old: Binding | None, now: float) -> None:
        """The same, of a contact and of what it was before."""
        before, same = (None, False) if old is None else (old.flow, old.contact == binding.contact)
        self.registered(binding.ruid, binding.flow, before, same, now)

    # -- conclusions -------------------------------------------------------------------------------

    def _interval(self, watch: Watch, place: Place, now: float) -> float:
        start, pause = self.settings.start, self.pause
        if watch.missed == 1 or (watch.eager and watch.missed < _EAGER):
            return pause
        usual = start if place.ceiling > 1.1 * start else pause
        if watch.missed or now < place.doubt:
            return usual
        proven = min(watch.proven, place.proven)
        # One ping may get lost: the next one, a pause later, still has to come in time.
        safe = min(MARGIN * proven, proven - 1.2 * pause, self.settings.longest)
        return max(usual, safe)

    def _target(self, watch: Watch, place: Place) -> float:
        """How long a silence is worth a trial: what others have proven, or a step beyond; 0.0 for none."""
        if (
            watch.missed
            or not watch.answers
            or watch.regular < _SURE
            or place.ceiling <= 1.1 * self.settings.start
        ):
            return 0.0
        pause, most = (
            self.pause,
            max(self.settings.longest / MARGIN, self.settings.longest + 1.2 * self.pause),
        )
        if watch.proven + pause < place.proven:
            return 0.95 * place.proven
        if place.ceiling < _NEVER or place.proven >= 0.95 * most:
            return 0.0
        known = max(self.settings.start, place.proven)
        return min(max(known * GROWTH, known + pause), max(most, known + pause))

    def _heals(self, watch: Watch, target: float, interval: float) -> bool:
        """True when the phone registers again soon after a trial would be over, but not before a lost ping
        could be repeated.
        """
        left = watch.registered + watch.period - (watch.fed + target)
        soonest = 1.5 * self.pause
        return soonest <= left <= soonest + max(interval, 2 * self.pause)

    def _heard(self, watch: Watch, flow: Flow) -> None:
        """The phone speaks by itself: it is there, and if it did not answer, its mapping was not."""
        enough = 1 if watch.silence > max(watch.proven, 1.1 * self.settings.start) else 2
        if watch.missed >= enough and watch.answers:
            self._lost(watch, self._place(flow.remote.host), watch.silence)
        elif watch.missed > 1:
            watch.eager = watch.silence

    def _lost(self, watch: Watch, place: Place, silence: float) -> None:
        """A mapping is gone after this silence. What was proven on it holds; if that was more, the router is
        another one now or was restarted, and nothing holds.
        """
        place.losses += 1
        if silence > watch.proven:
            place.ceiling = min(place.ceiling, silence)
            place.proven = min(place.proven, watch.proven)
        else:
            place.proven = 0.0

    def _foresee(self, watch: Watch, now: float) -> None:
        """When this phone is going to register again."""
        space = now - watch.registered if watch.registered else 0.0
        same = watch.period > 0 and abs(space - watch.period) <= _REGULAR * watch.period
        watch.regular = watch.regular + 1 if same else 0
        watch.period = min(space, watch.period) if watch.regular else space
        watch.registered = now

    def _restart(self, watch: Watch, place: Place, key: int, now: float) -> None:
        """Silence begins anew, and nothing is asked."""
        watch.last, watch.missed, watch.silence, watch.trial = now, 0, 0.0, 0.0
        if place.trying == key:
            place.trying = 0

    def _give_up(self, place: Place) -> None:
        """A trial whose phone was never heard of again has shown nothing: it may have been turned off."""
        watch = self._watches.get(place.trying) or self._old_watches.get(place.trying)
        if watch is not None:
            watch.trial = 0.0
        place.trying = 0

    # -- the tables, in two generations --------------------------------------------------------------

    def _known(self, flow: Flow) -> Watch | None:
        key = hash(flow)
        return self._watches.get(key) or self._old_watches.get(key)

    def _watch(self, flow: Flow, now: float) -> Watch | None:
        """What is known of a flow, a fresh page if need be; None when there is no room."""
        key = hash(flow)
        watch = self._watches.get(key)
        if watch is not None:
            return watch
        if len(self._watches) >= MOST:
            return None
        watch = self._old_watches.pop(key, None) or Watch(now, self._place(flow.remote.host).host)
        self._watches[key] = watch
        return watch

    def _forget(self, flow: Flow) -> Watch | None:
        key = hash(flow)
        return self._watches.pop(key, None) or self._old_watches.pop(key, None)

    def _place(self, host: str) -> Place:
        place = self._places.get(host)
        if place is None:
            old = self._old_places.get(host)
            place = self._places[host] = Place(host) if old is None else old
        return place

    def _grow_old(self, now: float) -> None:
        """Whoever has not been looked at for a while goes; nothing is walked through."""
        self._turn = now + _MEMORY
        self._old_watches, self._watches = self._watches, {}
        self._old_places, self._places = self._places, {}

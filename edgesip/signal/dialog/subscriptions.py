"""The subscriptions that pass through us: dialogs that a SUBSCRIBE or REFER opens (RFC 6665, RFC 3515).

A light record of each, so that what follows finds its way and nobody else's does: a Call-ID with the tags of
its ends. Bounded and expiring (`memoir` has what outlives a restart). Knows no event package and keeps no
state of presence. Several event packages inside one dialog (RFC 6665 §4.5.2 warns of it) share a record and
end each for itself: the record lives as long as the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgesip.address import Flow
from edgesip.signal.transaction.timers import Timers
from edgesip.signal.wire.headers import parse_seconds
from edgesip.signal.wire.message import Request, Response

OPENING = frozenset({"SUBSCRIBE", "REFER"})
FOLLOWED = frozenset({"SUBSCRIBE", "REFER", "NOTIFY"})
INSIDE = frozenset({"SUBSCRIBE", "REFER", "NOTIFY", "MESSAGE", "INFO", "OPTIONS"})
"""What may pass inside a subscription; calls have dialogs of their own."""
PENDING = 64.0
"""Seconds without a 2xx or NOTIFY: the transaction's 32, and timer N (RFC 6665 §4.1.2.4)."""
LINGER = 32.0
"""Seconds beyond the end, for what is late: the NOTIFY that says so, its repetitions, its password."""
UNSAID = 3600
"""Seconds of a SUBSCRIBE when nobody says how long."""
REFERRED = 300
"""Seconds of a REFER until its first NOTIFY says how long (RFC 3515 §2.4.4)."""
LONGEST = 604800
MOST_ENDS = 32
"""Answerers of one forked request; a hostile one stops there."""
MOST_PACKAGES = 8
"""Event packages inside one dialog; a hostile one stops there."""
AT_ONCE = 500
"""Subscriptions that end in one go, so that a storm of them does not stop the loop."""


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    """How many there may be, of all and of one user."""

    max_subscriptions: int = 100_000
    max_user_subscriptions: int = 1000


class End:
    """One end: the flow to it, the binding that it registered by, whether it is behind a NAT.

    `sure` when it is where our request went, or who sent that; else it was heard of by its NOTIFY alone.
    `own` is when its part is over (monotonic seconds) for the package that the dialog began with, `others`
    has that of others.
    """

    __slots__ = ("flow", "nated", "others", "own", "ruid", "sure")

    def __init__(self, flow: Flow, nated: bool = False, ruid: str = "", sure: bool = True) -> None:
        self.flow = flow
        self.nated = nated
        self.ruid = ruid
        self.sure = sure
        self.own = 0.0
        self.others: dict[str, float] | None = None

    @property
    def until(self) -> float:
        """When its part is over, whatever the package."""
        return self.own if self.others is None else max(self.own, *self.others.values())


class Subscription:
    """One SUBSCRIBE or REFER and whoever has answered it: `ends` by their tags, `near` who asked.

    `sent` are the hosts that it was sent to, `left` how many of them have not refused it, `pending` when it
    is given up without a sign of life, `wanted` the seconds that it asked for.
    """

    __slots__ = (
        "call_id",
        "ends",
        "event",
        "from_uri",
        "init",
        "left",
        "method",
        "near",
        "pending",
        "ruri",
        "sent",
        "tag",
        "wanted",
    )

    def __init__(self, call_id: str, tag: str, near: End, now: float) -> None:
        self.call_id = call_id
        self.tag = tag
        self.method = ""
        self.event = ""
        self.from_uri = ""
        self.ruri = ""
        self.near = near
        self.ends: dict[str, End] = {}
        self.sent: tuple[str, ...] = ()
        self.left = 0
        self.init = now
        self.pending = now + PENDING
        self.wanted = UNSAID

    @property
    def until(self) -> float:
        """When it is forgotten, if nothing more is heard of it."""
        return max([end.until for end in self.ends.values()], default=self.pending)


def opened(request: Request, near: End, now: float) -> Subscription:
    """What a SUBSCRIBE or REFER opens, sent by `near`."""
    headers = request.headers
    expires = headers.expires
    one = Subscription(headers.call_id, headers.from_.tag or "", near, now)
    one.method = request.method
    one.event = headers.get("Event") or ("refer" if request.method == "REFER" else "")
    one.from_uri = str(headers.from_.uri)
    one.ruri = request.uri
    if request.method != "SUBSCRIBE":
        one.wanted = REFERRED
    elif expires is not None:
        one.wanted = expires
    return one


class Within:
    """Where a request stands: `side` is who sent it (the caller is who subscribed), `tag` the answerer's.

    A request that opens one stands in it too, with no tag. `source` is the end that sent it.
    """

    __slots__ = ("side", "source", "subscription", "table", "tag")

    def __init__(self, table: Subscriptions, subscription: Subscription, side: str, tag: str) -> None:
        self.table = table
        self.subscription = subscription
        self.side = side
        self.tag = tag
        self.source: End | None = None

    @property
    def far(self) -> End | None:
        """The end that it goes to, where that is known."""
        one = self.subscription
        return one.near if self.side == "callee" else one.ends.get(self.tag)

    @property
    def far_nated(self) -> bool:
        """True when that one is known to be behind a NAT."""
        far = self.far
        return far is not None and far.nated

    def only(self, source: Flow) -> End | None:
        """The one end that it may go to whatever its URI and Routes say; None when these are believed.

        They are when the answerer is where our request went. Anybody else knows no more than the Call-ID and
        a tag, may be forked further on (RFC 6665 §4.4.1) or a stranger, and reaches who subscribed, no other.
        """
        one = self.subscription
        end = one.ends.get(self.tag)
        if end.sure if end is not None else source.remote.host in one.sent:
            return None
        return self.far

    def heard(self, request: Request, answerer: End, response: Response, now: float) -> None:
        """The final answer of `answerer` to a request that passed."""
        if request.method in FOLLOWED and response.status < 300 and self.source is not None:
            if request.method == "NOTIFY":
                self.table.notified(self, request, self.source, now)
            else:
                self.table.accepted(self, request, self.source, answerer, response, now)
        elif response.status >= 300 and not self.tag:
            self.table.refused(self.subscription, now)
        elif response.status == 481:
            self.table.over(self.subscription, self.tag, now)


class Subscriptions:
    """Every subscription that we know, by Call-ID and the tag of who asked."""

    def __init__(self, settings: SubscriptionSettings = SubscriptionSettings()) -> None:
        self.settings = settings
        self._by_key: dict[tuple[str, str], Subscription] = {}
        self._users: dict[str, int] = {}
        self._timers: Timers[Subscription] = Timers()
        self.changed: dict[tuple[str, str], None] = {}
        """Those that came to stand, changed or went since somebody last took note."""
        self.counters: dict[str, int] = {
            "subscriptions:opened": 0,
            "subscriptions:expired": 0,
            "subscriptions:refused": 0,
        }

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._by_key.values()))

    def gauges(self) -> dict[str, int]:
        """How many there are now."""
        return {"subscriptions:active": len(self._by_key)}

    def deadline(self) -> float | None:
        """When `tick` next has something to forget."""
        return self._timers.deadline()

    def tick(self, now: float) -> None:
        """Forget what nobody has refreshed, a part at a time where that is very much."""
        for one in self._timers.due(now, AT_ONCE):
            if one.ends:
                self.counters["subscriptions:expired"] += 1
            self._forget(one)

    # -- finding and opening -----------------------------------------------------------------------

    def find(self, request: Request) -> Within | None:
        """Where a request with a To tag stands.

        Call-ID and both tags must agree; of a NOTIFY the Call-ID and the tag of who subscribed, because it
        may overtake the 2xx, or come from one of many that the request was forked to.
        """
        if request.method not in INSIDE:
            return None
        headers = request.headers
        call_id, from_tag, to_tag = headers.call_id, headers.from_.tag or "", headers.to.tag or ""
        one = self._by_key.get((call_id, from_tag))
        if one is not None and to_tag in one.ends:
            return Within(self, one, "caller", to_tag)
        one = self._by_key.get((call_id, to_tag))
        if one is None:
            return None
        new = request.method == "NOTIFY" and from_tag != "" and len(one.ends) < MOST_ENDS
        if from_tag in one.ends or new:
            return Within(self, one, "callee", from_tag)
        return None

    def begin(self, request: Request, near: End, sent: Sequence[Flow], now: float) -> Within | None:
        """A SUBSCRIBE, REFER or NOTIFY goes on to these flows; None for what belongs to no subscription.

        A SUBSCRIBE or REFER opens one, inside a call too, unless there are too many.
        """
        if request.method not in OPENING:
            return self.find(request)
        headers = request.headers
        key = (headers.call_id, headers.from_.tag or "")
        one = self._by_key.get(key)
        if one is None:
            one = opened(request, near, now)
            if self._full(one):
                self.counters["subscriptions:refused"] += 1
                return None
            self._keep(one)
            self.counters["subscriptions:opened"] += 1
        elif one.near.flow.remote.host == near.flow.remote.host:
            one.near = (
                near  # again, with a password; of a request that comes back to us the first turn counts
            )
        one.sent = tuple({*one.sent, *(flow.remote.host for flow in sent)})
        one.left += len(sent)
        one.pending = now + PENDING
        self._timers.set(one, one.until)
        return Within(self, one, "caller", headers.to.tag or "")

    # -- what is heard of it -----------------------------------------------------------------------

    def accepted(
        self, within: Within, request: Request, source: End, answerer: End, response: Response, now: float
    ) -> None:
        """A 2xx: its To tag is one end; `Expires` says how long."""
        one, tag, headers = within.subscription, response.headers.to.tag or "", response.headers
        end = one.ends.get(tag)
        if end is None:
            if not tag or len(one.ends) >= MOST_ENDS:
                return
            end = one.ends[tag] = answerer
        if within.side == "callee":
            end.flow, end.ruid = source.flow, source.ruid
        else:
            if one.near.flow != source.flow:
                one.near = source
            if not within.tag:
                end.flow, end.nated, end.ruid, end.sure = answerer.flow, answerer.nated, answerer.ruid, True
        seconds = headers.expires if request.method == "SUBSCRIBE" else REFERRED
        if seconds is None:
            asked = request.headers.expires
            seconds = UNSAID if asked is None else asked
        if request.method == "REFER" and (headers.get("Refer-Sub") or "").strip().lower() == "false":
            seconds = 0
        event = "refer" if request.method == "REFER" else request.headers.get("Event") or ""
        self._extend(one, end, event, seconds, now)

    def notified(self, within: Within, request: Request, source: End, now: float) -> None:
        """A NOTIFY that was answered with 2xx: `Subscription-State` says how it goes on."""
        one, tag = within.subscription, within.tag
        if within.side != "callee":
            return
        end = one.ends.get(tag)
        if end is None:
            if not tag or len(one.ends) >= MOST_ENDS:
                return
            end = one.ends[tag] = source
            source.sure = source.flow.remote.host in one.sent
            self._extend(one, end, one.event, one.wanted, now)
        end.flow, end.ruid = source.flow, source.ruid
        self.changed[one.call_id, one.tag] = None
        state, seconds = state_of(request.headers.get("Subscription-State") or "")
        event = request.headers.get("Event") or one.event
        if state == "terminated":
            self._extend(one, end, event, 0, now)
        elif seconds is not None:
            self._extend(one, end, event, seconds, now)

    def refused(self, one: Subscription, now: float) -> None:
        """One of those whom it was sent to will have none of it; the last of them ends it."""
        one.left -= 1
        if one.left <= 0 and not one.ends:
            one.pending = min(one.pending, now + LINGER)
            self._timers.set(one, one.until)

    def over(self, one: Subscription, tag: str, now: float) -> None:
        """One end's part is over, whatever the package; what is late still passes for a while."""
        end = one.ends.get(tag)
        if end is not None:
            end.others = None
            self._extend(one, end, one.event, 0, now)

    def _extend(self, one: Subscription, end: End, event: str, seconds: int, now: float) -> None:
        until, package = now + min(seconds, LONGEST) + LINGER, package_of(event)
        if package in ("", package_of(one.event)):
            end.own = until
        else:
            others = end.others or {}
            if package in others or len(others) < MOST_PACKAGES:
                others[package] = until
                end.others = others
        if (one.call_id, one.tag) not in self._by_key:
            self._keep(one)
        self.changed[one.call_id, one.tag] = None
        self._timers.set(one, one.until)

    # -- beyond a restart ----------------------------------------------------------------------------

    def of(self, key: tuple[str, str]) -> Subscription | None:
        """The one with this Call-ID and tag of who subscribed, if somebody has answered it."""
        one = self._by_key.get(key)
        return one if one is not None and one.ends else None

    def restore(self, one: Subscription, now: float) -> bool:
        """Put back one that another process has left, unless it is over, or there are too many."""
        key = (one.call_id, one.tag)
        if not one.ends or one.until <= now or key in self._by_key or self._full(one):
            return False
        self._keep(one)
        self._timers.set(one, one.until)
        return True

    def _full(self, one: Subscription) -> bool:
        """Whether one more is one too many, of its user's or of all."""
        each = self._users.get(one.from_uri.lower(), 0)
        return each >= self.settings.max_user_subscriptions or len(self) >= self.settings.max_subscriptions

    def _keep(self, one: Subscription) -> None:
        user = one.from_uri.lower()
        self._by_key[one.call_id, one.tag] = one
        self._users[user] = self._users.get(user, 0) + 1

    def _forget(self, one: Subscription) -> None:
        if self._by_key.pop((one.call_id, one.tag), None) is None:
            return
        if one.ends:
            self.changed[one.call_id, one.tag] = None
        user = one.from_uri.lower()
        left = self._users.get(user, 1) - 1
        if left > 0:
            self._users[user] = left
        else:
            self._users.pop(user, None)


def state_of(text: str) -> tuple[str, int | None]:
    """The state of a Subscription-State and its `expires` in seconds, None where it says nothing."""
    state, *params = text.split(";")
    seconds = None
    for param in params:
        name, _, value = param.partition("=")
        if name.strip().lower() == "expires":
            seconds = parse_seconds(value.strip())
    return state.strip().lower(), seconds


def package_of(event: str) -> str:
    """The event package of an Event value, without its `id`."""
    return event.partition(";")[0].strip().lower()

"""nat_keepalive(): which endpoints are kept reachable, and why (nat.md §3.4).

Holds the table of endpoints with what keeps each of them: a registration, a subscription, calls. Knows no
script, no socket and no file; what is sent to an endpoint, and what an answer proves, is `beat`'s and
`learning`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from edgesip.address import Addr, Flow
from edgesip.signal.dialog.state import Dialog, DialogState
from edgesip.signal.nat.beat import Beats, Settings
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Field, Headers, parse_seconds
from edgesip.signal.wire.message import Request, Response
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import NameAddr, parse_name_addr

METHODS = frozenset({"REGISTER", "SUBSCRIBE", "INVITE"})
MOST = 200_000
"""Endpoints at most; more are counted and not kept."""
LONGEST_CALL = 12 * 3600.0
"""Seconds after which a call keeps nobody any more, whatever has become of it."""
PARTS = 512  # slices of the table, each with its own moment within a round
_BATCH = 1000  # endpoints visited in one call at most, so that a late caller does not stop the loop
_STEP = 0.02  # seconds between two batches at least
_LOOK = 1.0  # seconds after which the table is looked at again at the latest
_ANSWERED = (DialogState.CONFIRMED_NA, DialogState.CONFIRMED)


class Held:
    """A call that keeps an endpoint: `call` are all dialogs of its INVITE; a callee's has one of them, by the
    branch that it rang on. Whether it still does is read off the dialogs, so that nobody has to tell us.
    """

    __slots__ = ("branch", "call", "dialog", "until")

    def __init__(self, call: list[Dialog], until: float, dialog: Dialog | None = None) -> None:
        self.call = call
        self.until = until
        self.dialog = dialog
        self.branch = dialog.branch if dialog is not None else ""

    def holds(self, now: float) -> bool:
        """False when the call is over, or was answered by somebody else."""
        if now >= self.until:
            return False
        one = self.dialog
        if one is None:
            return any(dialog.state is not DialogState.DELETED for dialog in self.call)
        if one.state is DialogState.DELETED or one.branch != self.branch:
            return False
        return one.state in _ANSWERED or not any(other.state in _ANSWERED for other in self.call)


class Endpoint:
    """Somebody who is kept reachable: `registered` and `subscribed` are when that is over, 0.0 for never was
    (monotonic seconds).
    """

    __slots__ = ("calls", "flow", "registered", "subscribed")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.registered = 0.0
        self.subscribed = 0.0
        self.calls: list[Held] = []

    def holds(self, now: float) -> bool:
        """False when nothing keeps it any more; calls that are over are forgotten."""
        if self.calls:
            self.calls = [held for held in self.calls if held.holds(now)]
        return self.registered > now or self.subscribed > now or bool(self.calls)


class Row(NamedTuple):
    """What outlives the process of an endpoint; times are monotonic seconds, 0.0 for none."""

    flow: Flow
    registered: float
    subscribed: float


class Traversal:
    """The endpoints of one server, by `sip:ip:port`; each is sent a request once per interval.

    `covered` answers whether somebody else (nathelper) pings the phone at the end of a flow: one flow, one
    ping. `beats` makes the requests.
    """

    def __init__(self, settings: Settings, beats: Beats, covered: Callable[[Flow], bool]) -> None:
        self.settings = settings
        self._beats = beats
        self._covered = covered
        self._parts: list[dict[str, Endpoint]] = [{} for _ in range(PARTS)]
        self._size = 0
        self._refused = 0
        self._done: int | None = None  # slices visited since time began; slice = number modulo PARTS
        self._next = 0.0

    def __len__(self) -> int:
        return self._size

    def use(self, settings: Settings) -> None:
        """Other settings are in force; without an interval nobody is kept any more."""
        self.settings = settings
        self._beats.settings = settings
        self._done = None
        if settings.interval <= 0:
            self._parts = [{} for _ in range(PARTS)]
            self._size = 0

    def takes(self, method: str, flow: Flow) -> bool:
        """True when `nat_keepalive()` means something: UDP, one of three methods, and not turned off."""
        return self.settings.interval > 0 and flow.transport == "udp" and method in METHODS

    # -- what starts it, and makes it last ---------------------------------------------------------

    def accepted(
        self, edits: Edits, request: Request, flow: Flow, status: int, fields: Sequence[Field], now: float
    ) -> None:
        """A request was answered, by us or by whoever is behind us, with these header fields.

        Only a 2xx counts, to a request whose script asked for it (`edits`); a Contact that was rewritten on
        its way comes back as that. A time is only ever extended: an un-REGISTER ends nothing.
        """
        if not (edits.keepalive and 200 <= status < 300 and self.takes(request.method, flow)):
            return
        if request.method == "REGISTER":
            wanted = [*_contacts(request.headers), *_contacts(edits.apply(request.headers, flow))]
            until = now + self._longest(wanted, _contacts(Headers(fields)))
            if until > now and (endpoint := self._endpoint(flow)) is not None:
                endpoint.registered = max(endpoint.registered, until)
        elif request.method == "SUBSCRIBE":
            until = now + (parse_seconds(Headers(fields).get("Expires") or "") or 0)
            if until > now and (endpoint := self._endpoint(flow)) is not None:
                endpoint.subscribed = max(endpoint.subscribed, until)

    def _longest(self, wanted: Sequence[NameAddr], granted: Sequence[NameAddr]) -> int:
        """The longest `;expires` in seconds among the contacts of a reply that are the request's own."""
        match = self._same_parts if self.settings.contact_match else _same_text
        found = [0]
        for one in granted:
            if any(match(one.uri, other.uri) for other in wanted):
                found.append(parse_seconds(one.param("expires") or "") or 0)
        return max(found)

    @staticmethod
    def _same_parts(one: Uri, other: Uri) -> bool:
        return _parts_of(one) == _parts_of(other)

    def calls(self, call: list[Dialog], flow: Flow, now: float) -> None:
        """A call that asked for it begins: its caller is kept until all `call` has come to is over."""
        if self.takes("INVITE", flow) and (endpoint := self._endpoint(flow)) is not None:
            endpoint.calls.append(Held(call, now + LONGEST_CALL))

    def rings(self, dialog: Dialog, call: list[Dialog], flow: Flow, now: float) -> None:
        """An answer, early or final, that made `dialog`: a callee that is in the table already is kept for
        the call too. When one has answered, the others are let go.
        """
        if not self._size or flow.transport != "udp":
            return
        endpoint = self._get(_uri(flow.remote))
        if endpoint is not None and not any(held.dialog is dialog for held in endpoint.calls):
            endpoint.calls.append(Held(call, now + LONGEST_CALL, dialog))

    def restore(self, rows: Iterator[Row], now: float) -> int:
        """Put what a file kept, as far as it is not over; how many that were."""
        count = 0
        for row in rows:
            if max(row.registered, row.subscribed) > now and self.takes("REGISTER", row.flow):
                endpoint = self._endpoint(row.flow)
                if endpoint is None:
                    break
                endpoint.registered = max(endpoint.registered, row.registered)
                endpoint.subscribed = max(endpoint.subscribed, row.subscribed)
                count += 1
        return count

    def rows(self, now: float) -> list[Row]:
        """What is to outlive the process; calls do not."""
        found = []
        for part in self._parts:
            for one in part.values():
                if one.registered > now or one.subscribed > now:
                    found.append(Row(one.flow, one.registered, one.subscribed))
        return found

    # -- questions ---------------------------------------------------------------------------------

    def socket_of(self, remote: Addr) -> str:
        """`$keepalive.socket(uri)`: `udp:ip:port` of ours; empty for an endpoint that is not kept."""
        endpoint = self._get(_uri(remote))
        return f"udp:{endpoint.flow.local}" if endpoint is not None else ""

    def gauges(self, now: float) -> dict[str, int]:
        """Kamailio's four statistics, counted now; and how many found no room."""
        everybody = [one for part in self._parts for one in part.values()]
        return {
            "nat_traversal:keepalive_endpoints": len(everybody),
            "nat_traversal:registered_endpoints": sum(one.registered > now for one in everybody),
            "nat_traversal:subscribed_endpoints": sum(one.subscribed > now for one in everybody),
            "nat_traversal:dialog_endpoints": sum(held.holds(now) for one in everybody for held in one.calls),
            "nat_traversal:refused_endpoints": self._refused,
        }

    # -- time --------------------------------------------------------------------------------------

    def due(self, now: float) -> list[tuple[Flow, bytes]]:
        """The requests to send now; call it at `deadline`. Who is not kept any more goes.

        A caller that comes late gets what it missed in batches, but no slice twice.
        """
        if not self._size or now < self._next:
            return []
        pause = self._beats.pause
        reached = int(now * PARTS / pause)
        done = self._done
        number = reached - 1 if done is None or done > reached else max(done, reached - PARTS)
        sends: list[tuple[Flow, bytes]] = []
        visited = 0
        while number < reached and visited < _BATCH:
            number += 1
            part = self._parts[number % PARTS]
            for uri, endpoint in list(part.items()):
                visited += 1
                if not endpoint.holds(now):
                    del part[uri]
                    self._size -= 1
                elif not self._covered(endpoint.flow):
                    beat = self._beats.for_flow(endpoint.flow, uri, now)
                    if beat:
                        sends.append((endpoint.flow, beat))
        self._done = number
        self._next = now + _STEP if number < reached else self._deadline_after(number, now)
        return sends

    def deadline(self, now: float) -> float | None:
        """When `due` is to be called next (monotonic seconds); None when nobody is kept."""
        if not self._size:
            return None
        return now if self._done is None else self._next

    def hear(self, response: Response, flow: Flow, now: float) -> bool:
        """Swallow an answer to one of our requests; False when it is not one."""
        return self._beats.hear(response, flow, now)

    def _deadline_after(self, done: int, now: float) -> float:
        """The moment of the next slice with somebody in it, neither too soon nor too far away."""
        pause = self._beats.pause
        ahead = int(min(_LOOK, pause) * PARTS / pause)
        for number in range(done + 1, done + ahead + 1):
            if self._parts[number % PARTS]:
                return max(number * pause / PARTS, now + _STEP)
        return now + min(_LOOK, pause)

    # -- the table ---------------------------------------------------------------------------------

    def _get(self, uri: str) -> Endpoint | None:
        return self._parts[crc32(uri.encode("utf-8", "surrogateescape")) % PARTS].get(uri)

    def _endpoint(self, flow: Flow) -> Endpoint | None:
        """The endpoint at the end of a flow, a new one if need be; None when the table is full."""
        uri = _uri(flow.remote)
        part = self._parts[crc32(uri.encode()) % PARTS]
        endpoint = part.get(uri)
        if endpoint is not None:
            endpoint.flow = flow
            return endpoint
        if self._size >= MOST:
            self._refused += 1
            return None
        if not self._size:
            self._done = None
        self._size += 1
        endpoint = part[uri] = Endpoint(flow)
        return endpoint


def nobody_kept(entropy: Callable[[int], bytes], address_for: Callable[[Addr], Addr]) -> Traversal:
    """A room that is turned off."""
    off = Settings(interval=0.0)
    return Traversal(off, Beats(off, entropy, address_for), bool)


def _uri(remote: Addr) -> str:
    return f"sip:{remote}"


def _contacts(headers: Headers) -> Sequence[NameAddr]:
    """The contacts that can be read; `*` is none."""
    found = []
    for value in headers.values("Contact"):
        try:
            found.append(parse_name_addr(value))
        except ParseError:
            continue
    return found


def _same_text(one: Uri, other: Uri) -> bool:
    return str(one) == str(other)


def _parts_of(uri: Uri) -> tuple[str, str, str, int, str]:
    """Scheme, user, host, port and transport, filled in where they are left out."""
    transport = (uri.param("transport") or ("tls" if uri.scheme == "sips" else "udp")).lower()
    port = uri.port or (5061 if transport == "tls" else 5060)
    return (uri.scheme, uri.user or "", uri.host.lower(), port, transport)

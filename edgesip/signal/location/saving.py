"""From a REGISTER to its answer: the registrar's changes applied, written, and only then confirmed.

Holds what waits for a store. Knows neither the store nor how an answer is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from edgesip.address import Flow
from edgesip.signal.decision import Forward, Reply, Save
from edgesip.signal.location import registrar
from edgesip.signal.location.gruu import Gruus
from edgesip.signal.location.ledger import SLICE, TABLE, Ledger
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.repair import source_uri
from edgesip.signal.proxy.inbound import Happened, Inbound, Note, note
from edgesip.store.api import Write

_EXPIRED = 100  # contacts that expire in one go: a few milliseconds
_NAMED = 20  # of these, how many get a line of their own in the log

Field = tuple[str, str]
News = Write | Happened | Note


class Outcome(NamedTuple):
    """What a REGISTER gets: a status, 0 when that waits for the store; and what happened.

    `then` is what becomes of it instead of a 200; `silent` when it gets no answer.
    """

    status: int
    reason: str
    headers: Sequence[Field]
    events: list[News]
    then: Forward | Reply | None = None
    silent: bool = False


class Saver:
    """The registrar of one server; `ledger` says when bindings are written to a store."""

    def __init__(
        self,
        usrloc: Usrloc,
        settings: registrar.Settings,
        ledger: Ledger,
        wall_offset: float,
        entropy: Callable[[int], bytes],
        listens: registrar.Listens = (),
        gruus: Gruus | None = None,
    ) -> None:
        self._usrloc = usrloc
        self.settings = settings
        self.ledger = ledger
        self._wall_offset = wall_offset
        self._entropy = entropy
        self._listens = listens
        self._gruus = gruus
        self.learning: Learning | None = None
        self._next_token = 0
        self.unstored: dict[int, tuple[Inbound, registrar.Saved, Save]] = {}
        self._over: list[Flow] = []
        self._accepted = self._rejected = 0

    @property
    def counters(self) -> dict[str, int]:
        """The statistics of Kamailio's registrar: two counters, and some of its settings."""
        settings = self.settings
        return {
            "registrar:accepted_regs": self._accepted,
            "registrar:rejected_regs": self._rejected,
            "registrar:default_expire": settings.default_expires,
            "registrar:default_expires_range": settings.default_expires_range,
            "registrar:expires_range": settings.expires_range,
            "registrar:max_expires": settings.max_expires,
            "registrar:max_contacts": settings.max_contacts,
        }

    def save(self, inbound: Inbound, now: float, wish: Save = registrar.PLAIN) -> Outcome:
        """Run the registrar on a REGISTER (RFC 3261 §10.3)."""
        request, flow = inbound.request, inbound.flow
        saved = registrar.save(
            self._usrloc,
            self.settings,
            request,
            flow,
            now,
            received=source_uri(flow),
            nated=inbound.nated,
            entropy=self._entropy,
            wish=wish,
            listens=self._listens,
            gruus=self._gruus,
        )
        if saved.status >= 300:
            self._rejected += 1
            return Outcome(saved.status, saved.reason, saved.headers, [])
        if inbound.bflags:
            saved = saved._replace(changes=tuple([_marked(one, inbound.bflags) for one in saved.changes]))
        registrar.apply(self._usrloc, saved.changes)
        events: list[News] = []
        for change in saved.changes:
            events += _seen(change, request.headers.call_id, flow)
            if self.learning is not None and change.binding is not None:
                self.learning.refreshed(change.binding, change.old, now)
        if wish.does(0x01):
            return self._confirmed(saved, wish, events, now)
        for change in saved.changes:
            self.ledger.note(change.ruid, change.old is None, change.binding is None, now)
        if not (self.ledger.at_once and saved.changes):
            return self._confirmed(saved, wish, events, now)
        self._next_token += 1
        token = self._next_token
        self.unstored[token] = (inbound, saved, wish)
        last = len(saved.changes) - 1
        for index, change in enumerate(saved.changes):
            record = change.binding.record(self._wall_offset) if change.binding else None
            events.append(Write(token if index == last else None, (TABLE, change.ruid), record))
        return Outcome(0, "", (), events)

    def stored(self, token: int, now: float, error: str | None) -> tuple[Inbound, Outcome] | None:
        """The store has, or has failed to, keep what was written under `token`: now its 200 may go."""
        if token < 0:
            self.ledger.stored(token, now, error)
        waiting = self.unstored.pop(token, None)
        if waiting is None:
            return None
        inbound, saved, wish = waiting
        events: list[News] = []
        if error is not None:
            call_id = inbound.request.headers.call_id
            events.append(note("error", "binding kept in memory only", call_id, why=error))
        return inbound, self._confirmed(saved, wish, events, now)

    def gone(self, bindings: Sequence[Binding], event: str, hook: str, now: float) -> list[News]:
        """What there is to say and to write when bindings have been removed."""
        events: list[News] = []
        for binding in bindings:
            events.append(note("info", event, binding.call_id, aor=binding.aor, contact=binding.contact))
            self.ledger.note(binding.ruid, False, True, now)
            if self.ledger.at_once:
                events.append(Write(None, (TABLE, binding.ruid), None))
            events.append(Happened(hook, binding))
        return events

    def given(self, binding: Binding, now: float) -> list[News]:
        """The same when an operator has put one into the table."""
        self.ledger.note(binding.ruid, True, False, now)
        events: list[News] = [
            note("info", "registered by order", binding.call_id, aor=binding.aor, contact=binding.contact),
            Happened("contact_added", binding),
        ]
        if self.ledger.at_once:
            events.append(Write(None, (TABLE, binding.ruid), binding.record(self._wall_offset)))
        return events

    def add(self, binding: Binding, now: float) -> list[News]:
        """Put a contact into the table by an operator's order."""
        self._usrloc.put(binding)
        return self.given(binding, now)

    def remove(self, bindings: Sequence[Binding], now: float) -> list[News]:
        """Take contacts out of the table by an operator's order."""
        for binding in bindings:
            self._usrloc.remove(binding)
        return self.gone(bindings, "unregistered by order", "contact_deleted", now)

    def lost(self, flow: Flow, now: float) -> tuple[Sequence[Binding], list[News]]:
        """A connection is gone: so are its contacts (`handle_lost_tcp`), but not those behind a proxy."""
        if not self._usrloc.settings.handle_lost_tcp:
            return (), []
        gone = [binding for binding in self._usrloc.by_flow(flow) if not binding.path]
        for binding in gone:
            self._usrloc.lose(binding)
        return gone, self.gone(gone, "contact lost its connection", "contact_deleted", now)

    def tick(self, now: float) -> list[News]:
        """Contacts whose time is over go; what was to be written back by now is."""
        expired = self._usrloc.expire(now, _EXPIRED)
        if self._usrloc.settings.close_expired_tcp:
            self._over += [one.flow for one in expired if one.flow.transport != "udp" and not one.path]
        events: list[News] = []
        for binding in expired[:_NAMED]:
            call_id = binding.call_id
            events.append(note("info", "contact expired", call_id, aor=binding.aor, contact=binding.contact))
        if len(expired) > _NAMED:
            events.append(note("info", "more contacts expired", contacts=len(expired) - _NAMED))
        for binding in expired:
            self.ledger.expired(binding.ruid, now)
            events.append(Happened("contact_expired", binding))
        return [*events, *self.written_back(now)]

    def deadline(self) -> float | None:
        """When `tick` is next due (monotonic seconds)."""
        due, flush = self._usrloc.deadline(), self.ledger.deadline()
        return due if flush is None else flush if due is None else min(due, flush)

    def take_over(self) -> list[Flow]:
        """Connections to be closed: their contacts have expired (`close_expired_tcp`)."""
        over, self._over = self._over, []
        return [flow for flow in over if self._usrloc.one_by_flow(flow) is None]

    def written_back(self, now: float, limit: int = SLICE) -> Sequence[Write]:
        """What is to be written by now of that which was not written at once."""
        return self.ledger.take(self._usrloc.get, now, self._wall_offset, limit)

    def write_all(self, now: float) -> Sequence[Write]:
        """All of that: the server ends."""
        self.ledger.hurry(now)
        return self.written_back(now, len(self.ledger))

    def _confirmed(self, saved: registrar.Saved, wish: Save, events: list[News], now: float) -> Outcome:
        self._accepted += 1
        headers = (*registrar.reply_headers(self._usrloc, saved.aor, now, saved.style), *saved.headers)
        then = wish.then
        if isinstance(then, Reply) and wish.does(0x10):
            then = Reply(then.status, then.reason, (*headers, *then.headers))
        return Outcome(200, "", headers, events, then, wish.does(0x02))


def _marked(change: registrar.Change, bflags: int) -> registrar.Change:
    """The contact that is saved has the flags that the script gave it (`setbflag`)."""
    if change.binding is None:
        return change
    return change._replace(binding=replace(change.binding, cflags=bflags))


def _seen(change: registrar.Change, call_id: str, flow: Flow) -> list[News]:
    """What the operator reads and the script hears of a change; the operator nothing of a refresh."""
    if change.binding is not None and change.old is not None:
        return [Happened("contact_updated", change.binding)]
    event = "registered" if change.binding else "unregistered"
    binding = change.binding or change.old
    if binding is None:
        return []
    source = str(flow.remote)
    return [
        note("info", event, call_id, aor=binding.aor, contact=binding.contact, source=source),
        Happened("contact_added" if change.binding else "contact_deleted", binding),
    ]

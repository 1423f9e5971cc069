"""What each command of the rtpproxy protocol does to the relay, and what is answered.

Holds the calls of those who send commands: by Call-ID and tags, who holds them, whom to tell of their end;
and the answers given lately, so that a repeated command does nothing twice. Refuses to know sockets and who
may ask; `now` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edgesip.address import Addr, bracketed, is_private
from edgesip.relay import rtpp, stated, tally
from edgesip.relay.core import RelayCore
from edgesip.relay.record import PCAP, WAV
from edgesip.relay.rtpp import Command, Delete, Notify, Place, Query, RtppError, Who
from edgesip.relay.seating import seats_for
from edgesip.relay.session import CALLEE, CALLER, Key
from edgesip.relay.silence import TIMEOUT
from edgesip.relay.switches import why_not
from edgesip.relay.tally import Tally
from edgesip.wish import Wish

REMEMBERED = 20_000
"""Answers kept at most."""
KEPT = 30.0
"""Seconds that an answer is given again to the same cookie from the same place."""
REVIEW = 60.0
"""Seconds between two looks for sessions that somebody else has ended."""
REFUSALS = 100
"""Refusals that wait to be taken at most; what is more is lost."""
SELF = "%%CC_SELF%%"
"""In place of the host of a socket: where the command came from."""

_EXTENSIONS = frozenset(
    {
        "20040107",  # the protocol
        "20050322",  # several streams, music on hold
        "20071116",  # other sizes of packets
        "20080403",  # Q
        "20081102",  # the codecs of a stream
        "20090810",  # networks by address family
        "20141004",  # Q and G with names
        "20150330",  # new ports for a stream
        "20191015",  # sub-commands
        "20200226",  # N
        "20230314",  # Q and the end in one
    }
)
_NOTIFYING = frozenset({"20081224", "20150617"})


class Notice(NamedTuple):
    """Somebody is to be told, at `socket`, that a session's media has ended."""

    socket: str
    text: bytes


class Refused(NamedTuple):
    """A command that was not done: its error number, the reason in words, and how it began."""

    code: int
    why: str
    command: str


class Answer(NamedTuple):
    """An answer to a cookie, and until when it is given again."""

    until: float
    text: bytes


@dataclass(slots=True, eq=False)
class _Call:
    """A session of somebody else: `holds` are the marks that keep it, `strong` or the side of a weak one."""

    key: Key
    call_id: str
    first: str
    second: str | None
    holds: set[str] = field(default_factory=set)
    notify: Notify | None = None

    def side_of(self, who: Who) -> str | None:
        """The side of the first tag that was given, None when it is another call's."""
        if who.first == self.first:
            return CALLER
        if who.second == self.first or (self.second is not None and who.first == self.second):
            return CALLEE
        return None


class Commands:
    """One relay as those see it who send commands.

    `toward` tells from which address of ours a host is reached, "" from none. `notify` are the sockets that
    may be told of timeouts, none by default.
    """

    def __init__(self, core: RelayCore, toward: Callable[[str], str], notify: Sequence[str] = ()) -> None:
        self._core = core
        self._toward = toward
        self._notify = frozenset(notify)
        self._calls: dict[str, list[_Call]] = {}
        self._keys: dict[Key, _Call] = {}
        self._unanswered: dict[Key, float] = {}
        self._answers: dict[tuple[object, str], Answer] = {}
        self._notices: list[Notice] = []
        self._refusals: list[Refused] = []
        self._tally = Tally()
        self._review_at = 0.0

    @property
    def counters(self) -> dict[str, int]:
        """Totals since the start, and the sessions that there are, by `rtpp:` names."""
        counts = self._tally.counts
        return {
            "rtpp:commands": counts["ncmds_rcvd"],
            "rtpp:repeated": counts["ncmds_rcvd"] - counts["ncmds_rcvd_ndups"],
            "rtpp:refused": counts["ncmds_errs"],
            "rtpp:sessions": sum([self._core.session(key) is not None for key in self._keys]),
            "rtpp:sessions_total": counts["nsess_created"],
        }

    def may_be_told(self, notify: Sequence[str]) -> None:
        """These sockets, from the next command on."""
        self._notify = frozenset(notify)

    # What comes in.

    def receive(self, data: bytes, sender: Addr, now: float) -> bytes:
        """The answer to a datagram: its cookie, and what its command comes to, now or when it came first."""
        words = rtpp.words_of(data)
        if not words:
            return self.ask(words, sender.host, now)
        cookie = words[0]
        known = self._answers.get((sender, cookie))
        if known is not None and now < known.until:
            self._tally.counts["ncmds_rcvd"] += 1
            self._tally.counts["ncmds_repld"] += 1
            return known.text
        text = cookie.encode("latin-1") + b" " + self.ask(words[1:], sender.host, now)
        self._remember((sender, cookie), Answer(now + KEPT, text), now)
        return text

    def ask(self, words: list[str], controller: str, now: float) -> bytes:
        """The answer to one command, with its line end; `controller` is the host it came from, "" if ours."""
        self._tally.counts["ncmds_rcvd"] += 1
        self._tally.counts["ncmds_rcvd_ndups"] += 1
        try:
            command = rtpp.parse(words)
            return self._counted(self._done(command, controller, now).encode("latin-1") + b"\n")
        except RtppError as error:
            if len(self._refusals) < REFUSALS:
                self._refusals.append(Refused(error.code, error.why, " ".join(words)[:200]))
            return self._counted(b"E%d\n" % error.code)

    def _counted(self, text: bytes) -> bytes:
        self._tally.counts["ncmds_errs" if text.startswith(b"E") else "ncmds_succd"] += 1
        self._tally.counts["ncmds_repld"] += 1
        return text

    def _remember(self, name: tuple[object, str], answer: Answer, now: float) -> None:
        answers = self._answers
        answers[name] = answer
        while len(answers) > REMEMBERED or (answers and next(iter(answers.values())).until <= now):
            del answers[next(iter(answers))]

    # Time.

    def take_notices(self) -> list[Notice]:
        """Whom to tell what."""
        notices, self._notices = self._notices, []
        return notices

    def take_refusals(self) -> list[Refused]:
        """What was refused, and why."""
        refusals, self._refusals = self._refusals, []
        return refusals

    def timed_out(self, key: Key, now: float) -> bool:
        """No media of this session was heard for too long: it ends, and who wanted to know is told.

        False when it is none of ours.
        """
        call = self._keys.get(key)
        if call is None:
            return False
        self._tally.counts["nsess_timeout"] += 1
        if call.notify is not None:
            self._notices.append(Notice(call.notify.socket, call.notify.tag.encode("latin-1") + b"\n"))
        self._core.condemn(key, TIMEOUT)
        self._end(call, now)
        return True

    def tick(self, now: float) -> None:
        """End what nobody has answered within the relay's timeout; forget what others have ended."""
        timeout = self._core.desk.limits.timeout
        if now >= self._review_at:
            self._review_at = now + REVIEW
            for call in [call for key, call in self._keys.items() if self._core.session(key) is None]:
                self._forget(call)
        while self._unanswered:
            key, since = next(iter(self._unanswered.items()))
            if now - since < timeout:
                return
            del self._unanswered[key]
            self.timed_out(key, now)

    # Commands.

    def _done(self, command: Command, controller: str, now: float) -> str:
        if isinstance(command, Place):
            return self._place(command, controller, now)
        if isinstance(command, Delete):
            return self._delete(command, now)
        if isinstance(command, Query):
            return self._query(command, now)
        if isinstance(command, rtpp.Version):
            return rtpp.VERSION
        if isinstance(command, rtpp.Feature):
            known = command.date in _EXTENSIONS or (command.date in _NOTIFYING and bool(self._notify))
            return "1" if known else "0"
        if isinstance(command, rtpp.DeleteAll):
            for call in list(self._keys.values()):
                self._end(call, now)
            return "0"
        if isinstance(command, rtpp.Totals):
            found = self._tally.totals(self._core)
            return tally.told(command.counters or tuple(found), command.verbose, found, rtpp.TOTALS_FAILED)
        if isinstance(command, rtpp.Info):
            return self._tally.info(self._core, list(self._keys), command.brief, now)
        if isinstance(command, rtpp.Play | rtpp.Stop):
            return self._play(command, now)
        return self._record(command, now)
        raise RtppError(rtpp.COPY_FAILED, "nothing can be recorded here")

    def _place(self, command: Place, controller: str, now: float) -> str:
        call, who = self._find(command.who), command.who
        if call is None and not command.create:
            return "0"
        notify = self._told(command.notify, controller)
        tagged = CALLER if call is None else call.side_of(who) or CALLER
        side = tagged if command.create else _other(tagged)
        session = None if call is None else self._core.session(call.key)
        seats = seats_for(self._core, self._toward, command, side, session)
        fresh = call is None
        if call is None:
            call = _Call((who.call_id, stated.OWNED + who.first), who.call_id, who.first, None)
            if not self._core.drained.isdisjoint(seat.interface for seat in seats):
                raise RtppError(rtpp.DRAINING, "no new sessions are taken")
            if not self._core.has_room():
                raise RtppError(rtpp.OVERLOADED, "too many sessions")
        if who.second is not None and (not command.create or tagged == CALLEE):
            call.second = who.first if tagged == CALLEE else who.second
        index = (who.media or 1) - 1
        session = self._core.session(call.key)
        there = session is not None and index in session.caller.lines
        tag = "" if side == CALLER else (call.second or "")
        said = stated.Said(tag, command.host, command.port, command.codecs or (), _wish(command))
        leg = stated.state(self._core, call.key, side, index, said, seats, now)
        if leg is None:
            raise RtppError(rtpp.NO_PORTS_NEW if fresh else rtpp.NO_PORTS_MORE, "no ports left")
        seat = seats[0 if leg.side == CALLER else 1]
        elsewhere = (command.renew and there) or leg.host != seat.host
        if elsewhere and not stated.move(self._core, call.key, leg.side, index, seat, now):
            raise RtppError(rtpp.NO_PORTS_MORE, "no ports left")
        self._hold(call, command, tagged, notify, now)
        if command.then is not None:
            self._delete(command.then, now)
        port = leg.lines[index].pair.rtp if index in leg.lines else 0
        return f"{port} {leg.written}" + (" 6" if ":" in leg.written else "")

    def _hold(self, call: _Call, command: Place, tagged: str, notify: Notify | None, now: float) -> None:
        """Who keeps the call, and that it is there."""
        if call.key not in self._keys:
            self._keys[call.key] = call
            self._calls.setdefault(call.call_id, []).append(call)
            self._tally.counts["nsess_created"] += 1
            self._unanswered[call.key] = now
        if command.weak:
            call.holds.add(tagged)
        elif command.create:
            call.holds.add("strong")
        call.notify = notify or call.notify
        session = self._core.session(call.key)
        if session is not None and session.answered and self._unanswered.pop(call.key, None) is not None:
            self._tally.counts["nsess_complete"] += 1
        elif call.key in self._unanswered:
            del self._unanswered[call.key]  # to the end of the line
            self._unanswered[call.key] = now

    def adopt(self, key: Key, now: float) -> None:
        """A session of a process that is gone: who owned it may go on with it, or end it."""
        session = self._core.session(key)
        if session is None or not key[1].startswith(stated.OWNED) or key in self._keys:
            return
        second = session.branches[stated.BRANCH].tag or None
        call = _Call(key, key[0], key[1].removeprefix(stated.OWNED), second, {"strong"})
        self._keys[key] = call
        self._calls.setdefault(call.call_id, []).append(call)
        if not session.answered:
            self._unanswered[key] = now

    def _told(self, notify: Notify | None, controller: str) -> Notify | None:
        """Who wants to be told, if he may be."""
        if notify is None:
            return None
        name = f"unix:{notify.socket}" if notify.socket.startswith("/") else notify.socket
        socket = name
        if name.startswith(SELF):
            socket = f"tcp:{bracketed(controller)}{name.removeprefix(SELF)}" if controller else ""
        if name not in self._notify or not socket:
            raise RtppError(rtpp.NOTIFY_DISABLED, f"{notify.socket} may not be told")
        return Notify(socket, notify.tag)

    def _delete(self, command: Delete, now: float) -> str:
        call, media = self._found(command.who), command.who.media
        session = self._core.session(call.key)
        if media is not None and session is not None and set(session.caller.lines) - {media - 1}:
            stated.end(self._core, call.key, media - 1, now)
            return "0"
        call.holds.discard((call.side_of(command.who) or CALLER) if command.weak else "strong")
        if not call.holds:
            self._end(call, now)
        return "0"

    def _end(self, call: _Call, now: float) -> None:
        """The call is over, with all its streams."""
        session = self._core.session(call.key)
        if session is not None:
            self._tally.ended(self._core, session, now)
            stated.end(self._core, call.key, None, now)
        self._forget(call)

    def _forget(self, call: _Call) -> None:
        self._keys.pop(call.key, None)
        self._unanswered.pop(call.key, None)
        left = [other for other in self._calls.get(call.call_id, ()) if other is not call]
        if left:
            self._calls[call.call_id] = left
        else:
            self._calls.pop(call.call_id, None)

    def _play(self, command: rtpp.Play | rtpp.Stop, now: float) -> str:
        call, playing = self._found(command.who), self._core.playing
        session, side = self._core.session(call.key), call.side_of(command.who) or CALLER
        if session is None or command.who.media not in (None, 1):
            raise RtppError(rtpp.PLAY_FAILED, "prompts play to the first stream")
        branch = session.branches[stated.BRANCH]
        if isinstance(command, rtpp.Stop) or command.count == 0:
            playing.stop(session, branch, side, now)
            return "0"
        leg = session.caller if side == CALLER else branch.leg
        if command.codecs is None and not any(line.fmts for line in leg.lines.values()):
            raise RtppError(rtpp.NO_CODECS, "nobody told the codecs of this session")
        why = playing.play(session, branch, side, command.name, command.count, now, codecs=command.codecs)
        if why:
            raise RtppError(rtpp.PLAY_FAILED, why)
        self._tally.counts["nplrs_created"] += 1
        return "0"

    def _record(self, command: rtpp.Record | rtpp.Unrecord, now: float) -> str:
        """Both sides are recorded in one file, as sound where it can be, where our recordings are.

        C may say what the file is called, not where it is, and no address: that would be a hidden tap.
        """
        call = self._found(command.who)
        session = self._core.session(call.key)
        kind = name = ""
        if isinstance(command, rtpp.Record) and session is not None:
            name, dot, suffix = command.target.rpartition(".")
            if not dot or suffix not in (PCAP, WAV):
                name, suffix = command.target, ""
            if "/" in name or name.startswith("udp:"):
                raise RtppError(rtpp.COPY_FAILED, f"{command.target}: a name of a file, without a folder")
            kind = PCAP if suffix == PCAP or why_not(session) else WAV
        self._core.record(call.key, kind, now, name)
        return "0"

    def _query(self, command: Query, now: float) -> str:
        call, index = self._found(command.who), (command.who.media or 1) - 1
        session = self._core.session(call.key)
        if session is None or index not in session.caller.lines:
            raise RtppError(rtpp.SESSION_UNKNOWN, f"there is no stream {index + 1}")
        side = call.side_of(command.who) or CALLER
        found = tally.stream(self._core, session, index, side, now)
        text = tally.told(command.counters or tally.SIMPLE, command.verbose, found, rtpp.QUERY_FAILED)
        if command.then is not None:
            self._delete(command.then, now)
        return text

    def _find(self, who: Who) -> _Call | None:
        for call in self._calls.get(who.call_id, ()):
            if call.side_of(who) is not None:
                if self._core.session(call.key) is not None:
                    return call
                self._forget(call)
        return None

    def _found(self, who: Who) -> _Call:
        call = self._find(who)
        if call is None:
            raise RtppError(rtpp.SESSION_UNKNOWN, f"there is no session {who.call_id}")
        return call


def _other(side: str) -> str:
    return CALLEE if side == CALLER else CALLER


def _wish(command: Place) -> Wish:
    """How the side shall be treated.

    One that must be symmetric is found wherever it sends from if its address cannot be right: it is private,
    and nobody told us where its SIP came from.
    """
    learn = "asymmetric" if command.asymmetric else ""
    if command.symmetric:
        learn = "loose" if is_private(command.host) else ""
    return Wish(learn=learn, trust=True, ptime=command.ptime)

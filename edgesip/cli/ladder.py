"""A call drawn as a ladder: a column for each end, an arrow for each message, events between the arrows.

Takes events as `trace.events` tells them and gives lines of text. Knows no server, no terminal and no file.
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from edgesip.cli.output import printable

Event = dict[str, Any]
Column = tuple[str, str]
"""Transport and address of an end; `OWN` is the server."""

OWN: Column = ("", "edgesip")
TIME = 9
"""Characters of a line's time."""
NARROWEST = 21
WIDEST = 46
"""Characters between two columns: below, messages are listed instead; above, arrows are too long to read."""
_USER = re.compile(r"(?:sips?:([^@;>:\s]+)(?::[^@\s]*)?@|tel:([^;>\s]+))", re.IGNORECASE)
_CREDENTIALS = re.compile(r"[\r\n](?:Proxy-)?Authorization[ \t]*:", re.IGNORECASE)


class Style(NamedTuple):
    """How wide, with which characters, whether in colour; without `columns` all calls share one list."""

    width: int = 80
    unicode: bool = False
    colour: bool = False
    columns: bool = True


class Ladder:
    """One call: `learn` what is known, so that all ends have their place; then the `lines` of each event."""

    def __init__(self, style: Style, full: bool = False) -> None:
        self._style = style
        self._full = full
        self._columns: list[Column] = []
        self._names: dict[Column, str] = {}
        self._locals: set[str] = set()
        self._places: list[int] = []
        self._drawn: list[Column] = []
        self._start: float | None = None
        self._seen: set[int] = set()
        self._line, self._dash, self._right, self._left, self._dot = (
            ("│", "─", "→", "←", "·") if style.unicode else ("|", "-", ">", "<", "*")
        )

    def learn(self, events: Iterable[Event]) -> None:
        """Take in who takes part."""
        for event in events:
            if event["kind"] != "message":
                continue
            column = (event["transport"], event["remote"])
            if column not in self._columns:
                self._columns.append(column)
                if len(self._columns) == 1:
                    self._columns.append(OWN)
            self._locals.add(event["local"])
            user = _user(event["to"] if event["start"].startswith("SIP/") else event["from"])
            if event["direction"] == "in" and user:
                self._names.setdefault(column, user)

    def lines(self, event: Event) -> Iterator[str]:
        """The event; before it the heads of the columns when there are new ones."""
        self.learn((event,))
        if self._start is None:
            self._start = event["time"]
            if self._style.columns:
                yield self._title(event)
        if self._style.columns and self._columns != self._drawn:
            self._drawn = list(self._columns)
            yield from self._heads()
        if event["kind"] == "message":
            yield self._message(event)
            if self._full:
                yield from (f"    {printable(line)}".rstrip() for line in event["text"].splitlines())
        else:
            yield from self._note(event)

    def again(self, event: Event) -> Iterator[str]:
        """The title once more, since another call was shown meanwhile; the heads will follow."""
        self._drawn = []
        yield self._title(event)

    def _title(self, event: Event) -> str:
        day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
        name = event["call_id"]
        return self._coloured(f"{day}  {f'Call-ID {printable(name)}' if name else 'no call'}", "1")

    # -- columns -----------------------------------------------------------------------------------

    def _heads(self) -> Iterator[str]:
        """Names over addresses; nothing where messages are listed."""
        self._places = []
        count = len(self._columns)
        if count < 2:
            return
        texts = [self._head(column) for column in self._columns]
        first = max(TIME + 1, (max(map(len, texts[0])) + 1) // 2)
        last = self._style.width - 1 - (max(map(len, texts[-1])) + 1) // 2
        room = min((last - first) // (count - 1), WIDEST)
        if room < NARROWEST:
            return
        self._places = [first + room * index for index in range(count)]
        for row in range(2):
            line = ""
            for place, text in zip(self._places, texts, strict=True):
                words = _cut(text[row], room - 1)
                line = line.ljust(max(place - len(words) // 2, len(line))) + words
            yield self._coloured(line, "1")
        yield self._blank().rstrip()

    def _head(self, column: Column) -> tuple[str, str]:
        if column == OWN:
            return ("edgesip", printable(min(self._locals)) if len(self._locals) == 1 else "")
        transport, address = column
        name = self._names.get(column, "")
        return (printable(f"{name} ({transport})" if name else transport), _short(printable(address)))

    def _blank(self) -> str:
        line = [" "] * self._style.width
        for place in self._places:
            line[place] = self._line
        return "".join(line)

    # -- rows --------------------------------------------------------------------------------------

    def _when(self, event: Event) -> str:
        return f"{event['time'] - (self._start or 0.0):+{TIME}.3f}"

    def _message(self, event: Event) -> str:
        words, marks, colour = self._label(event)
        incoming = event["direction"] == "in"
        if not self._places:
            return self._listed(event, words, marks, colour)
        own = self._places[1]
        other = self._places[self._columns.index((event["transport"], event["remote"]))]
        begin, end = min(own, other) + 1, max(own, other)
        label = _cut(_cut(words, end - begin - 4 - len(marks)) + marks, end - begin - 4)
        rest = end - begin - len(label) - 2
        left = self._dash * (rest // 2)
        right = self._dash * (rest - rest // 2)
        if incoming == (other < own):
            right = right[:-1] + self._right
        else:
            left = self._left + left[1:]
        arrow = f"{left} {self._coloured(label, colour)} {right}"
        blank = self._blank()
        return (self._when(event) + blank[TIME:begin] + arrow + blank[end:]).rstrip()

    def _listed(self, event: Event, words: str, marks: str, colour: str) -> str:
        """Who sent it to whom, in words."""
        remote = f"{event['transport']}:{printable(event['remote'])}"
        ends = (remote, "edgesip") if event["direction"] == "in" else ("edgesip", remote)
        way = f" {'→' if self._style.unicode else '->'} "
        line = f"{self._when(event)}  {way.join(ends):<36}  "
        call = "" if self._style.columns else f"  [{printable(event['call_id'])[:16]}]"
        label = _cut(words, max(self._style.width - len(line) - len(marks) - len(call), 10)) + marks
        return f"{line}{self._coloured(label, colour)}{call}"

    def _label(self, event: Event) -> tuple[str, str, str]:
        """What stands on the arrow, what stands in brackets after it, and the colour."""
        start, method = event["start"], event["cseq"].rpartition(" ")[2]
        marks = []
        copy = hash((event["direction"], event["remote"], event["text"]))
        if copy in self._seen:
            marks.append("again")
        self._seen.add(copy)
        if start.startswith("SIP/2.0 "):
            words = start[8:]
            colour = {"1": "36", "2": "32"}.get(start[8:9], "31")
            if start[8:11] in ("401", "407"):
                colour = "33"
            if method != "INVITE":
                marks.append(method)
        else:
            words, _, uri = start.partition(" ")
            colour = "1;36"
            if ";tag=" not in event["to"]:
                words = f"{words} {_user(event['to'] if words == 'REGISTER' else uri)}".rstrip()
            if _CREDENTIALS.search(event["text"]):
                marks.append("auth")
        kind = event["content_type"].partition(";")[0].strip().lower()
        if kind and not event["text"].endswith("\r\n\r\n"):
            marks.append(kind.removeprefix("application/"))
        return printable(words), printable(f" ({', '.join(marks)})") if marks else "", colour

    def _note(self, event: Event) -> Iterator[str]:
        """An event in words, over the columns, as many lines as it takes."""
        fields = [f"{name} {value}" for name, value in event["fields"].items() if value != ""]
        text = printable(f"{event['event']}: {', '.join(fields)}" if fields else event["event"])
        if event["event"] == "decided":
            text = printable("; ".join(fields).removeprefix("decision "))
        if not self._style.columns and event["call_id"]:
            text += f"  [{printable(event['call_id'])[:16]}]"
        urgent = event["level"] in ("warning", "error")
        first = self._places[0] + 2 if self._places else TIME + 2
        room = max(self._style.width - first - 2, 20)
        blank = self._blank()
        when, mark = self._when(event), "!" if urgent else self._dot
        for part in textwrap.wrap(text, room, break_on_hyphens=False):
            words = self._coloured(f"{mark} {part}", "33" if urgent else "2")
            after = blank[first + 2 + len(part) + 1 :]
            yield f"{when:{TIME}}{blank[TIME:first]}{words} {after}".rstrip()
            when, mark = "", " "

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._style.colour else text


def drawn(events: list[Event], style: Style, full: bool = False) -> Iterator[str]:
    """Every call of these events as a ladder of its own, in the order in which they began."""
    calls: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda one: float(one["time"])):
        calls.setdefault(event["call_id"], []).append(event)
    first = True
    for found in calls.values():
        if not first:
            yield ""
        first = False
        ladder = Ladder(style, full)
        ladder.learn(found)
        for event in found:
            yield from ladder.lines(event)


def _user(value: str) -> str:
    """The user of the first URI in a text; empty when it has none."""
    found = _USER.search(value)
    return "" if found is None else found[1] or found[2]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 2, 0)] + ".."


def _short(address: str) -> str:
    """An address that fits over a column: of a long IPv6 one the beginning, the end and the port."""
    return address if len(address) <= 22 else f"{address[:9]}..{address[-11:]}"

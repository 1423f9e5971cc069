"""rtpproxy's flags and the words of rtpengine's form that mean something here, in one table.

Reads a string of them into a `Wish`. Refuses to know calls, which interfaces there are, and how a
wish is granted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from edgesip.address import parse_ip
from edgesip.wish import Wish

INTERNAL, EXTERNAL = "internal", "external"
"""The interfaces that `i` and `e` speak of."""
LONGEST = 200
"""Milliseconds in a packet at most (`zNN`): what is longer no phone plays."""


class Flag(NamedTuple):
    """One thing that can be asked for: its letter, "" for none, its words, what of a `Wish` it sets.

    A word that ends with "=" takes a value, which `sets` names the field of.
    """

    letter: str
    words: tuple[str, ...]
    sets: Mapping[str, str | bool]
    meaning: str


TABLE: tuple[Flag, ...] = (
    Flag("1", ("via-branch=1",), {"key": "1"}, "the session is named by the branch of the top Via too"),
    Flag("2", ("via-branch=2",), {"key": "2"}, "the same, of the second Via"),
    Flag("3", ("via-branch=auto",), {"key": "3"}, "the first in requests, the second in replies"),
    Flag("b", ("via-branch=extra",), {"key": "b"}, "the session is named by `rtpproxy.extra_id_pv` too"),
    Flag("a", ("asymmetric",), {"learn": "asymmetric", "trust": True}, "it sends from elsewhere; implies r"),
    Flag("l", (), {"lookup": True}, "only where the call has a session"),
    Flag(
        "i", (INTERNAL,), {"side": INTERNAL}, "the interface `internal`: first its sender's, then the other"
    ),
    Flag("e", (EXTERNAL,), {"side": EXTERNAL}, "the interface `external`, likewise: ie, ei, ii or ee"),
    Flag("x", ("auto-bridge",), {"family": "other"}, "the other side gets the other address family"),
    Flag("f", ("force",), {"force": True}, "even where the SDP says that somebody relays it already"),
    Flag("r", ("trust-address",), {"trust": True}, "its SDP address is right, whatever its SIP came from"),
    Flag("o", ("replace-origin", "replace=origin"), {"origin": True}, "o= names the relay too"),
    Flag("c", ("replace-session-connection",), {"connection": True}, "so does the session's c=, if unused"),
    Flag("w", ("symmetric", "endpoint-learning=heuristic"), {"learn": "nat"}, "learn where it really is"),
    Flag("z", ("repacketize=",), {"repacketize=": "ptime"}, "zNN: its RTP goes on with NN ms in a packet"),
    Flag("t", (), {"whole": True}, "destroy: every branch (it always is); elsewhere nothing"),
    Flag("", ("endpoint-learning=off",), {"learn": "strict"}, "only its SDP address and port are believed"),
    Flag(
        "", ("SIP-source-address",), {"trust": False}, "the usual way: the source of its SIP counts as well"
    ),
    Flag(
        "", ("learn=loose", "endpoint-learning=delayed"), {"learn": "loose"}, "any source is, with a warning"
    ),
    Flag("", ("media-handover",), {"handover": True}, "another stream may go on for one that fell silent"),
    Flag("", ("strict-source",), {}, "always so: once settled, no other source is heard"),
    Flag("", ("ICE=remove",), {}, "always so: candidates are taken out of what is relayed"),
    Flag("", ("address-family=IP4",), {"family": "IP4"}, "the other side gets an IPv4 address"),
    Flag("", ("address-family=IP6",), {"family": "IP6"}, "the other side gets an IPv6 address"),
    Flag("", ("direction=",), {"direction=": "side"}, "an interface: first its sender's, then the other's"),
    Flag("", ("from-interface=",), {"from-interface=": "sender"}, "the interface of its sender's side"),
    Flag("", ("to-interface=",), {"to-interface=": "receiver"}, "the interface of the other side"),
    Flag("", ("media-address=",), {"media-address=": "address"}, "the address to write, instead of ours"),
)
"""Everything that `rtpproxy_offer` and its like take, with what it means."""

_LETTERS: Mapping[str, Flag] = MappingProxyType({flag.letter: flag for flag in TABLE if flag.letter})
_WORDS: Mapping[str, Flag] = MappingProxyType({word.lower(): flag for flag in TABLE for word in flag.words})
_PIECE = re.compile(rf"[zZ][0-9]+|[{''.join(sorted(set(_LETTERS) - {'z'}))}ACEFILORTWX]")


@lru_cache(maxsize=1024)
def read(text: str) -> Wish:
    """The wish that these flags express; ValueError names the one that is none, or that does not fit.

    Words and strings of letters are parted by spaces; what is a word is no letters. Letters may be of either
    case, but for `b`.
    """
    fields: dict[str, str | bool | int] = {}
    sides: list[str] = []
    for token in text.split():
        for flag, word, value in _flags_in(token):
            _take(flag, word, value, fields, sides)
    if sides:
        if len(sides) != 2:
            raise ValueError(f"{text!r} names {len(sides)} side: i and e come in twos, as in ie")
        fields["sender"], fields["receiver"] = sides
    return Wish(asked=text, **fields)  # type: ignore[arg-type]  # each row of the table names fields and their types


def _flags_in(token: str) -> list[tuple[Flag, str, str]]:
    """Each flag of a token, with the word that takes a value, and the value."""
    name, equals, value = token.partition("=")
    whole = _WORDS.get(token.lower())
    if whole is not None and not token.endswith("="):
        return [(whole, "", "")]
    valued = _WORDS.get(f"{name.lower()}=") if equals else None
    if valued is not None and value:
        return [(valued, valued.words[0], value)]
    pieces = _PIECE.findall(token)
    if "".join(pieces) != token:
        raise ValueError(f"{token!r} is no flag of the relay{_nearest(token)}")
    found = []
    for piece in pieces:
        flag = _LETTERS[piece[0].lower()]
        found.append((flag, flag.words[0] if piece[1:] else "", piece[1:]))
    return found


def _take(flag: Flag, word: str, value: str, fields: dict[str, str | bool | int], sides: list[str]) -> None:
    """Lay one flag over the fields of the wish."""
    for name, what in flag.sets.items():
        field, given = (str(what), value) if word and name == word else (name, what)
        if field == "side":
            if len(sides) == 2:
                raise ValueError("more than two sides: i and e come in twos, as in ie")
            sides.append(str(given))
        elif field == "ptime":
            fields[field] = _milliseconds(str(given))
        elif field == "address":
            fields[field] = _literal(str(given))
        else:
            fields[field] = given


def _milliseconds(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) < 5 else 0
    if not 10 <= number <= LONGEST or number % 10:
        raise ValueError(f"z{text}: milliseconds in a packet are 10, 20, 30... up to {LONGEST}")
    return number


def _literal(text: str) -> str:
    ip = parse_ip(text)
    if ip is None:
        raise ValueError(f"{text!r} is no IP address")
    return str(ip)


def _nearest(token: str) -> str:
    names = {word.lower(): word for flag in TABLE for word in flag.words}
    close = difflib.get_close_matches(token.lower(), names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {names[close[0]]}?"
    return f"; there are the letters {' '.join(_LETTERS)}, and words (docs/route-scripts.md)"

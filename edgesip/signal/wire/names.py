"""Names of header fields: compact forms, the RFC's spelling, and which of them hold lists (RFC 3261 §7.3).

Refuses to know what any header means.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from edgesip.signal.wire.grammar import LWS, ParseError, is_token

_COMPACT: Final = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

LISTS: Final = frozenset(
    [
        "Accept",
        "Accept-Contact",
        "Accept-Encoding",
        "Accept-Language",
        "Alert-Info",
        "Allow",
        "Allow-Events",
        "Call-Info",
        "Contact",
        "Content-Encoding",
        "Content-Language",
        "Diversion",
        "Error-Info",
        "History-Info",
        "In-Reply-To",
        "P-Asserted-Identity",
        "P-Associated-URI",
        "P-Preferred-Identity",
        "Path",
        "Privacy",
        "Proxy-Require",
        "Reason",
        "Record-Route",
        "Reject-Contact",
        "Remote-Party-ID",
        "Require",
        "Route",
        "Security-Client",
        "Security-Server",
        "Security-Verify",
        "Service-Route",
        "Supported",
        "Unsupported",
        "Via",
        "Warning",
    ]
)

KNOWN: Final = (
    LISTS
    | set(_COMPACT.values())
    | {
        "Authentication-Info",
        "Authorization",
        "CSeq",
        "Content-Disposition",
        "Date",
        "Expires",
        "Flow-Timer",
        "Join",
        "MIME-Version",
        "Max-Breadth",
        "Max-Forwards",
        "Min-Expires",
        "Min-SE",
        "Organization",
        "P-Access-Network-Info",
        "P-Charging-Vector",
        "Priority",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "RAck",
        "RSeq",
        "Replaces",
        "Reply-To",
        "Retry-After",
        "SIP-ETag",
        "SIP-If-Match",
        "Server",
        "Subscription-State",
        "Timestamp",
        "User-Agent",
        "WWW-Authenticate",
    }
)
_BY_LOWER: Final = {name.lower(): name for name in KNOWN} | _COMPACT


@lru_cache(maxsize=512)
def _spelled(name: str) -> str:
    name = name.rstrip(LWS)  # HCOLON allows it; before the name it would be folding
    if not is_token(name):
        raise ParseError("bad header name")
    return _BY_LOWER.get(name.lower(), name)


class _Names(dict[str, str]):
    """Canonical names by spelling: the usual spellings are stored, others are worked out each time."""

    def __missing__(self, name: str) -> str:
        return _spelled(name)


NAMES: Final = _Names(
    {name: name for name in KNOWN}
    | {name.lower(): name for name in KNOWN}
    | _COMPACT
    | {short.upper(): name for short, name in _COMPACT.items()}
)


def canonical(name: str) -> str:
    """The name as `Headers.fields` spells it: compact forms expanded, known names in their RFC case."""
    return NAMES[name]

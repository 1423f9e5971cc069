"""Who a message says it is from, and whether that is whose password came with it (RFC 3261 §22, RFC 3325).

Every name is read with exactly one decoding of its escapes and compared whole, ASCII case aside: a name that
only looks like another is another (threat 5). Knows no passwords, no scripts and not who is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import parse_name_addr

ASSERTED = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion")
"""What only somebody trusted may say of who calls, or of who was called before (RFC 3325 §5, RFC 5806);
P-Preferred-Identity ends at the first proxy in any case (RFC 3325 §9.2)."""
HIDDEN = ("P-Asserted-Identity", "Remote-Party-ID")
"""What `Privacy: id` keeps from those who are not trusted (RFC 3325 §7)."""
ANONYMOUS = ("anonymous", "anonymous.invalid")
"""User and host of the From of those who do not say who they are (RFC 3323 §4.1.1.3)."""


def folded(text: str) -> str:
    """A name for comparison: only ASCII letters lose their case, for U+212A is no k."""
    return text.lower() if text.isascii() else text


def is_named(uri: Uri, user: str, domain: str = "") -> bool:
    """True when the URI is this user's; with a domain, at that host."""
    name = uri.username
    return name is not None and folded(name) == folded(user) and (not domain or uri.host == domain.lower())


def check_identity(request: Request, user: str, is_other: Callable[[str], bool], domain: str = "") -> str:
    """The header field that claims to be somebody else than `user`, or '' when none does.

    From must be the user, or nobody (`anonymous@anonymous.invalid`); in REGISTER To must be too. All that
    P-Preferred-Identity says must be the user. Contact may have any name that is nobody's: many phones make
    one up; `is_other` says whether a name is a user. Raises ParseError for what cannot be read.
    """
    headers = request.headers
    origin = headers.from_.uri
    if request.method == "REGISTER":
        if not is_named(headers.to.uri, user, domain):
            return "To"
        return "" if is_named(origin, user, domain) else "From"
    if not is_named(origin, user, domain) and (origin.username, origin.host) != ANONYMOUS:
        return "From"
    if headers.find("P-Preferred-Identity") is not None:
        for value in headers.values("P-Preferred-Identity"):
            if not is_named(parse_name_addr(value).uri, user, domain):
                return "P-Preferred-Identity"
    for contact in headers.contacts:
        name = contact.uri.username
        if name and folded(name) != folded(user) and is_other(name):
            return "Contact"
    return ""


def present(headers: Headers, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that the message has fields of."""
    return tuple([name for name in names if headers.find(name) is not None])


def wants_privacy(headers: Headers) -> bool:
    """True when the caller's identity is to stay among the trusted: `Privacy: id` (RFC 3325 §9.3), or what
    Remote-Party-ID had for it, `privacy=full`."""
    if headers.find("Privacy") is not None:
        asked = [part.strip().lower() for line in headers.values("Privacy") for part in line.split(";")]
        if "id" in asked:
            return True
    if headers.find("Remote-Party-ID") is None:
        return False
    wishes = [parse_name_addr(value).param("privacy") for value in headers.values("Remote-Party-ID")]
    return any(wish is not None and wish.strip('"').lower() in ("full", "uri") for wish in wishes)

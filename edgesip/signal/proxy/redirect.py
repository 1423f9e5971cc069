"""Redirection: where a caller is told to go, and where a 3xx tells us to go, best first."""

from __future__ import annotations

from collections.abc import Sequence

from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.fork import Fork
from edgesip.signal.wire.message import Response


def contacts_of(contacts: Sequence[object]) -> tuple[tuple[str, str], ...]:
    """Contact header fields, those with the highest q first; what has none stands for 1 (RFC 3261 §20.10)."""
    rated = [(_q_of(one), one) for one in contacts]
    rated.sort(key=lambda pair: -pair[0])
    return tuple(("Contact", _value(one)) for _, one in rated)


def new_contacts(fork: Fork, response: Response) -> tuple[tuple[str, float], ...]:
    """The contacts of a 3xx that the fork has not tried yet, with their q."""
    found = []
    for contact in response.headers.contacts:
        uri = str(contact.uri)
        if contact.uri.scheme in ("sip", "sips") and not fork.tries(uri):
            found.append((uri, _q_param(contact.param("q"))))
    found.sort(key=lambda one: -one[1])
    return tuple(found)


def _q_of(contact: object) -> float:
    return contact.q if isinstance(contact, Binding) and contact.q >= 0 else 1.0


def _value(contact: object) -> str:
    if not isinstance(contact, Binding):
        return f"<{contact}>"
    q = f";q={contact.q:g}" if contact.q >= 0 else ""
    return f"<{contact.contact}>{q}"


def _q_param(text: str | None) -> float:
    """A q parameter, 0 to 1; 1 when there is none that can be read (§20.10)."""
    whole, _, rest = (text or "1").partition(".")
    if whole not in ("0", "1") or not (rest or "0").isdigit() or len(rest) > 3 or not rest.isascii():
        return 1.0
    return min(float(f"{whole}.{rest or '0'}"), 1.0)

"""Where a redirected caller is told to go: bindings and URIs as Contact headers, best first."""

from __future__ import annotations

from collections.abc import Sequence

from edgesip.signal.location.usrloc import Binding


def contacts_of(contacts: Sequence[object]) -> tuple[tuple[str, str], ...]:
    """Contact header fields, those with the highest q first; what has none stands for 1 (RFC 3261 §20.10)."""
    rated = [(_q_of(one), one) for one in contacts]
    rated.sort(key=lambda pair: -pair[0])
    return tuple(("Contact", _value(one)) for _, one in rated)


def _q_of(contact: object) -> float:
    return contact.q if isinstance(contact, Binding) and contact.q >= 0 else 1.0


def _value(contact: object) -> str:
    if not isinstance(contact, Binding):
        return f"<{contact}>"
    q = f";q={contact.q:g}" if contact.q >= 0 else ""
    return f"<{contact.contact}>{q}"

"""Decisions: what a route script returns. Frozen values; the machinery acts on them.

RFC words for what they mean; nothing here knows how any of it is done.
"""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """Proxy the request (RFC 3261 §16) to these targets in parallel; none means the request URI itself.

    A target is a SIP URI text or a binding returned by `call.lookup()`.
    """

    targets: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the request ourselves with a final response; `headers` are added to it."""

    status: int
    reason: str = ""
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Challenge:
    """Ask for credentials: 401 where we are the registrar, 407 where we proxy (RFC 3261 §22)."""

    status: int = 407
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Save:
    """Run the registrar on this REGISTER and answer it once its changes are stored (RFC 3261 §10.3)."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer 302 with these contact URIs."""

    contacts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Say nothing at all."""


Decision = Forward | Reply | Challenge | Save | Redirect | Drop

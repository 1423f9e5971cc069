"""Decisions: what a route script returns. Frozen values; the machinery acts on them.

RFC words for what they mean; nothing here knows how any of it is done.
"""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """Proxy the request (RFC 3261 §16) to these targets in parallel; none means the request URI itself.

    A target is a SIP URI text or a binding returned by `call.lookup()`. `serial`: one after the other, each
    when those before it have failed; neighbours among bindings that have the same q ring together. `recurse`:
    contacts of a 3xx are tried instead of passed on. `stateless`: to the first target, without a transaction
    (§16.11): no failover, no media, no dialog.
    """

    targets: tuple[object, ...] = ()
    serial: bool = False
    recurse: bool = False
    stateless: bool = False


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
    """Answer 302, or another 3xx, with these contacts, URI texts or bindings: the highest q first."""

    contacts: tuple[object, ...]
    status: int = 302


@dataclass(frozen=True, slots=True)
class Drop:
    """Say nothing at all."""


Decision = Forward | Reply | Challenge | Save | Redirect | Drop

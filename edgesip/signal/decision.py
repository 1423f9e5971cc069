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
    """Ask for credentials: 401 where we are the registrar, 407 where we proxy (RFC 3261 §22).

    `realm` is another one than the profile's, for a script that knows several.
    """

    status: int = 407
    stale: bool = False
    realm: str = ""


@dataclass(frozen=True, slots=True)
class Save:
    """Run the registrar on this REGISTER and answer it once its changes are stored (RFC 3261 §10.3).

    `flags` are Kamailio's numbers for what can be said by name as well: `memory_only` (0x01) writes nothing
    to the store; `no_reply` (0x02) sends no 200; `one_contact` (0x04) leaves the user this contact alone;
    `exact_expires` (0x08) takes nothing away at random; `fill_reply` (0x10) puts the registrar's header
    fields into the Reply that is `then`. `then` is what becomes of the request instead of the 200, once
    stored. `uri` is whose contacts these are instead of To's; `expires` (seconds), `q`, `max_contacts` and
    `socket` (`udp:ADDR:PORT`, one of ours) count instead of what the phone and the profile say.
    """

    flags: int = 0
    uri: str = ""
    memory_only: bool = False
    no_reply: bool = False
    one_contact: bool = False
    exact_expires: bool = False
    fill_reply: bool = False
    expires: int | None = None
    q: float | None = None
    max_contacts: int | None = None
    socket: str = ""
    then: Forward | Reply | None = None

    def does(self, flag: int) -> bool:
        """True when this one of Kamailio's flags is set, by number or by name."""
        named = (self.memory_only, self.no_reply, self.one_contact, self.exact_expires, self.fill_reply)
        return bool(self.flags & flag) or named[flag.bit_length() - 1]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer 302, or another 3xx, with these contacts, URI texts or bindings: the highest q first."""

    contacts: tuple[object, ...]
    status: int = 302


@dataclass(frozen=True, slots=True)
class Drop:
    """Say nothing at all."""


Decision = Forward | Reply | Challenge | Save | Redirect | Drop

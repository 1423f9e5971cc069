"""The registrar: what one REGISTER does to the location table (RFC 3261 §10.3, location.md §2).

Holds the rules alone and changes nothing: `save` reads the table and answers with a status and a list of
changes, `apply` makes them. It refuses to know who may register what (digest and the script decide
before), stores, and how the answer is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from edgesip.address import Flow, is_ip, is_loopback, is_sendable, same_host
from edgesip.signal.location.matching import Claim, Standing, match, standing
from edgesip.signal.location.usrloc import Binding, Usrloc, UsrlocSettings
from edgesip.signal.wire.grammar import ParseError, digits, is_token, quote, unquote
from edgesip.signal.wire.headers import Headers, parse_seconds
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import NameAddr, parse_name_addr

Fields = tuple[tuple[str, str], ...]

CONTACT_MAX_SIZE = 512  # octets of a Contact URI (`contact_max_size`)
CALL_ID_MAX_SIZE = 255
AOR_MAX_SIZE = 256
AGENT_MAX_SIZE = 255  # a longer User-Agent is cut
INSTANCE_MAX_SIZE = 255
CONTACTS_MAX = 32  # contacts of one REGISTER
BRIEF_MAX = 3600  # only a shorter wish may be answered 423 (RFC 3261 §10.3 step 7)
REG_ID_MAX = 2**31 - 1

_Q = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch


@dataclass(frozen=True, slots=True)
class Settings:
    """The `[registrar]` slice: seconds, and contacts per address of record; a maximum of 0 means none."""

    default_expires: int = 3600
    min_expires: int = 60
    max_expires: int = 0
    max_contacts: int = 0


class Change(NamedTuple):
    """One binding to be written (`binding` None: removed); `old` is what it replaces, None for a new one."""

    ruid: str
    binding: Binding | None
    old: Binding | None


class Saved(NamedTuple):
    """What a REGISTER comes to. On 200 the caller applies `changes` and answers with `reply_headers`.

    `headers` are those of a refusal (P-Registrar-Error and what the status asks for); `aor` is the key,
    '' where none could be read.
    """

    status: int
    reason: str
    headers: Fields
    changes: tuple[Change, ...]
    aor: str


class _Refusal(Exception):
    """A REGISTER that ends here; never leaves this room."""

    def __init__(self, status: int, why: str, reason: str = "", headers: Fields = ()) -> None:
        super().__init__(why)
        self.status = status
        self.reason = reason
        self.headers = (*headers, ("P-Registrar-Error", why))


class _Asked(NamedTuple):
    """One Contact of the request, read and found sound."""

    uri: str
    expires: int  # seconds; 0 removes
    q: float
    instance: str
    reg_id: int


class _Sender(NamedTuple):
    """What all bindings of one REGISTER have in common."""

    aor: str
    call_id: str
    cseq: int
    received: str
    flow: Flow
    user_agent: str
    nated: bool
    methods: tuple[str, ...]
    now: float


def save(
    usrloc: Usrloc,
    settings: Settings,
    request: Request,
    flow: Flow,
    now: float,
    *,
    received: str,
    nated: bool,
    entropy: Callable[[int], bytes],
) -> Saved:
    """Judge a REGISTER that came by `flow` (RFC 3261 §10.3). All of its contacts are taken, or none.

    `received` is the source URI and `nated` whether the sender is behind a NAT, both kept with each
    binding. Raises nothing: a bad request is a status with its reason.
    """
    aor = ""
    try:
        aor = _aor_of(request.headers, usrloc)
        _check_require(request.headers)
        rows = usrloc.lookup(aor, now)
        values = request.headers.values("Contact")
        if not values:
            changes = []
        elif "*" in values:
            changes = _remove_all(values, request.headers, rows)
        else:
            asked = _read_contacts(values, request.headers, settings, flow)
            sender = _sender_of(request.headers, aor, flow, now, received, nated)
            changes = _take(asked, rows, sender, usrloc.settings, lambda: f"uloc-{entropy(8).hex()}")
            _check_room(settings, rows, changes)
    except _Refusal as refusal:
        return Saved(refusal.status, refusal.reason, refusal.headers, (), aor)
    except ParseError as error:
        return Saved(400, "", (("P-Registrar-Error", error.reason),), (), aor)
    return Saved(200, "", (), tuple(changes), aor)


def apply(usrloc: Usrloc, changes: Iterable[Change]) -> None:
    """Make the changes of a `Saved` in the table."""
    for change in changes:
        if change.binding is not None:
            usrloc.put(change.binding)
        elif change.old is not None:
            usrloc.remove(change.old)


def reply_headers(usrloc: Usrloc, aor: str, now: float) -> Fields:
    """The Contact lines of a 200: every valid binding as it is at this moment (RFC 3261 §10.3 step 8)."""
    return listing(usrloc.lookup(aor, now), now)


def listing(bindings: Sequence[Binding], now: float) -> Fields:
    """A Contact line per binding with q (when set), seconds left, source URI, instance and reg-id."""
    return tuple([("Contact", _shown(binding, now)) for binding in bindings])


def _shown(binding: Binding, now: float) -> str:
    text = f"<{binding.contact}>"
    if binding.q >= 0:
        text += f";q={binding.q:g}"
    text += f";expires={max(1, round(binding.expires - now))}"
    if binding.received:
        text += f';received="{binding.received}"'
    if binding.instance:
        text += f";+sip.instance={quote(f'<{binding.instance}>')}"
        if binding.reg_id:
            text += f";reg-id={binding.reg_id}"
    return text


def _aor_of(headers: Headers, usrloc: Usrloc) -> str:
    user = headers.to.uri.username if headers.to.uri.scheme in ("sip", "sips", "tel") else None
    if not user:
        raise _Refusal(400, "To names no user")
    if len(user) > AOR_MAX_SIZE:
        raise _Refusal(500, "Address of record too long")
    if not _is_text(user):
        raise _Refusal(404, "To user is not text")  # well formed, but nobody here is called so
    return usrloc.key(user, headers.to.uri.host)


def _check_require(headers: Headers) -> None:
    """Extensions the client insists on; this registrar has none to offer (RFC 3261 §8.2.2.3)."""
    if "Require" in headers:
        required = headers.values("Require")
        unsupported = (("Unsupported", ", ".join(required)),)
        raise _Refusal(420, "Required extension not supported", headers=unsupported)


def _remove_all(values: Sequence[str], headers: Headers, rows: Sequence[Binding]) -> list[Change]:
    """`Contact: *`, alone and with Expires 0 (RFC 3261 §10.2.2): every binding goes.

    The CSeq rule holds for those of the same Call-ID (§10.3 step 6).
    """
    if len(values) > 1:
        raise _Refusal(400, "Contact * is not alone")
    if headers.expires != 0:
        raise _Refusal(400, "Contact * needs Expires 0")
    for row in rows:
        if row.call_id == headers.call_id and headers.cseq.number <= row.cseq:
            raise _Refusal(400, "Invalid CSeq number")
    return [Change(row.ruid, None, row) for row in rows]


def _read_contacts(values: Sequence[str], headers: Headers, settings: Settings, flow: Flow) -> list[_Asked]:
    if len(values) > CONTACTS_MAX:
        raise _Refusal(400, "Too many contacts in one request")
    if len(headers.call_id) > CALL_ID_MAX_SIZE:
        raise _Refusal(400, "Call-ID too long")
    if not _is_text(headers.call_id):
        raise _Refusal(400, "Call-ID is not text")
    return [_read_contact(parse_name_addr(value), headers, settings, flow) for value in values]


def _read_contact(contact: NameAddr, headers: Headers, settings: Settings, flow: Flow) -> _Asked:
    uri = str(contact.uri)
    if len(uri) > CONTACT_MAX_SIZE:
        raise _Refusal(400, "Contact too long")
    _check_target(contact.uri, flow)
    instance, reg_id = _instance_of(contact)
    return _Asked(uri, _seconds(contact, headers, settings), _q_of(contact), instance, reg_id)


def _check_target(uri: Uri, flow: Flow) -> None:
    """Refuse what no request can be sent to: nowhere, everybody, ourselves (RFC 4475 §3.3.10)."""
    if uri.scheme not in ("sip", "sips"):
        raise _Refusal(400, "Contact is not a SIP URI")
    if is_ip(uri.host) and not is_sendable(uri.host, loopback=is_loopback(flow.remote.host)):
        raise _Refusal(400, "Contact address cannot be reached")
    if same_host(uri.host, flow.local.host) and (uri.port or 5060) == flow.local.port:
        raise _Refusal(400, "Contact is this server")


def _instance_of(contact: NameAddr) -> tuple[str, int]:
    """`+sip.instance` without its brackets, and reg-id, which means nothing without it (RFC 5626 §4.1)."""
    instance = unquote(contact.param("+sip.instance") or "")
    if instance.startswith("<") and instance.endswith(">"):
        instance = instance[1:-1]
    if len(instance) > INSTANCE_MAX_SIZE or not _is_text(instance):
        raise _Refusal(400, "Invalid instance")
    reg_id = contact.param("reg-id")
    if not instance or reg_id is None:
        return instance, 0
    number = digits(reg_id, REG_ID_MAX)
    if number == 0:
        raise _Refusal(400, "Invalid reg-id")
    return instance, number


def _seconds(contact: NameAddr, headers: Headers, settings: Settings) -> int:
    """How long the binding is to live: Contact parameter, else Expires, else the default (§10.3 step 7).

    A malformed value is no value. 0 removes; less than the minimum is 423 where the RFC allows it.
    """
    wish = parse_seconds(contact.param("expires") or "")
    if wish is None:
        wish = headers.expires
    if wish is None:
        wish = settings.default_expires or settings.min_expires
    elif 0 < wish < min(settings.min_expires, BRIEF_MAX):
        floor = (("Min-Expires", str(settings.min_expires)),)
        raise _Refusal(423, "Interval too brief", headers=floor)
    if wish == 0:
        return 0
    wish = max(wish, settings.min_expires)
    return min(wish, settings.max_expires) if settings.max_expires else wish


def _q_of(contact: NameAddr) -> float:
    text = contact.param("q")
    if text is None:
        return -1.0
    if _Q(text) is None:
        raise _Refusal(400, "Invalid q parameter")
    return float(text)


def _sender_of(headers: Headers, aor: str, flow: Flow, now: float, received: str, nated: bool) -> _Sender:
    return _Sender(
        aor,
        headers.call_id,
        headers.cseq.number,
        received,
        flow,
        _agent(headers.get("User-Agent") or ""),
        nated,
        _methods(", ".join(headers.all("Allow"))),
        now,
    )


def _take(
    asked: Sequence[_Asked],
    rows: Sequence[Binding],
    sender: _Sender,
    rules: UsrlocSettings,
    new_ruid: Callable[[], str],
) -> list[Change]:
    """The changes that these contacts make, in order; a later one sees what an earlier one did."""
    working = {row.ruid: row for row in rows}
    changed: dict[str, None] = {}
    for contact in asked:
        claim = _claim_of(contact, sender)
        found = match(claim, working.values(), rules.matching_mode)
        if found is not None:
            stands = standing(claim, found, sender.now, rules.cseq_delay)
            if stands is Standing.REPEATED:
                continue
            if stands is Standing.STALE:
                raise _Refusal(400, "Invalid CSeq number")
        if contact.expires == 0:
            if found is not None:
                del working[found.ruid]
                changed[found.ruid] = None
            continue
        binding = _binding_for(contact, sender, found, found.ruid if found is not None else new_ruid())
        working[binding.ruid] = binding
        changed[binding.ruid] = None
        if contact.instance:
            # A known instance with a new Call-ID has started again: its former flows are gone (§2.2 step 6).
            for other in list(working.values()):
                if other.instance == contact.instance and other.call_id != sender.call_id:
                    del working[other.ruid]
                    changed[other.ruid] = None
    olds = {row.ruid: row for row in rows}
    changes = [Change(ruid, working.get(ruid), olds.get(ruid)) for ruid in changed]
    return [one for one in changes if one.binding is not None or one.old is not None]


def _binding_for(contact: _Asked, sender: _Sender, match: Binding | None, ruid: str) -> Binding:
    """The binding a contact asks for, in place of `match` if there is one."""
    return Binding(
        aor=sender.aor,
        contact=contact.uri,
        expires=sender.now + contact.expires,
        q=contact.q,
        call_id=sender.call_id,
        cseq=sender.cseq,
        received=sender.received,
        flow=sender.flow,
        user_agent=sender.user_agent,
        nated=sender.nated,
        instance=contact.instance,
        reg_id=contact.reg_id,
        ruid=ruid,
        methods=sender.methods,
        last_modified=sender.now,
        last_keepalive=sender.now,
        roundtrip=match.roundtrip if match is not None and match.flow == sender.flow else None,
    )


def _claim_of(contact: _Asked, sender: _Sender) -> Claim:
    return Claim(
        contact.uri,
        contact.instance,
        contact.reg_id,
        sender.call_id,
        sender.cseq,
        "",
        sender.flow.remote.host,
        sender.nated,
    )


def _check_room(settings: Settings, rows: Sequence[Binding], changes: Sequence[Change]) -> None:
    """503 when new contacts would make more than `max_contacts` (§2.2 step 5)."""
    added = sum(1 for change in changes if change.old is None)
    removed = sum(1 for change in changes if change.binding is None)
    if settings.max_contacts and added and len(rows) + added - removed > settings.max_contacts:
        raise _Refusal(503, "Too many registered contacts")


@lru_cache(maxsize=1024)
def _methods(text: str) -> tuple[str, ...]:
    """The methods of an Allow header; what is no token is left out."""
    return tuple([name for name in (part.strip() for part in text.split(",")) if is_token(name)])


@lru_cache(maxsize=1024)
def _agent(text: str) -> str:
    """A User-Agent fit for a record: valid text of bounded length; cached, as most phones share theirs."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join([char if char.isprintable() else " " for char in clean[:AGENT_MAX_SIZE]])


def _is_text(text: str) -> bool:
    """Printable and valid UTF-8, as a record must be."""
    return text.isprintable()

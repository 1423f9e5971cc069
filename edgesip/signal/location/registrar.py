"""The registrar: what one REGISTER does to the location table (RFC 3261 §10.3, location.md §2).

Holds the rules alone and changes nothing: `save` reads the table and answers with a status and a list of
changes, `apply` makes them. It refuses to know who may register what (digest and the script decide
before), stores, and how the answer is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from edgesip.address import Addr, Flow, parse_hostport
from edgesip.signal.decision import Save
from edgesip.signal.location.gruu import Gruus, public_gruu
from edgesip.signal.location.matching import Claim, Standing, match, standing
from edgesip.signal.location.reading import Asked, agent, is_text, methods, read_contacts
from edgesip.signal.location.rules import Fields, Refusal, Settings
from edgesip.signal.location.terms import Terms, terms_of
from edgesip.signal.location.usrloc import Binding, Usrloc, UsrlocSettings
from edgesip.signal.wire.grammar import ParseError, quote
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import Uri, parse_uri

__all__ = ["Change", "Refusal", "Saved", "Settings", "Style", "apply", "listing", "reply_headers", "save"]

AOR_MAX_SIZE = 256
PLAIN: Save = Save()
Listens = Sequence[tuple[str, Addr]]


class Change(NamedTuple):
    """One binding to be written (`binding` None: removed); `old` is what it replaces, None for a new one."""

    ruid: str
    binding: Binding | None
    old: Binding | None


class Style(NamedTuple):
    """How Contacts are shown: `received_param` is the name of that parameter, '' for none; with the `uri` of
    the address of record each has its GRUUs, temporary ones only where `gruus` makes them.
    """

    received_param: str = "received"
    uri: Uri | None = None
    gruus: Gruus | None = None


class Saved(NamedTuple):
    """What a REGISTER comes to. On 200 the caller applies `changes` and answers with `reply_headers`.

    `headers` are those of a refusal (P-Registrar-Error and what the status asks for), or of the 200 besides
    its Contacts; `aor` is the key, '' where none could be read; `style` is how the Contacts are shown.
    """

    status: int
    reason: str
    headers: Fields
    changes: tuple[Change, ...]
    aor: str
    style: Style


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
    path: str
    apart: bool
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
    wish: Save = PLAIN,
    listens: Listens = (),
    gruus: Gruus | None = None,
) -> Saved:
    """Judge a REGISTER that came by `flow` (RFC 3261 §10.3). All of its contacts are taken, or none.

    `received` is the source URI and `nated` whether the sender is behind a NAT, both kept with each
    binding; `wish` is what the script wants of this one; `listens` are the sockets that it may be kept with
    instead of its own; `gruus` makes temporary GRUUs. Raises nothing: a bad request is a status with its
    reason.
    """
    aor, style, headers = "", Style(settings.received_param), request.headers
    try:
        uri = parse_uri(wish.uri) if wish.uri else headers.to.uri
        aor = _aor_of(uri, usrloc)
        terms = terms_of(headers, settings)
        style = Style(settings.received_param, uri if terms.gruu else None, gruus)
        rows = usrloc.lookup(aor, now)
        values = headers.values("Contact")
        if not values:
            changes = []
        elif "*" in values:
            changes = _remove_all(values, headers, rows)
        else:
            asked = read_contacts(values, headers, settings, wish, flow, entropy)
            if wish.socket or settings.sock_hdr_name:
                flow = _kept_flow(flow, wish.socket or headers.get(settings.sock_hdr_name) or "", listens)
            sender = _sender_of(headers, aor, flow, now, terms, received, nated)
            if not terms.reg_ids:
                asked = [one._replace(reg_id=0) if one.reg_id else one for one in asked]
            changes = _take(asked, rows, sender, usrloc.settings, lambda: f"uloc-{entropy(8).hex()}")
            if wish.does(0x04):
                changes = _only(changes, rows)
            else:
                _check_room(settings, wish, rows, changes)
    except Refusal as refusal:
        again = refusal.status >= 500 and settings.retry_after
        later = (("Retry-After", str(settings.retry_after)),) if again else ()
        return Saved(refusal.status, refusal.reason, (*refusal.headers, *later), (), aor, style)
    except ParseError as error:
        return Saved(400, "", (("P-Registrar-Error", error.reason),), (), aor, style)
    return Saved(200, "", terms.told, tuple(changes), aor, style)


def apply(usrloc: Usrloc, changes: Iterable[Change]) -> None:
    """Make the changes of a `Saved` in the table."""
    for change in changes:
        if change.binding is not None:
            usrloc.put(change.binding)
        elif change.old is not None:
            usrloc.remove(change.old)


def reply_headers(usrloc: Usrloc, aor: str, now: float, style: Style = Style()) -> Fields:  # noqa: B008
    """The Contact lines of a 200: every valid binding as it is at this moment (RFC 3261 §10.3 step 8)."""
    return listing(usrloc.lookup(aor, now), now, style)


def listing(bindings: Sequence[Binding], now: float, style: Style = Style()) -> Fields:  # noqa: B008
    """A Contact line per binding with q (when set), seconds left, source URI, GRUUs, instance and reg-id."""
    return tuple([("Contact", _shown(binding, now, style)) for binding in bindings])


def _shown(binding: Binding, now: float, style: Style) -> str:
    text = f"<{binding.contact}>"
    if binding.q >= 0:
        text += f";q={binding.q:g}"
    text += f";expires={binding.left(now)}"
    if binding.received and style.received_param:
        text += f';{style.received_param}="{binding.received}"'
    if binding.instance:
        if style.uri is not None:
            text += f';pub-gruu="{public_gruu(style.uri, binding.instance)}"'
            if style.gruus is not None:
                text += f';temp-gruu="{style.gruus.temporary(style.uri, binding)}"'
        text += f";+sip.instance={quote(f'<{binding.instance}>')}"
        if binding.reg_id:
            text += f";reg-id={binding.reg_id}"
    return text


def _aor_of(uri: Uri, usrloc: Usrloc) -> str:
    user = uri.username if uri.scheme in ("sip", "sips", "tel") else None
    if not user:
        raise Refusal(400, "To names no user")
    if len(user) > AOR_MAX_SIZE:
        raise Refusal(500, "Address of record too long")
    if not is_text(user):
        raise Refusal(404, "To user is not text")  # well formed, but nobody here is called so
    return usrloc.key(user, uri.host)


def _remove_all(values: Sequence[str], headers: Headers, rows: Sequence[Binding]) -> list[Change]:
    """`Contact: *`, alone and with Expires 0 (RFC 3261 §10.2.2): every binding goes.

    The CSeq rule holds for those of the same Call-ID (§10.3 step 6).
    """
    if len(values) > 1:
        raise Refusal(400, "Contact * is not alone")
    if headers.expires != 0:
        raise Refusal(400, "Contact * needs Expires 0")
    for row in rows:
        if row.call_id == headers.call_id and headers.cseq.number <= row.cseq:
            raise Refusal(400, "Invalid CSeq number")
    return [Change(row.ruid, None, row) for row in rows]


def _kept_flow(flow: Flow, socket: str, listens: Listens) -> Flow:
    """The flow that the bindings are kept with: over UDP from another `socket` of ours, `udp:ADDR:PORT`.

    A connection cannot be had elsewhere, and what is not ours is not believed.
    """
    transport, _, where = socket.partition(":")
    found = parse_hostport(where) if transport.lower() == "udp" == flow.transport else None
    local = Addr(found[0].strip("[]"), found[1] or 5060) if found is not None else flow.local
    return Flow("udp", local, flow.remote) if local != flow.local and ("udp", local) in listens else flow


def _sender_of(
    headers: Headers, aor: str, flow: Flow, now: float, terms: Terms, received: str, nated: bool
) -> _Sender:
    return _Sender(
        aor,
        headers.call_id,
        headers.cseq.number,
        terms.received or received,
        flow,
        agent(headers.get("User-Agent") or ""),
        nated or bool(terms.received),
        methods(", ".join(headers.all("Allow"))),
        terms.path,
        terms.outbound,
        now,
    )


def _take(
    asked: Sequence[Asked],
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
                raise Refusal(400, "Invalid CSeq number")
        if contact.expires == 0:
            if found is not None:
                del working[found.ruid]
                changed[found.ruid] = None
            continue
        binding = _binding_for(contact, sender, found, found.ruid if found is not None else new_ruid())
        working[binding.ruid] = binding
        changed[binding.ruid] = None
        if contact.instance and not (sender.apart and contact.reg_id):
            # A known instance with a new Call-ID has started again: its former contacts are gone. Flows that
            # outbound keeps apart may have a Call-ID each (RFC 5626 §4.2).
            for other in list(working.values()):
                if other.instance == contact.instance and other.call_id != sender.call_id:
                    del working[other.ruid]
                    changed[other.ruid] = None
    olds = {row.ruid: row for row in rows}
    changes = [Change(ruid, working.get(ruid), olds.get(ruid)) for ruid in changed]
    return [one for one in changes if one.binding is not None or one.old is not None]


def _binding_for(contact: Asked, sender: _Sender, match: Binding | None, ruid: str) -> Binding:
    """The binding a contact asks for, in place of `match` if there is one."""
    return Binding(
        aor=sender.aor,
        contact=contact.uri,
        expires=sender.now + contact.expires,
        q=contact.q,
        call_id=sender.call_id,
        cseq=sender.cseq,
        received=contact.received or sender.received,
        flow=sender.flow,
        user_agent=sender.user_agent,
        nated=sender.nated,
        instance=contact.instance,
        reg_id=contact.reg_id,
        ruid=ruid,
        methods=sender.methods,
        path=sender.path,
        last_modified=sender.now,
        last_keepalive=sender.now,
        roundtrip=match.roundtrip if match is not None and match.flow == sender.flow else None,
    )


def _claim_of(contact: Asked, sender: _Sender) -> Claim:
    return Claim(
        contact.uri,
        contact.instance,
        contact.reg_id,
        sender.call_id,
        sender.cseq,
        sender.path,
        sender.flow.remote.host,
        sender.nated,
    )


def _only(changes: Sequence[Change], rows: Sequence[Binding]) -> list[Change]:
    """The changes that leave one binding, the first that was asked for; none when none was (0x04)."""
    first = next((one.ruid for one in changes if one.binding is not None), None)
    if first is None:
        return list(changes)
    kept = [one for one in changes if one.binding is None or one.ruid == first]
    gone = {one.ruid for one in kept}
    return kept + [Change(row.ruid, None, row) for row in rows if row.ruid not in gone]


def _check_room(settings: Settings, wish: Save, rows: Sequence[Binding], changes: Sequence[Change]) -> None:
    """503 when new contacts would make more than `max_contacts` (§2.2 step 5)."""
    added = sum(1 for change in changes if change.old is None)
    removed = sum(1 for change in changes if change.binding is None)
    most = settings.max_contacts if wish.max_contacts is None else wish.max_contacts
    if most and added and len(rows) + added - removed > most:
        raise Refusal(503, "Too many registered contacts")

"""A REGISTER read: the contacts that it names, each found sound or refused (RFC 3261 §10.3 steps 6 and 7).

Knows no table: what is there already is another room's question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from edgesip.address import Flow, is_ip, is_loopback, is_sendable, same_host
from edgesip.signal.decision import Save
from edgesip.signal.location.rules import Refusal, Settings
from edgesip.signal.wire.grammar import ParseError, digits, is_token, unquote
from edgesip.signal.wire.headers import Headers, parse_seconds
from edgesip.signal.wire.uri import Uri, parse_uri
from edgesip.signal.wire.values import NameAddr, parse_name_addr

CALL_ID_MAX_SIZE = 255
AGENT_MAX_SIZE = 255  # a longer User-Agent is cut
INSTANCE_MAX_SIZE = 255
RECEIVED_MAX_SIZE = 255
CONTACTS_MAX = 32  # contacts of one REGISTER
BRIEF_MAX = 3600  # only a shorter wish may be answered 423 (RFC 3261 §10.3 step 7)
REG_ID_MAX = 2**31 - 1

_Q = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch


class Asked(NamedTuple):
    """One Contact of the request, read and found sound."""

    uri: str
    expires: int  # seconds; 0 removes
    q: float
    instance: str
    reg_id: int
    received: str = ""  # the source URI that a proxy before us has noted


def read_contacts(
    values: Sequence[str],
    headers: Headers,
    settings: Settings,
    wish: Save,
    flow: Flow,
    entropy: Callable[[int], bytes],
) -> list[Asked]:
    """The contacts of a REGISTER that came by `flow`; a `Refusal` or ParseError for the first bad one."""
    if len(values) > CONTACTS_MAX:
        raise Refusal(400, "Too many contacts in one request")
    if len(headers.call_id) > CALL_ID_MAX_SIZE:
        raise Refusal(400, "Call-ID too long")
    if not is_text(headers.call_id):
        raise Refusal(400, "Call-ID is not text")
    behind = len(headers.vias) > 1
    found = []
    for value in values:
        contact = parse_name_addr(value)
        uri = str(contact.uri)
        if len(uri) > settings.contact_max_size:
            raise Refusal(400, "Contact too long")
        _check_target(contact.uri, flow)
        instance, reg_id = _instance_of(contact)
        seconds = _seconds(contact, headers, settings, wish, entropy)
        q = _q_of(contact, settings, wish)
        received = _received(contact, settings.received_param) if behind else ""
        found.append(Asked(uri, seconds, q, instance, reg_id, received))
    return found


def _check_target(uri: Uri, flow: Flow) -> None:
    """Refuse what no request can be sent to: nowhere, everybody, ourselves (RFC 4475 §3.3.10)."""
    if uri.scheme not in ("sip", "sips"):
        raise Refusal(400, "Contact is not a SIP URI")
    if is_ip(uri.host) and not is_sendable(uri.host, loopback=is_loopback(flow.remote.host)):
        raise Refusal(400, "Contact address cannot be reached")
    if same_host(uri.host, flow.local.host) and (uri.port or 5060) == flow.local.port:
        raise Refusal(400, "Contact is this server")


def _instance_of(contact: NameAddr) -> tuple[str, int]:
    """`+sip.instance` without its brackets, and reg-id, which means nothing without it (RFC 5626 §4.1)."""
    instance = unquote(contact.param("+sip.instance") or "")
    if instance.startswith("<") and instance.endswith(">"):
        instance = instance[1:-1]
    if len(instance) > INSTANCE_MAX_SIZE or not is_text(instance):
        raise Refusal(400, "Invalid instance")
    reg_id = contact.param("reg-id")
    if not instance or reg_id is None:
        return instance, 0
    number = digits(reg_id, REG_ID_MAX)
    if number == 0:
        raise Refusal(400, "Invalid reg-id")
    return instance, number


def _seconds(
    contact: NameAddr, headers: Headers, settings: Settings, wish: Save, entropy: Callable[[int], bytes]
) -> int:
    """How long the binding is to live: the script's word, the Contact's, Expires, the default (§10.3 step 7).

    A malformed value is no value. 0 removes; what is below the minimum is raised to it, or refused with 423
    where the RFC allows that. Then some of it is taken away at random, so that phones come back evenly.
    """
    asked = parse_seconds(contact.param("expires") or "")
    if asked is None:
        asked = headers.expires
    if asked == 0:
        return 0
    percent = settings.expires_range
    if wish.expires is not None:
        asked = wish.expires
    elif asked is None:
        asked, percent = settings.default_expires or settings.min_expires, settings.default_expires_range
    elif settings.min_expires_mode and asked < min(settings.min_expires, BRIEF_MAX):
        floor = (("Min-Expires", str(settings.min_expires)),)
        raise Refusal(423, "Interval too brief", headers=floor)
    asked = max(asked, settings.min_expires)
    if settings.max_expires:
        asked = min(asked, settings.max_expires)
    if percent and not wish.does(0x08):
        asked -= asked * percent * int.from_bytes(entropy(2), "big") // (100 * 0xFFFF)
    return max(asked, settings.min_expires, 1)


def _q_of(contact: NameAddr, settings: Settings, wish: Save) -> float:
    text = contact.param("q")
    if text is not None and _Q(text) is None:
        raise Refusal(400, "Invalid q parameter")
    if wish.q is not None:
        return wish.q
    if text is not None:
        return float(text)
    return settings.default_q / 1000 if settings.default_q >= 0 else -1.0


def _received(contact: NameAddr, name: str) -> str:
    """Where the phone was seen by a proxy before us (`add_rcv_param`), when that is a SIP URI."""
    text = unquote(contact.param(name) or "") if name else ""
    return text if is_source(text) else ""


def is_source(text: str) -> bool:
    """True for a SIP URI of bounded length with an IP literal for a host."""
    if not text or len(text) > RECEIVED_MAX_SIZE:
        return False
    try:
        uri = parse_uri(text)
    except ParseError:
        return False
    return uri.scheme in ("sip", "sips") and is_ip(uri.host) and is_text(text)


@lru_cache(maxsize=1024)
def methods(text: str) -> tuple[str, ...]:
    """The methods of an Allow header; what is no token is left out."""
    return tuple([name for name in (part.strip() for part in text.split(",")) if is_token(name)])


@lru_cache(maxsize=1024)
def agent(text: str) -> str:
    """A User-Agent fit for a record: valid text of bounded length; cached, as most phones share theirs."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join([char if char.isprintable() else " " for char in clean[:AGENT_MAX_SIZE]])


def is_text(text: str) -> bool:
    """Printable and valid UTF-8, as a record must be."""
    return text.isprintable()

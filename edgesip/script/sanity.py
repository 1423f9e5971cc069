"""What a sound request looks like: the checks of Kamailio's sanity module, one a bit (protection.md §5).

Much of it the parser refuses before any script is asked; here each bit means what it says nevertheless.
Pure functions over a request. Versions and transports of Via (8, 16) never fail: the parser has refused them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import parse_uri

LONGEST_URI = 512
LONGEST_NAME = 256
"""Octets of a URI, of Call-ID and of a tag at most, with bit 65536."""
_SCHEMES = ("sip", "sips", "tel", "tels")
_CREDENTIALS = ("Authorization", "Proxy-Authorization")
_COOKIE = "z9hG4bK"


class Fault(NamedTuple):
    """What is wrong, as the answer says it."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


def sanity_fault(request: Request, msg_checks: int, uri_checks: int) -> Fault | None:
    """The first fault that the selected checks find; None for a sound request."""
    try:
        for bit, check in _CHECKS:
            if msg_checks & bit and (fault := check(request)) is not None:
                return fault
        if msg_checks & 1024:
            return _uris(request, uri_checks)
    except ParseError as error:
        return Fault(error.status, error.reason)
    return None


def _scheme(request: Request) -> Fault | None:
    return None if request.ruri.scheme in _SCHEMES else Fault(416, "Unsupported URI Scheme")


def _required(request: Request) -> Fault | None:
    missing = [name for name in ("To", "From", "CSeq", "Call-ID", "Via") if name not in request.headers]
    return Fault(400, f"Missing {missing[0]}") if missing else None


def _cseq_method(request: Request) -> Fault | None:
    same = request.headers.cseq.method == request.method
    return None if same else Fault(400, "CSeq method does not match")


def _cseq_number(request: Request) -> Fault | None:
    return None if 0 <= request.headers.cseq.number < 2**31 else Fault(400, "Invalid CSeq number")


def _length(request: Request) -> Fault | None:
    value = request.headers.get("Content-Length")
    if value is None:
        return None
    text = value.strip()
    right = _is_number(text) and int(text) == len(request.body)
    return None if right else Fault(400, "Content-Length mis-match")


def _expires(request: Request) -> Fault | None:
    value = request.headers.get("Expires")
    if value is None or (_is_number(value.strip()) and int(value) < 2**32):
        return None
    return Fault(400, "Invalid Expires")


def _proxy_require(request: Request) -> Fault | None:
    demanded = request.headers.values("Proxy-Require")
    if not demanded:
        return None
    return Fault(420, "Bad Extension", (("Unsupported", ", ".join(demanded)),))


def _digests(request: Request) -> Fault | None:
    return _credentials(request, others=False)


def _only_digests(request: Request) -> Fault | None:
    return _credentials(request, others=True)


def _credentials(request: Request, others: bool) -> Fault | None:
    """Digest credentials name user, nonce, response and realm; `others`: any other scheme is a fault too."""
    for name in _CREDENTIALS:
        for value in request.headers.all(name):
            scheme, _, rest = value.strip().partition(" ")
            if scheme.lower() != "digest":
                if others:
                    return Fault(400, f"Invalid {name}")
                continue
            names = {part.partition("=")[0].strip().lower() for part in rest.split(",")}
            if not {"username", "nonce", "response", "realm"} <= names:
                return Fault(400, f"Invalid {name}")
    return None


def _tags(request: Request) -> Fault | None:
    for name, value in (("From", request.headers.from_), ("To", request.headers.to)):
        if sum(key.lower() == "tag" for key, _ in value.params) > 1:
            return Fault(400, f"Duplicate tag in {name}")
    return None


def _via(request: Request) -> Fault | None:
    via = request.headers.via
    return None if via.host and via.branch else Fault(400, "Via without address or branch")


def _loose(request: Request) -> Fault | None:
    headers = request.headers
    if not headers.via.branch.startswith(_COOKIE):
        return Fault(400, "Via branch without the cookie")
    for entry in (*headers.routes, *headers.record_routes):
        if entry.uri.param("lr") is None:
            return Fault(400, "Route without lr")
    return None


def _sizes(request: Request) -> Fault | None:
    headers = request.headers
    uris = [
        request.uri,
        str(headers.from_.uri),
        str(headers.to.uri),
        *(str(one.uri) for one in headers.contacts),
    ]
    names = (headers.call_id, headers.from_.tag, headers.to.tag, headers.via.branch)
    if any(len(uri) > LONGEST_URI for uri in uris) or any(len(name) > LONGEST_NAME for name in names):
        return Fault(400, "Part of the message is too long")
    return None


def _uris(request: Request, checks: int) -> Fault | None:
    headers = request.headers
    for bit, name, text in (
        (1, "Request-URI", request.uri),
        (2, "From", str(headers.from_.uri)),
        (4, "To", str(headers.to.uri)),
        (8, "Contact", str(headers.contacts[0].uri) if headers.contacts else ""),
    ):
        if checks & bit and text:
            try:
                parse_uri(text)
            except ParseError:
                return Fault(400, f"Bad {name} URI")
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


_CHECKS: tuple[tuple[int, Callable[[Request], Fault | None]], ...] = (
    (2, _scheme),
    (4, _required),
    (32, _cseq_method),
    (64, _cseq_number),
    (128, _length),
    (256, _expires),
    (512, _proxy_require),
    (2048, _only_digests),
    (4096, _tags),
    (8192, _digests),
    (16384, _via),
    (32768, _loose),
    (65536, _sizes),
)

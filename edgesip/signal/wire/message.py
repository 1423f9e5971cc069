"""Whole messages: one datagram into a `Request` or `Response`, and back into octets (RFC 3261 §7, §18.3).

Holds the values, the reader, the writer and `reply_to`. Refuses to know transactions, dialogs, routing and
where octets come from; a message is forwarded by making another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from edgesip.signal.wire.grammar import LWS, ParseError, digits, has_bare_nul, is_token
from edgesip.signal.wire.headers import Field, Headers
from edgesip.signal.wire.names import NAMES
from edgesip.signal.wire.uri import Uri, parse_uri

MAX_MESSAGE: Final = 65536  # octets (threat 1)
MAX_FIELDS: Final = 256
MAX_LINE: Final = 8192
KEPT_LINES: Final = 4096
KEPT_LINE: Final = 200
"""Lines kept for when they come again, twice as many at most, and the longest of them."""

_VERSION: Final = re.compile(r"[Ss][Ii][Pp]/[0-9]{1,9}\.[0-9]{1,9}").fullmatch
_VERSIONS: Final = frozenset(("SIP/", "sip/"))
_FOLD: Final = re.compile(r"(?:\n[ \t]+)+").split

REASONS: Final = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}


def _octets(start: str, fields: Sequence[Field], body: bytes) -> bytes:
    lines = [start]
    for name, value in fields:
        if name != "Content-Length":
            lines.append(f"{name}: {value}")
    text = "".join(lines)  # looked through by memchr: counting line breaks takes longer
    if "\n" in text or "\r" in text:
        raise ValueError("line break inside a header field")
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def _unpacked(octets: bytes) -> list[Field]:
    """The fields of a message that `_octets` has written."""
    lines = octets[: octets.index(b"\r\n\r\n")].decode("utf-8", "surrogateescape").split("\r\n")
    fields: list[Field] = []
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        fields.append((name, value))
    return fields


class Request:
    """A request, never changed once made; `uri` is the Request-URI as it stands, `ruri` the same in parts."""

    __slots__ = ("_headers", "_packed", "_ruri", "body", "method", "uri")

    def __init__(
        self, method: str, uri: str, headers: Headers, body: bytes = b"", ruri: Uri | None = None
    ) -> None:
        self.method = method
        self.uri = uri
        self._headers: Headers | None = headers
        self._packed = b""
        self.body = body
        self._ruri = ruri

    @property
    def headers(self) -> Headers:
        """The header fields."""
        found = self._headers
        if found is None:
            found = self._headers = Headers(_unpacked(self._packed))
            self._packed = b""
        return found

    def pack(self, octets: bytes = b"") -> None:
        """Keep the header fields as octets until somebody asks for them again, in a fifth of the room.

        `octets` are those of the whole message, where they are at hand.
        """
        if self._headers is not None:
            octets = octets or bytes(self)
            self._packed = octets[: len(octets) - len(self.body)]
            self._headers = self._ruri = None

    @property
    def ruri(self) -> Uri:
        """The Request-URI; ParseError 416 for a scheme that is not ours to route."""
        found = self._ruri
        if found is None:
            found = self._ruri = parse_uri(self.uri)
        return found

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Request)
            and (self.method, self.uri, self.body) == (other.method, other.uri, other.body)
            and self.headers == other.headers
        )

    def __hash__(self) -> int:
        return hash((self.method, self.uri, self.headers, self.body))

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.uri!r}, {self.headers!r}, {self.body!r})"

    def __bytes__(self) -> bytes:
        if self._packed:
            return self._packed + self.body
        return _octets(f"{self.method} {self.uri} SIP/2.0", self.headers.fields, self.body)


class Response:
    """A response, never changed once made."""

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Response)
            and (self.status, self.reason, self.body) == (other.status, other.reason, other.body)
            and self.headers == other.headers
        )

    def __hash__(self) -> int:
        return hash((self.status, self.reason, self.headers, self.body))

    def __repr__(self) -> str:
        return f"Response({self.status!r}, {self.reason!r}, {self.headers!r}, {self.body!r})"

    def __bytes__(self) -> bytes:
        return _octets(f"SIP/2.0 {self.status} {self.reason}", self.headers.fields, self.body)


def parse(data: bytes) -> Request | Response:
    """Read one datagram.

    Raises ParseError and nothing else. A request's start line, Request-URI, Via, From, To, Call-ID, CSeq
    and Content-Length have been read when this returns; everything else is read when it is asked for.
    A body longer than Content-Length is cut, a shorter one is an error (RFC 3261 §18.3).
    """
    if len(data) > MAX_MESSAGE:
        raise ParseError("message too large", 513)
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    fields: list[Field] | None = None
    fault = ""
    if 0 < end <= MAX_LINE:
        lines = data[: end + 1].decode("utf-8", "surrogateescape").split("\n")
        start = lines.pop(0)
        if _is_plain(start):
            start, fields = start[:-1], _read_plain(lines)
            body = data[end + 4 :]
    if fields is None:
        start, fields, body, fault = _read_odd(data)
    headers = Headers(fields)
    if start[:4] in _VERSIONS:
        return _response(start, headers, body, fault)
    return _request(start, headers, body, fault)


def _read_plain(lines: list[str]) -> list[Field] | None:
    """The fields when each line has the form `Name: value`, as nearly all have; None: look closer.

    Each line still has its CR.
    """
    if len(lines) > MAX_FIELDS:
        return None
    fields: list[Field] = []
    for line in lines:
        field = _LINES.known(line)
        if field is None:
            name, colon, value = line[:-1].partition(": ")
            if not (colon and _is_plain(line)):
                return None
            try:
                field = (NAMES[name], value.strip(LWS))
            except ParseError:
                return None
            _LINES.learn(line, field)
        fields.append(field)
    return fields


def _is_plain(line: str) -> bool:
    """True when the line ends with the CR of its CRLF, and has neither another one nor a NUL in it."""
    return line.find("\r") == len(line) - 1 and "\0" not in line


class _Lines:
    """Header lines that were read lately, and what they say: most lines of a call come again in its next
    message. Two generations, so that nothing has to be counted; a long line is not kept.
    """

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self._new: dict[str, Field] = {}
        self._old: dict[str, Field] = {}

    def known(self, line: str) -> Field | None:
        """The field that this line is, if it was read before."""
        field = self._new.get(line)
        return self._old.get(line) if field is None else field

    def learn(self, line: str, field: Field) -> None:
        """This is what the line says."""
        if len(line) > KEPT_LINE:
            return
        if len(self._new) >= KEPT_LINES:
            self._old, self._new = self._new, {}
        self._new[line] = field


_LINES: Final = _Lines()


def _read_odd(data: bytes) -> tuple[str, list[Field], bytes, str]:
    """Start line, fields, body and the first fault of a head with any line ends, folding or spacing.

    The head ends at the first empty line. Where there is none, the last line may be cut and is left out.
    """
    end = data.find(b"\n\r\n")
    bare = data.find(b"\n\n", 0, end + 1 if end >= 0 else len(data))
    fault, body = "", b""
    if bare >= 0:
        end, body = bare, data[bare + 2 :]
    elif end >= 0:
        body = data[end + 3 :]
    else:
        end, fault = data.rfind(b"\n"), "no end of headers"
    text = data[: end + 1].decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    *folded, last = _FOLD(text)
    lines = " ".join([*[piece.rstrip(LWS) for piece in folded], last]).split("\n")
    lines.pop()
    if not lines:
        raise ParseError("no message")
    start = lines.pop(0)
    if "\r" in start or "\0" in start:
        fault = fault or "control character in start line"
    if len(lines) > MAX_FIELDS:
        fault = fault or "too many header fields"
    fields: list[Field] = []
    for line in lines[:MAX_FIELDS]:
        name, colon, value = line.partition(":")
        try:
            if not colon:
                raise ParseError("header line without a colon")
            if len(line) > MAX_LINE:
                raise ParseError("header line too long")
            if "\r" in line or ("\0" in line and has_bare_nul(value)):
                raise ParseError("control character in header")
            fields.append((NAMES[name], value.strip(LWS)))
        except ParseError as error:
            fault = fault or error.reason
    return start, fields, body, fault


def _body(headers: Headers, body: bytes) -> bytes:
    text = headers.find("Content-Length")
    if text is None:
        return body
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise ParseError("bad Content-Length")
    length = int(text)
    if length == len(body):
        return body
    if length > len(body):
        raise ParseError("body shorter than Content-Length")
    return body[:length]


def _request(start: str, headers: Headers, body: bytes, fault: str) -> Request:
    method, _, rest = start.partition(" ")
    uri, _, version = rest.partition(" ")
    try:
        if version != "SIP/2.0":
            _check_version(version)
        if fault:
            raise ParseError(fault)
        if not is_token(method):
            raise ParseError("bad method")
        cseq = headers.read_mandatory()
        if cseq.method != method:
            raise ParseError("CSeq method is not the request's")
        ruri = parse_uri(uri)
        if ruri.headers:
            raise ParseError("headers in Request-URI")
        return Request(method, uri, headers, _body(headers, body), ruri)
    except ParseError as error:
        error.request = _answerable(method, uri, headers)
        raise


def _check_version(version: str) -> None:
    if _VERSION(version) is None:
        raise ParseError("bad start line")
    if version[4:] != "2.0":
        raise ParseError("SIP version not supported", 505)


def _answerable(method: str, uri: str, headers: Headers) -> Request | None:
    """A faulty request as far as a stateless final answer needs it; an ACK is never answered."""
    if method == "ACK" or not is_token(method) or not headers.make_answerable(method):
        return None
    return Request(method, uri, headers)


def _response(start: str, headers: Headers, body: bytes, fault: str) -> Response:
    version, _, rest = start.partition(" ")
    code, _, reason = rest.partition(" ")
    if version != "SIP/2.0":
        _check_version(version)
    if len(code) != 3 or not 100 <= digits(code, 999) <= 699:
        raise ParseError("bad status code")
    if fault:
        raise ParseError(fault)
    headers.read_mandatory()
    return Response(int(code), reason, headers, _body(headers, body))


def reply_to(
    request: Request,
    status: int,
    reason: str = "",
    *,
    to_tag: str = "",
    headers: Sequence[Field] = (),
    body: bytes = b"",
) -> Response:
    """The response to a request by RFC 3261 §8.2.6: Via, From, To, Call-ID and CSeq copied, `headers` added.

    `to_tag` is added to a To without one, but never in a 100, which copies Timestamp instead. Responses
    that make a dialog carry the Record-Route set (§12.1.1).
    """
    received = request.headers
    fields = [("Via", value) for value in received.all("Via")]
    if 100 < status < 300 and request.method in ("INVITE", "SUBSCRIBE", "REFER"):
        fields += [("Record-Route", value) for value in received.all("Record-Route")]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = received.get(name)
        if value is not None:
            if name == "To" and to_tag and status > 100 and not received.to.tag:
                value = f"{value};tag={to_tag}"
            fields.append((name, value))
    if status == 100:
        fields += [("Timestamp", value) for value in received.all("Timestamp")]
    return Response(status, reason or REASONS.get(status, "Unknown"), Headers([*fields, *headers]), body)

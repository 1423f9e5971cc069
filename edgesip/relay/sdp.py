"""SDP as the relay sees it: which media a body describes, and the same body pointing somewhere else.

Works on octets and changes only the lines that carry an address, a port, or an ICE offer which the relay
would make untrue; every other octet comes out as it went in. Knows nothing of dialogs, offers or answers,
of which ports are free, or of MIME: the whole body is taken to be one session description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgesip.address import is_unspecified, parse_ip

MAX_BODY = 65536
MAX_LINES = 512
MAX_MEDIA = 16

_MEDIA = re.compile(rb"m=([!-~]+) +([0-9]{1,5})(/1)? +([!-~]+)((?: +[!-~]+)*) *", re.DOTALL)
_HOST = re.compile(rb"[][A-Za-z0-9._:-]{1,255}")
_PORT = re.compile(rb"[0-9]{1,5}")
_DIRECTIONS = frozenset((b"sendrecv", b"sendonly", b"recvonly", b"inactive"))
_MUX = frozenset((b"rtcp-mux", b"rtcp-mux-only"))
_ICE = frozenset(
    (
        b"candidate",
        b"end-of-candidates",
        b"ice-lite",
        b"ice-mismatch",
        b"ice-options",
        b"ice-pacing",
        b"ice-pwd",
        b"ice-ufrag",
        b"remote-candidates",
    )
)


class SdpError(ValueError):
    """A body that is not SDP we can answer for; `status` is the SIP answer it deserves (RFC 3264 §6)."""

    def __init__(self, reason: str, status: int = 488) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Endpoint(NamedTuple):
    """What one media line shall say: an IP literal without brackets, its ports, whether mux may stand.

    `rtcp_port` replaces the port of an `a=rtcp` line that is there, None drops the line; none is ever
    added. `mux` False drops `a=rtcp-mux`; True leaves it as received and never adds it (RFC 5761 §5.1.1).
    """

    host: str
    port: int
    rtcp_port: int | None
    mux: bool


@dataclass(frozen=True, slots=True)
class Media:
    """One media description (RFC 8866 §5.14) with what it inherits from the session level.

    `address` is the effective c= host: a canonical IP literal, a name, or "" on a disabled line without
    any. `rtcp_port` and `rtcp_address` are those of `a=rtcp` (RFC 3605), None where it does not say.
    `relayed` is False for lines that must pass whole: port 0, TLS, DTLS and TCP media, multicast.
    """

    kind: str
    port: int
    proto: str
    fmts: tuple[str, ...]
    address: str
    direction: str
    rtcp_port: int | None
    rtcp_address: str | None
    mux: bool
    relayed: bool

    @property
    def null(self) -> bool:
        """True when the address is 0.0.0.0 or ::, RFC 2543's way to say "send me nothing"."""
        return is_unspecified(self.address)

    @property
    def hold(self) -> bool:
        """True when the sender of this SDP holds the stream: a null address, sendonly or inactive."""
        return self.direction in ("sendonly", "inactive") or self.null

    @property
    def is_rtp(self) -> bool:
        """True for RTP profiles over bare UDP; other relayed lines (udptl, BFCP) are opaque datagrams."""
        return self.proto.upper().startswith("RTP/")

    @property
    def payload_types(self) -> frozenset[int]:
        """The RTP payload types of the line; empty when it is not RTP."""
        if not self.is_rtp:
            return frozenset()
        return frozenset(int(fmt) for fmt in self.fmts if len(fmt) <= 3 and fmt.isdigit() and int(fmt) < 128)


class _Line(NamedTuple):
    """One line: its text, and the CRLF, LF or nothing that ended it."""

    text: bytes
    end: bytes


class _Section(NamedTuple):
    """What the lines of the session part or of one media part say that matters here."""

    connection: bytes | None
    direction: str | None
    rtcp: bytes | None
    mux: bool


@dataclass(frozen=True, slots=True)
class Sdp:
    """A parsed session description: its media lines, and the octets to make the next version from."""

    media: tuple[Media, ...]
    body: bytes
    _lines: tuple[_Line, ...]
    _starts: tuple[int, ...]
    _session: bytes | None
    _own: tuple[bool, ...]

    def rewrite(self, lines: Sequence[Endpoint | None]) -> bytes:
        """The body with each media line led to its endpoint; None leaves that line alone.

        One entry per media line, else ValueError. An endpoint for a line that is not `relayed` counts as
        None. A null address stays null, in the endpoint's family. Doing it twice changes nothing more.
        """
        if len(lines) != len(self.media):
            raise ValueError(f"{len(lines)} endpoints for {len(self.media)} media lines")
        targets = [where if media.relayed else None for media, where in zip(self.media, lines, strict=True)]
        if not any(targets):
            return self.body
        # A port 0 line uses neither the session's address nor its ICE lines, so it holds nothing back.
        passes = [where is None and media.port != 0 for media, where in zip(self.media, targets, strict=True)]
        shared = self._shared(targets, passes)
        out = list(_session_lines(self._lines[: self._starts[0]], shared, drop_ice=not any(passes)))
        inherited = self._session if shared is None else shared
        for index, (media, where) in enumerate(zip(self.media, targets, strict=True)):
            part = self._part(index)
            if where is None:
                out.extend(part)
                continue
            wanted = _connection(where.host, media.null)
            if not self._own[index] and wanted != inherited:
                part = _with_connection(part, wanted, self._lines[0].end)
            out.extend(_media_lines(part, where, wanted))
        return b"".join(text + end for text, end in out)

    def _shared(self, targets: Sequence[Endpoint | None], passes: Sequence[bool]) -> bytes | None:
        """The new value of the session's c= line, or None when it has to stay as it is (sdp.md §2)."""
        dependent = [index for index, own in enumerate(self._own) if not own]
        if self._session is None or not dependent or any(passes[index] for index in dependent):
            return None
        wishes = [targets[index] for index in dependent] + list(targets)
        first = next(where for where in wishes if where is not None)
        return _connection(first.host, is_unspecified(_host_of(self._session)))

    def _part(self, index: int) -> tuple[_Line, ...]:
        stop = self._starts[index + 1] if index + 1 < len(self._starts) else len(self._lines)
        return self._lines[self._starts[index] : stop]


def parse(body: bytes) -> Sdp:
    """Read one session description; SdpError says why it cannot be used (limits: MAX_* above).

    Tolerated: bare LF, no final CRLF, blank lines at the end, no s= or t=, unknown lines anywhere.
    """
    lines = _split(body)
    if lines[0].text.rstrip(b" ") != b"v=0":
        raise SdpError("the body does not begin with v=0")
    if any(line.text.startswith(b"v=") for line in lines[1:]):
        raise SdpError("more than one session description")
    starts = tuple(index for index, line in enumerate(lines) if line.text.startswith(b"m="))
    if len(starts) > MAX_MEDIA:
        raise SdpError(f"more than {MAX_MEDIA} media lines")
    edges = (*starts, len(lines))
    if not any(line.text.startswith(b"o=") for line in lines[: edges[0]]):
        raise SdpError("no o= line")
    session = _scan(lines[: edges[0]])
    parts = [_scan(lines[start:stop]) for start, stop in zip(starts, edges[1:], strict=True)]
    media = tuple(_media(lines[start].text, part, session) for start, part in zip(starts, parts, strict=True))
    own = tuple(part.connection is not None for part in parts)
    return Sdp(media, body, lines, starts, session.connection, own)


def rewrite(body: bytes, lines: Sequence[Endpoint | None]) -> bytes:
    """`parse(body).rewrite(lines)`: see there; SdpError when the body cannot be read."""
    return parse(body).rewrite(lines)


def _split(body: bytes) -> tuple[_Line, ...]:
    if len(body) > MAX_BODY:
        raise SdpError(f"body above {MAX_BODY} octets")
    if b"\0" in body:
        raise SdpError("a NUL octet in the body")
    if body.count(b"\n") > MAX_LINES:
        raise SdpError(f"more than {MAX_LINES} lines")
    pieces = body.split(b"\n")
    lines = [
        _Line(piece[:-1], b"\r\n") if piece.endswith(b"\r") else _Line(piece, b"\n") for piece in pieces[:-1]
    ]
    if pieces[-1]:
        lines.append(_Line(pieces[-1], b""))
    if len(lines) > MAX_LINES:
        raise SdpError(f"more than {MAX_LINES} lines")
    filled = len(lines)
    while filled and not lines[filled - 1].text:
        filled -= 1
    if not filled:
        raise SdpError("an empty body")
    for number, (text, _) in enumerate(lines[:filled], 1):
        # A lone CR would be a line end to some peers and not to us: two readings of one body.
        if text[1:2] != b"=" or not text[:1].isalpha() or b"\r" in text:
            raise SdpError(f"line {number} is not of the form x=value")
    return tuple(lines)


def _scan(lines: Iterable[_Line]) -> _Section:
    connection: bytes | None = None
    direction: str | None = None
    rtcp: bytes | None = None
    mux = False
    for text, _ in lines:
        if text.startswith(b"c="):
            value = text[2:]
            _host_of(value)
            connection = value if connection is None else connection
        elif text.startswith(b"a="):
            name, value = _attribute(text)
            if name in _DIRECTIONS:
                direction = name.decode("ascii")
            elif name == b"rtcp" and rtcp is None:
                rtcp = value
            elif name in _MUX:
                mux = True
    return _Section(connection, direction, rtcp, mux)


def _media(text: bytes, part: _Section, session: _Section) -> Media:
    match = _MEDIA.fullmatch(text)
    if match is None:
        raise SdpError("a media line that cannot be read, or that asks for more than one port")
    kind, digits, _, proto, fmts = match.groups()
    port = int(digits)
    if port > 65535:
        raise SdpError("a media port above 65535")
    connection = part.connection if part.connection is not None else session.connection
    if connection is None and port != 0:
        raise SdpError("a media line without an address")
    address = "" if connection is None else _host_of(connection)
    rtcp_port, rtcp_address = (None, None) if part.rtcp is None else _rtcp(part.rtcp)
    name = proto.decode("ascii")
    media = Media(
        kind=kind.decode("ascii"),
        port=port,
        proto=name,
        fmts=tuple(fmt.decode("ascii") for fmt in fmts.split()),
        address=address,
        direction=part.direction or session.direction or "sendrecv",
        rtcp_port=rtcp_port,
        rtcp_address=rtcp_address,
        mux=part.mux,
        relayed=port != 0 and _is_relayable(name) and not _is_multicast(address),
    )
    if media.relayed and media.is_rtp and not media.payload_types:
        raise SdpError("an RTP media line without a payload type")
    return media


def _is_relayable(proto: str) -> bool:
    """Whether datagrams of this transport can be carried without terminating anything (sdp.md §11)."""
    words = proto.upper().split("/")
    return words[0] in ("RTP", "UDPTL") or (words[0] == "UDP" and not {"TLS", "DTLS"} & set(words))


def _is_multicast(host: str) -> bool:
    ip = parse_ip(host)
    return ip is not None and ip.is_multicast


def _words(value: bytes) -> list[bytes]:
    return [word for word in value.split(b" ") if word]


def _host_of(value: bytes) -> str:
    """The host in `IN IP4 host[/ttl[/n]]`, the value of a c= line (RFC 8866 §5.7)."""
    words = _words(value)
    if len(words) != 3 or words[0].upper() != b"IN" or words[1].upper() not in (b"IP4", b"IP6"):
        raise SdpError("an address that is neither IN IP4 nor IN IP6")
    octets = words[2].partition(b"/")[0]
    if _HOST.fullmatch(octets) is None:
        raise SdpError("an address that is neither an IP literal nor a name")
    host = octets.decode("ascii")
    ip = parse_ip(host)
    if ip is None and not {"[", "]", ":"}.isdisjoint(host):
        raise SdpError("an IPv6 address that cannot be read")
    return host if ip is None else str(ip)


def _rtcp(value: bytes) -> tuple[int, str | None]:
    """Port and address of `a=rtcp:port [IN IP4 host]` (RFC 3605 §2.1)."""
    digits, _, rest = value.partition(b" ")
    if _PORT.fullmatch(digits) is None or int(digits) > 65535:
        raise SdpError("an a=rtcp line that cannot be read")
    return int(digits), _host_of(rest) if _words(rest) else None


def _attribute(text: bytes) -> tuple[bytes, bytes]:
    """Name, lower-cased as ASCII, and value of an a= line; both without surrounding blanks."""
    name, _, value = text[2:].partition(b":")
    return name.strip(b" \t").lower(), value.strip(b" \t")


def _connection(host: str, null: bool) -> bytes:
    """`IN IP4 host` or `IN IP6 host`; with `null` the unspecified address of the host's family."""
    if ":" in host:
        return b"IN IP6 " + (b"::" if null else host.encode("ascii"))
    return b"IN IP4 " + (b"0.0.0.0" if null else host.encode("ascii"))


def _session_lines(lines: Iterable[_Line], shared: bytes | None, drop_ice: bool) -> Iterable[_Line]:
    written = False
    for line in lines:
        if shared is not None and line.text.startswith(b"c="):
            if not written:
                yield _Line(b"c=" + shared, line.end)
            written = True
        elif not (drop_ice and line.text.startswith(b"a=") and _attribute(line.text)[0] in _ICE):
            yield line


def _media_lines(lines: Iterable[_Line], where: Endpoint, wanted: bytes) -> Iterable[_Line]:
    written = False
    for line in lines:
        text, end = line
        if text.startswith(b"m="):
            start, stop = _port_span(text)
            yield _Line(text[:start] + b"%d" % where.port + text[stop:], end)
        elif text.startswith(b"c="):
            if not written:  # several c= lines mean several multicast groups: one address is left
                yield _Line(b"c=" + wanted, end)
            written = True
        elif not text.startswith(b"a="):
            yield line
        else:
            name, value = _attribute(text)
            if name == b"rtcp":
                if where.rtcp_port is not None:
                    yield _Line(_rtcp_line(value, where.host, where.rtcp_port), end)
            elif name not in _ICE and (where.mux or name not in _MUX):
                yield line


def _rtcp_line(value: bytes, host: str, port: int) -> bytes:
    _, _, address = value.partition(b" ")
    if not _words(address):
        return b"a=rtcp:%d" % port
    return b"a=rtcp:%d " % port + _connection(host, is_unspecified(_host_of(address)))


def _port_span(text: bytes) -> tuple[int, int]:
    match = _MEDIA.fullmatch(text)
    assert match is not None  # parse() read this line
    return match.span(2)


def _with_connection(lines: Sequence[_Line], wanted: bytes, newline: bytes) -> tuple[_Line, ...]:
    """The media part with a c= line where RFC 8866 §5 wants it: after m= and i=, before all else."""
    place = 1
    while place < len(lines) and lines[place].text.startswith(b"i="):
        place += 1
    before = lines[place - 1]
    return (
        *lines[: place - 1],
        _Line(before.text, before.end or newline),
        _Line(b"c=" + wanted, before.end),
        *lines[place:],
    )

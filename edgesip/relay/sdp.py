"""SDP as the relay sees it: which media a body describes, and the same body pointing somewhere else.

Works on octets and changes only the lines that carry an address, a port, or an ICE offer which the relay
would make untrue; every other octet comes out as it went in. Knows nothing of dialogs, offers or answers,
of which ports are free, or of MIME: the whole body is taken to be one session description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from edgesip.address import is_unspecified, parse_ip

MAX_BODY = 65536
MAX_LINES = 512
MAX_MEDIA = 16
USUAL_PTIME = 20

_DIRECTIONS = frozenset((b"sendrecv", b"sendonly", b"recvonly", b"inactive"))
_PTIMES = (b"ptime", b"maxptime")
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
_LINES = re.compile(rb"(?:[A-Za-z]=[^\0\r\n]*+\r?\n)*+(?:[A-Za-z]=[^\0\r\n]*+|(?:\r?\n)++)?+")
_ITEM = re.compile(
    rb"^(?:([cimov])=|a=[ \t]*((?i:%s))[ \t]*(?::|(?=[\r\n])|\Z))([^\r\n]*)(\r?\n|\Z)"
    % b"|".join(sorted((b"rtcp", *_PTIMES, *_DIRECTIONS, *_MUX, *_ICE))),
    re.MULTILINE,
)
_MEDIA = re.compile(rb"([!-~]+) +([0-9]{1,5})(?:/1)? +([!-~]+)((?: +[!-~]+)*) *")
_HOST = re.compile(rb"[][A-Za-z0-9._:-]{1,255}")
_PORT = re.compile(rb"[0-9]{1,5}")


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


class Style(NamedTuple):
    """How a description is rewritten beyond what has to be: `origin` has o= name the relay too, `connection`
    the session's c= also where no media line needs it; `mark` is a line to add at the end, b"" for none.
    """

    origin: bool = False
    connection: bool = False
    mark: bytes = b""


PLAIN = Style()


class Media(NamedTuple):
    """One media description (RFC 8866 §5.14) with what it inherits from the session level.

    `address` is the effective c= host: a canonical IP literal, a name, or "" on a disabled line without
    any. `rtcp_port` and `rtcp_address` are those of `a=rtcp` (RFC 3605), None where it does not say.
    `relayed` is False for lines that must pass whole: port 0, TLS, DTLS and TCP media, multicast.
    `payload_types` is empty where the line is not RTP. `ptime`: the milliseconds a packet that its sender
    wants to receive, 0 where it does not say. `text` is the whole description as it came.
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
    payload_types: frozenset[int]
    ptime: int = 0
    text: bytes = b""

    @property
    def codes(self) -> tuple[int, ...]:
        """The payload types in the order of the line, the wanted ones first."""
        return tuple([int(fmt) for fmt in self.fmts if fmt.isdigit() and int(fmt) in self.payload_types])

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
        return _is_rtp(self.proto)


class _Item(NamedTuple):
    """A line that matters here: its letter or, for a=, attribute name; its value; where it stands."""

    name: bytes
    value: bytes
    end: bytes
    start: int
    stop: int


_Edit = tuple[_Item, bytes]  # what stands in place of the item's line, its line end included


class _Section(NamedTuple):
    """The session part or one media part: its items, and what they say."""

    items: tuple[_Item, ...]
    connection: bytes | None
    host: str
    direction: str | None
    rtcp: bytes | None
    mux: bool


@dataclass(frozen=True, slots=True)
class Sdp:
    """A parsed session description: its media lines, and the octets to make the next version from."""

    media: tuple[Media, ...]
    body: bytes
    _session: _Section
    _parts: tuple[_Section, ...]

    @property
    def host(self) -> str:
        """The IP literal of the first media line that is relayed and has one that is not null, else ""."""
        for media in self.media:
            if media.relayed and not media.null and parse_ip(media.address) is not None:
                return media.address
        return ""

    def rewrite(self, lines: Sequence[Endpoint | None], style: Style = PLAIN) -> bytes:
        """The body with each media line led to its endpoint; None leaves that line alone.

        One entry per media line, else ValueError. An endpoint for a line that is not `relayed` counts as
        None; without any the body is as it was. A null address stays null, in the endpoint's family; o=
        stays too, but in another family it names the endpoint. Doing it twice changes nothing more.
        """
        if len(lines) != len(self.media):
            raise ValueError(f"{len(lines)} endpoints for {len(self.media)} media lines")
        targets = [where if media.relayed else None for media, where in zip(self.media, lines, strict=True)]
        if not any(targets):
            return self.body
        # A port 0 line uses neither the session's address nor its ICE lines, so it holds nothing back.
        passes = [where is None and media.port != 0 for media, where in zip(self.media, targets, strict=True)]
        shared = self._shared(targets, passes, style.connection)
        inherited = self._session.connection if shared is None else shared
        host = next(where.host for where in targets if where is not None)
        drop_ice = not any(passes)
        edits = list(_session_edits(self._session.items, host, shared, drop_ice, style.origin))
        for media, part, where in zip(self.media, self._parts, targets, strict=True):
            if where is not None:
                wanted = _connection(where.host, media.null)
                insert = part.connection is None and wanted != inherited
                newline = self._session.items[0].end
                edits.extend(_media_edits(part.items, where, wanted, newline if insert else None))
        out: list[bytes] = []
        done = 0
        for item, text in edits:
            out += (self.body[done : item.start], text)
            done = item.stop
        out.append(self.body[done:])
        if style.mark:
            out.append(self._marked(style.mark))
        return b"".join(out)

    def _marked(self, mark: bytes) -> bytes:
        """What to append for the mark to stand on a line of its own; nothing where one does already."""
        if has_line(self.body, mark):
            return b""
        end = self._session.items[0].end
        return (b"" if self.body.endswith(b"\n") else end) + mark + end

    def _shared(
        self, targets: Sequence[Endpoint | None], passes: Sequence[bool], wanted: bool
    ) -> bytes | None:
        """The new value of the session's c= line, or None when it has to stay as it is.

        It changes where a media line depends on it; `wanted` where none does as well.
        """
        dependent = [index for index, part in enumerate(self._parts) if part.connection is None]
        if self._session.connection is None or any(passes[index] for index in dependent):
            return None
        if not (dependent or wanted):
            return None
        wishes = [targets[index] for index in dependent] + list(targets)
        first = next(where for where in wishes if where is not None)
        return _connection(first.host, is_unspecified(self._session.host))


def parse(body: bytes) -> Sdp:
    """Read one session description; SdpError says why it cannot be used (limits: MAX_* above).

    Tolerated: bare LF, no final CRLF, blank lines at the end, no s= or t=, unknown lines anywhere.
    """
    _check_lines(body)
    sections: list[list[_Item]] = [[]]
    names: list[bytes] = []
    for match in _ITEM.finditer(body):
        letter, attribute, value, end = match.groups()
        name = letter or attribute.lower()
        if name == b"m":
            sections.append([])
        sections[-1].append(_Item(name, value, end, *match.span()))
        names.append(name)
    if len(sections) > MAX_MEDIA + 1:
        raise SdpError(f"more than {MAX_MEDIA} media lines")
    head = sections[0]
    if names[:1] != [b"v"] or head[0].start != 0 or head[0].value.rstrip(b" ") != b"0":
        raise SdpError("the body does not begin with v=0")
    if names.count(b"v") > 1:
        raise SdpError("more than one session description")
    if b"o" not in names[: len(head)]:
        raise SdpError("no o= line")
    session = _section(head)
    parts = tuple(_section(items) for items in sections[1:])
    ends = [items[0].start for items in sections[2:]] + [len(body)]
    media = [_media(part, session, body, end) for part, end in zip(parts, ends, strict=False)]
    return Sdp(tuple(media), body, session, parts)


def rewrite(body: bytes, lines: Sequence[Endpoint | None]) -> bytes:
    """`parse(body).rewrite(lines)`: see there; SdpError when the body cannot be read."""
    return parse(body).rewrite(lines)


def has_line(body: bytes, line: bytes) -> bool:
    """True when this is one of the lines of a body, its end aside."""
    at = body.find(line)
    while at >= 0:
        end = at + len(line)
        if (at == 0 or body[at - 1 : at] == b"\n") and body[end : end + 1] in (b"", b"\r", b"\n"):
            return True
        at = body.find(line, end)
    return False


def _check_lines(body: bytes) -> None:
    if len(body) > MAX_BODY:
        raise SdpError(f"body above {MAX_BODY} octets")
    if body.count(b"\n") + (not body.endswith(b"\n")) > MAX_LINES:
        raise SdpError(f"more than {MAX_LINES} lines")
    # A lone CR would be a line end to some peers and not to us: two readings of one body.
    match = _LINES.match(body)
    read = match.end() if match is not None else 0
    if read < len(body):
        raise SdpError(f"line {body.count(bytes((10,)), 0, read) + 1} is not of the form x=value")


def _section(items: Sequence[_Item]) -> _Section:
    connection: bytes | None = None
    host = ""
    direction: str | None = None
    rtcp: bytes | None = None
    mux = False
    for item in items:
        if item.name == b"c":
            read = _host_of(item.value)
            if connection is None:
                connection, host = item.value, read
        elif item.name in _DIRECTIONS:
            direction = item.name.decode("ascii")
        elif item.name == b"rtcp":
            rtcp = item.value if rtcp is None else rtcp
        elif item.name in _MUX:
            mux = True
    return _Section(tuple(items), connection, host, direction, rtcp, mux)


def _media(part: _Section, session: _Section, body: bytes, end: int) -> Media:
    match = _MEDIA.fullmatch(part.items[0].value)
    if match is None:
        raise SdpError("a media line that cannot be read, or that asks for more than one port")
    kind, digits, proto, fmts = match.groups()
    port = int(digits)
    if port > 65535:
        raise SdpError("a media port above 65535")
    address = part.host or session.host
    if not address and port != 0:
        raise SdpError("a media line without an address")
    rtcp_port, rtcp_address = _first_rtcp(part)
    transport = proto.decode("ascii")
    formats = tuple(fmts.decode("ascii").split())
    relayed = port != 0 and _is_relayable(transport) and not _is_multicast(address)
    types = _payload_types(formats) if _is_rtp(transport) else frozenset()
    if relayed and not types and _is_rtp(transport):
        raise SdpError("an RTP media line without a payload type")
    return Media(
        kind=kind.decode("ascii"),
        port=port,
        proto=transport,
        fmts=formats,
        address=address,
        direction=part.direction or session.direction or "sendrecv",
        rtcp_port=rtcp_port,
        rtcp_address=rtcp_address,
        mux=part.mux,
        relayed=relayed,
        payload_types=types,
        ptime=_ptime(part.items),
        text=body[part.items[0].start : end],
    )


def _ptime(items: Sequence[_Item]) -> int:
    """Milliseconds of a=ptime, at most those of a=maxptime (RFC 8866 §6.4); 0 where neither is there."""
    said = {item.name: int(item.value) for item in items if item.name in _PTIMES and _is_short(item.value)}
    wanted, most = said.get(b"ptime", 0), said.get(b"maxptime", 0)
    return min(wanted or USUAL_PTIME, most) if most else wanted


def _is_short(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 4


def _is_rtp(proto: str) -> bool:
    return proto[:4].upper() == "RTP/"


def _is_relayable(proto: str) -> bool:
    """Whether datagrams of this transport can be carried without terminating anything."""
    first, *rest = proto.upper().split("/")
    return first in ("RTP", "UDPTL") or (first == "UDP" and "TLS" not in rest and "DTLS" not in rest)


def _payload_types(fmts: Sequence[str]) -> frozenset[int]:
    return frozenset([int(fmt) for fmt in fmts if len(fmt) <= 3 and fmt.isdigit() and int(fmt) < 128])


@lru_cache(maxsize=1024)
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
    return str(ip) if ":" in host else host


def _first_rtcp(part: _Section) -> tuple[int | None, str | None]:
    """What the first a=rtcp line of a media part says; the others are rewritten too, so each must be read."""
    if part.rtcp is None:
        return None, None
    found = [_rtcp(item.value) for item in part.items if item.name == b"rtcp"]
    return found[0]


def _rtcp(value: bytes) -> tuple[int, str | None]:
    """Port and address of `a=rtcp:port [IN IP4 host]` (RFC 3605 §2.1)."""
    digits, _, rest = value.strip(b" \t").partition(b" ")
    if _PORT.fullmatch(digits) is None or int(digits) > 65535:
        raise SdpError("an a=rtcp line that cannot be read")
    return int(digits), _host_of(rest) if rest else None


def _connection(host: str, null: bool) -> bytes:
    """`IN IP4 host` or `IN IP6 host`; with `null` the unspecified address of the host's family."""
    if ":" in host:
        return b"IN IP6 " + (b"::" if null else host.encode("ascii"))
    return b"IN IP4 " + (b"0.0.0.0" if null else host.encode("ascii"))


def _origin(value: bytes, host: str, wanted: bool) -> bytes | None:
    """The o= line with `host` for its address, if that is `wanted` or of another family; None: it may stay.

    There are phones that take the family of a whole description from its first "IN IP4" or "IN IP6".
    """
    words = _words(value)
    family = b"IP6" if ":" in host else b"IP4"
    if len(words) != 6 or words[4].upper() not in (b"IP4", b"IP6"):
        return None
    if words[4].upper() == family and not wanted:
        return None
    return b" ".join((*words[:4], family, host.encode("ascii")))


def _session_edits(
    items: Iterable[_Item], host: str, shared: bytes | None, drop_ice: bool, origin: bool
) -> Iterator[_Edit]:
    """Edits of the session part: its first c= line becomes `shared` if given, ICE lines go if told so.

    `host` is the address for an o= line that is not of its family, and with `origin` for any.
    """
    written = False
    for item in items:
        if item.name == b"o":
            named = _origin(item.value, host, origin)
            if named is not None:
                yield item, b"o=" + named + item.end
        elif shared is not None and item.name == b"c":
            yield item, b"" if written else b"c=" + shared + item.end
            written = True
        elif drop_ice and item.name in _ICE:
            yield item, b""


def _media_edits(
    items: Sequence[_Item], where: Endpoint, wanted: bytes, insert: bytes | None
) -> Iterator[_Edit]:
    """Edits of one media part; `insert` asks for a c= line of its own and is the line end to use for it."""
    first, second = items[0], items[1] if len(items) > 1 else None
    # RFC 8866 §5 puts c= after m= and i=, before all else.
    title = second if second is not None and second.name == b"i" and second.start == first.stop else None
    own = b"" if insert is None else b"c=" + wanted
    yield first, _with_after(_media_line(first.value, where.port), first.end, b"" if title else own, insert)
    if title is not None and own:
        yield title, _with_after(b"i=" + title.value, title.end, own, insert)
    written = False
    for item in items[1:]:
        if item.name == b"c":  # several c= lines mean several multicast groups: one address is left
            yield item, b"" if written else b"c=" + wanted + item.end
            written = True
        elif item.name == b"rtcp":
            yield (
                item,
                b""
                if where.rtcp_port is None
                else _rtcp_line(item.value, where.host, where.rtcp_port) + item.end,
            )
        elif item.name in _ICE or (item.name in _MUX and not where.mux):
            yield item, b""


def _media_line(value: bytes, port: int) -> bytes:
    match = _MEDIA.fullmatch(value)
    assert match is not None  # parse() read this line
    return b"m=" + value[: match.start(2)] + b"%d" % port + value[match.end(2) :]


def _with_after(text: bytes, end: bytes, more: bytes, newline: bytes | None) -> bytes:
    """`text` and, when there is any, `more` on a line after it; the last line of a body may have no end."""
    return text + end if not more or newline is None else text + (end or newline) + more + end


def _rtcp_line(value: bytes, host: str, port: int) -> bytes:
    _, address = _rtcp(value)
    line = b"a=rtcp:%d" % port
    return line if address is None else line + b" " + _connection(host, is_unspecified(address))

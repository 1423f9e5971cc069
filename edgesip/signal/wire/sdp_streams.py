"""SDP as a text of sections: the session's lines and those of each stream, and what scripts ask of them.

Holds reads alone, octets to values (RFC 8866): kinds, codecs, transports, directions, single fields by the
names of sdpops. Lenient: a line that says nothing here is passed over. It refuses to judge whether the whole
is SDP that media can be relayed by, and to change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

STATIC: Final = {
    0: "PCMU", 3: "GSM", 4: "G723", 5: "DVI4", 6: "DVI4", 7: "LPC", 8: "PCMA", 9: "G722", 10: "L16",
    11: "L16", 12: "QCELP", 13: "CN", 14: "MPA", 15: "G728", 16: "DVI4", 17: "DVI4", 18: "G729",
    25: "CelB", 26: "JPEG", 28: "nv", 31: "H261", 32: "MPV", 33: "MP2T", 34: "H263",
}  # fmt: skip
"""Payload types that need no a=rtpmap (RFC 3551 §6)."""

DIRECTIONS: Final = (b"sendrecv", b"sendonly", b"recvonly", b"inactive")


class Stream(NamedTuple):
    """One m-line with what follows it; `lines` keep their line ends. `port` is 0 for one that is off."""

    kind: str
    port: int
    transport: str
    formats: tuple[str, ...]
    lines: tuple[bytes, ...]

    @property
    def is_rtp(self) -> bool:
        """True where the formats are payload types."""
        return "RTP/" in self.transport.upper()

    def codecs(self) -> dict[str, str]:
        """Payload type to name with clock rate, as a=rtpmap has it; static ones without one by name alone."""
        if not self.is_rtp:
            return {}
        found = {one: STATIC.get(int(one), "") if one.isdigit() else "" for one in self.formats}
        for value in attributes(self.lines, b"rtpmap"):
            number, _, name = value.decode("latin-1").strip().partition(" ")
            if number in found:
                found[number] = "/".join(name.strip().split("/")[:2])
        return found


class Description(NamedTuple):
    """One session description: its own lines, and its streams in order."""

    session: tuple[bytes, ...]
    streams: tuple[Stream, ...]

    def direction(self, stream: Stream) -> str:
        """sendrecv, sendonly, recvonly or inactive: the stream's own, else the session's (RFC 8866 §6.7)."""
        for lines in (stream.lines, self.session):
            for line in lines:
                value = line[2:].strip().lower()
                if line.startswith(b"a=") and value in DIRECTIONS:
                    return value.decode()
        return "sendrecv"

    def active(self, stream: Stream) -> bool:
        """True for a port that is not 0 and a direction that is not inactive."""
        return stream.port != 0 and self.direction(stream) != "inactive"


def read(sdp: bytes) -> Description:
    """The sections of a session description, whatever they are worth."""
    session: tuple[bytes, ...] = ()
    streams: list[Stream] = []
    lines = sdp.splitlines(keepends=True) if b"\n" in sdp else [sdp]
    starts = [place for place, line in enumerate(lines) if line.startswith(b"m=")]
    session = tuple(lines[: starts[0]] if starts else lines)
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=False):
        words = lines[start][2:].decode("latin-1").split()
        kind, port, transport, *formats = [*words, "", "", ""][: max(3, len(words))]
        number = port.partition("/")[0]
        value = int(number) if number.isdigit() and len(number) < 6 else 0
        streams.append(Stream(kind, value, transport, tuple(formats), tuple(lines[start:stop])))
    return Description(session, tuple(streams))


def attributes(lines: Sequence[bytes], name: bytes) -> Iterator[bytes]:
    """The values of `a=name:value` lines."""
    start = b"a=" + name + b":"
    for line in lines:
        if line.startswith(start):
            yield line[len(start) :].rstrip(b"\r\n")


def of_kind(streams: Sequence[Stream], kind: str) -> list[Stream]:
    """The streams of this media type; all of them for an empty one."""
    return [one for one in streams if not kind or one.kind.lower() == kind.lower()]


def line_with(sdp: bytes, prefix: str) -> str:
    """The first line that begins so, without its end; empty for none."""
    start = prefix.encode("utf-8", "surrogateescape")
    for line in sdp.splitlines():
        if line.startswith(start):
            return _text(line)
    return ""


def common_transport(sdp: bytes) -> str:
    """The transport of every m-line, when it is the same one; else empty."""
    found = {one.transport for one in read(sdp).streams}
    return found.pop() if len(found) == 1 else ""


def address_family(sdp: bytes) -> int:
    """4 or 6, of the first stream's address, else the session's; -1 where there is none."""
    return {"IP4": 4, "IP6": 6}.get(_connection(read(sdp), 1).upper(), -1)


def has_ice(sdp: bytes) -> bool:
    """True when there is an ICE candidate (RFC 8839)."""
    found = read(sdp)
    sections = [found.session, *(one.lines for one in found.streams)]
    return any(True for lines in sections for _ in attributes(lines, b"candidate"))


def field(sdp: bytes, name: str) -> str:
    """sdpops' `$sdp(name)`: body, sess_version, o:ip, c:ip, c:af; of stream N from 0: mN:raw, mN:rtp:port,
    mN:rtcp:port, mN:b:AS (or RR, RS). Empty for what the SDP has not; ValueError for another name.
    """
    if name == "body":
        return _text(sdp)
    found = read(sdp)
    if name in ("sess_version", "o:ip"):
        words = line_with(sdp, "o=").split()
        return words[2 if name == "sess_version" else 5] if len(words) == 6 else ""
    if name in ("c:ip", "c:af"):
        return _connection(found, 2 if name == "c:ip" else 1).partition("/")[0]
    number, colon, what = name.removeprefix("m").partition(":")
    if not (name.startswith("m") and number.isdigit() and colon) or what not in _OF_STREAM:
        raise ValueError(f"there is no $sdp({name})")
    if int(number) >= len(found.streams):
        return ""
    stream = found.streams[int(number)]
    if what == "raw":
        return _text(b"".join(stream.lines))
    if what == "rtp:port":
        return str(stream.port)
    if what == "rtcp:port":
        return _rtcp_port(stream)
    return line_with(b"".join(stream.lines), f"b={what[2:]}:").partition(":")[2]


_OF_STREAM: Final = ("raw", "rtp:port", "rtcp:port", "b:AS", "b:RR", "b:RS")


def printed(sdp: bytes) -> str:
    """What the description says, a line for each stream: for logs."""
    found = read(sdp)
    shown = [f"session {field(sdp, 'o:ip')} version {field(sdp, 'sess_version')}"]
    for number, one in enumerate(found.streams):
        codecs = [f"{key} {name}".rstrip() for key, name in one.codecs().items()] or list(one.formats)
        where = next((_words(line, 2) for line in one.lines if line.startswith(b"c=")), "")
        where = where or next((_words(line, 2) for line in found.session if line.startswith(b"c=")), "")
        state = found.direction(one) if one.port else "off"
        shown.append(
            f"stream {number}: {one.kind} {where} {one.port} {one.transport} {state}: {', '.join(codecs)}"
        )
    return "\n".join(shown)


def _connection(found: Description, word: int) -> str:
    """A word of the first c= line that counts: the first stream's own, else the session's."""
    first = found.streams[0].lines if found.streams else ()
    for lines in (first, found.session):
        for line in lines:
            if line.startswith(b"c="):
                return _words(line, word)
    return ""


def _words(line: bytes, word: int) -> str:
    words = line[2:].decode("latin-1").split()
    return words[word] if len(words) == 3 else ""


def _rtcp_port(stream: Stream) -> str:
    """RFC 3605; without a=rtcp the next port, with a=rtcp-mux alone the same (RFC 5761)."""
    for value in attributes(stream.lines, b"rtcp"):
        return value.decode("latin-1").split()[0] if value.strip() else ""
    if any(line.rstrip() == b"a=rtcp-mux" for line in stream.lines):
        return str(stream.port)
    return str(stream.port + 1) if stream.port else "0"


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")

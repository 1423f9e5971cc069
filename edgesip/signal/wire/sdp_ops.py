"""sdpops: SDP with codecs, streams or lines taken out of it; octets to octets.

Every line that is not named comes out as it went in. A stream that is taken out keeps its m-line with port 0:
the answer must have as many m-lines as the offer, in the same order (RFC 3264 §6). It refuses to know which
message the SDP stands in, and to change addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgesip.signal.wire.sdp_streams import Description, Stream, attributes, of_kind, read

_OF_CODEC: Final = (b"rtpmap", b"fmtp", b"rtcp-fb")
_FIXED: Final = frozenset("vostm")

Chosen = Callable[[str, str], bool]
"""Whether a codec is meant: its payload type, and its name with clock rate."""


def by_id(listed: str) -> Chosen:
    """Codecs by payload type: "0,8,101". ValueError for a list with something else in it."""
    wanted = frozenset(one.strip() for one in listed.split(","))
    if not all(one.isdigit() and int(one) < 128 for one in wanted):
        raise ValueError(f"{listed!r} is no list of payload types, as 0,8,101")
    return lambda number, name: number in wanted


def by_name(listed: str) -> Chosen:
    """Codecs by name, in any case: "PCMA,telephone-event", "opus/48000". ValueError for an empty name."""
    wanted = frozenset(one.strip().lower() for one in listed.split(","))
    if "" in wanted:
        raise ValueError(f"{listed!r} is no list of codec names, as PCMA,telephone-event")
    return lambda number, name: not wanted.isdisjoint((name.lower(), name.lower().partition("/")[0]))


def without_codecs(sdp: bytes, chosen: Chosen, kind: str = "", keep: bool = False) -> bytes:
    """The SDP without the chosen codecs, or with `keep` without all others, in streams of this media type.

    Retransmission (RFC 4588) goes with the codec that it repeats. A stream that has none left is off; the
    very same octets when nothing is to be changed.
    """
    found = read(sdp)
    streams: list[Stream] = []
    off: list[int] = []
    for index, one in enumerate(found.streams):
        codecs = one.codecs() if of_kind([one], kind) and one.port else {}
        gone = {number for number, name in codecs.items() if chosen(number, name) != keep}
        gone |= _repeating(one, gone)
        if gone and len(gone) == len(codecs):
            off.append(index)
        streams.append(_without(one, gone) if gone and index not in off else one)
    if not off:
        return sdp if streams == list(found.streams) else _joined(found.session, streams)
    return _off(found._replace(streams=tuple(streams)), off)


def without_streams(sdp: bytes, kind: str = "", transport: str = "") -> bytes:
    """The SDP with streams of a media type, or of a transport, switched off."""
    found = read(sdp)
    chosen = [
        index
        for index, one in enumerate(found.streams)
        if one.port and of_kind([one], kind) and (not transport or one.transport == transport)
    ]
    return _off(found, chosen) if chosen else sdp


def without_lines(sdp: bytes, prefix: str, kind: str = "") -> bytes:
    """The SDP without lines that begin so; with a media type only in streams of it.

    ValueError for what is not the beginning of a line that may go: v, o, s, t and m have to stay.
    """
    if len(prefix) < 2 or prefix[1] != "=" or prefix[0] in _FIXED:
        raise ValueError(f"{prefix!r} is no beginning of an SDP line that may be removed, as a=ssrc")
    start = prefix.encode("utf-8", "surrogateescape")
    found = read(sdp)
    session = found.session if kind else tuple(one for one in found.session if not one.startswith(start))
    chosen = of_kind(found.streams, kind)
    streams = [
        one._replace(lines=tuple(line for line in one.lines if not line.startswith(start)))
        if one in chosen
        else one
        for one in found.streams
    ]
    return _joined(session, streams)


def with_version(sdp: bytes, version: int) -> bytes:
    """The SDP with another version in its o= line; -1: one more than it has. ValueError below that."""
    if version < -1:
        raise ValueError(f"{version} is no version of a session description")
    found = read(sdp)
    session = []
    for line in found.session:
        words = line.split(b" ")
        if line.startswith(b"o=") and len(words) > 2 and words[2].isdigit():
            words[2] = str(int(words[2]) + 1 if version < 0 else version).encode()
            line = b" ".join(words)
        session.append(line)
    return _joined(session, found.streams)


def _repeating(stream: Stream, gone: set[str]) -> set[str]:
    """The payload types that repeat those that go: `a=fmtp:97 apt=96`."""
    found = set()
    for value in attributes(stream.lines, b"fmtp") if gone else ():
        number, _, rest = value.decode("latin-1").partition(" ")
        params = [one.strip() for one in rest.split(";")]
        if number in stream.formats and any(one == f"apt={old}" for old in gone for one in params):
            found.add(number)
    return found


def _without(stream: Stream, gone: set[str]) -> Stream:
    """The stream without these payload types, in its m-line and in the attributes that are about one."""
    formats = tuple(one for one in stream.formats if one not in gone)
    words = stream.lines[0].rstrip(b"\r\n").split()
    end = stream.lines[0][len(stream.lines[0].rstrip(b"\r\n")) :]
    first = b" ".join([*words[:3], *(one.encode("latin-1") for one in formats)]) + end
    lines = [line for line in stream.lines[1:] if _codec_of(line) not in gone]
    return stream._replace(formats=formats, lines=(first, *lines))


def _codec_of(line: bytes) -> str:
    """The payload type that an attribute is about; empty for none."""
    name, colon, value = line[2:].partition(b":")
    if not (line.startswith(b"a=") and colon and name in _OF_CODEC):
        return ""
    words = value.split(None, 1)
    return words[0].decode("latin-1") if words else ""


def _off(found: Description, chosen: Sequence[int]) -> bytes:
    """These streams with port 0 and nothing but m=, i= and c=, and out of their groups (RFC 5888)."""
    mids = {one.strip() for index in chosen for one in attributes(found.streams[index].lines, b"mid")}
    session = [_ungrouped(line, mids) if line.startswith(b"a=group:") else line for line in found.session]
    streams = []
    for index, one in enumerate(found.streams):
        if index in chosen:
            text = one.lines[0].rstrip(b"\r\n")
            words = text.split()
            head = b" ".join([words[0], b"0", *words[2:]]) + one.lines[0][len(text) :]
            kept = [line for line in one.lines[1:] if line[:2] in (b"i=", b"c=")]
            one = one._replace(lines=(head, *kept))
        streams.append(one)
    return _joined(session, streams)


def _ungrouped(line: bytes, mids: set[bytes]) -> bytes:
    text = line.rstrip(b"\r\n")
    words = text.split(b" ")
    return b" ".join([words[0], *(one for one in words[1:] if one not in mids)]) + line[len(text) :]


def _joined(session: Sequence[bytes], streams: Sequence[Stream]) -> bytes:
    return b"".join([*session, *(line for one in streams for line in one.lines)])

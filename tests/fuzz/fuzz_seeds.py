"""What a fuzzer begins with: the torture messages, and the pieces of them that each target reads."""

from __future__ import annotations

import re
from itertools import pairwise

from verdicts import CUT_BADDN, MESSAGES

WORDS = (
    b"\r\n", b"\n", b"\r", b"\0", b"\r\n\r\n", b"\n\n", b"\r\n ", b" : ", b": ", b":::", b'"', b'\\"', b"<",
    b">", b";;", b",,", b"%00", b"%25", b"[::1]", b"[", b"]", b"*", b"\xff", b"\xc5\xbf", b"\xe2\x84\xaa",
    b"\xc2\x85", b"Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n", b"v:", b"f:", b"t:", b"i:", b"l:", b"m:",
    b"Content-Length: ", b"l: 0\r\n", b"Contact: *\r\n", b"Route: <sip:a;lr>\r\n", b"CSeq: 1 INVITE\r\n",
    b"SIP/2.0 200 OK\r\n", b"INVITE sip:a@b SIP/2.0\r\n", b"ACK", b"CANCEL", b"REGISTER", b"sips:",
    b"tel:+1", b";tag=", b";lr", b";maddr=", b";rport", b";received=", b"4294967296",
    b"99999999999999999999", b"-1", b"+5", b"1_000", b"\xd9\xa3", b"v=0\r\n", b"o=- 1 1 IN IP4 1.2.3.4\r\n",
    b"c=IN IP4 1.2.3.4\r\n", b"c=IN IP6 ::1\r\n", b"m=audio 4000 RTP/AVP 0\r\n", b"m=audio 0 RTP/AVP 0\r\n",
    b"a=rtcp:1\r\n", b"a=candidate:1\r\n", b"a=sendonly\r\n", b'Digest realm="edgesip", ', b'username="a"',
    b"qop=auth", b"nc=00000001",
)  # fmt: skip

_STUN = [
    b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12),
    b"\0\1\0\x08\x21\x12\xa4\x42" + bytes(12) + b"\x80\x28\0\4\xb2\xaa\xf9\xf6",
    b"\0\1\0\x0c\x21\x12\xa4\x42" + bytes(12) + b"\0\x20\0\x08\0\1\xa1\x47\xe1\x12\xa6\x43",
    b"\0\1\0\x10\x21\x12\xa4\x42" + bytes(12) + b"\0\3\0\4\0\0\0\6\0\x24\0\4prio",
    b"\0\1\0\x0c\x21\x12\xa4\x42" + bytes(12) + b"\0\x09\0\x08\0\0\4\1nope",
]
_MESSAGES = [CUT_BADDN, *(message.octets for message in MESSAGES)]
_VALUE = re.compile(rb"^[^:\r\n]+:[ \t]*([^\r\n]+)", re.MULTILINE)
_URI = re.compile(rb"[a-zA-Z.]+:[^\s<>\";,]+(?:;[^\s<>,]+)?")


def _bodies() -> list[bytes]:
    return [octets.partition(b"\r\n\r\n")[2] for octets in _MESSAGES if b"\nv=0" in octets]


def seeds(target: str) -> list[bytes]:
    """Inputs for that target, each once, the shorter ones first."""
    if target == "datagram":
        found = _MESSAGES
    elif target == "stream":
        found = [bytes((step,)) + octets for octets in _MESSAGES for step in (1, 7, 255)]
        found += [b"\x03" + one + _MESSAGES[1] + bytes(4) for one in _STUN]
        found += [b"\x09" + one + b"\r\n\r\n" + other for one, other in pairwise(_MESSAGES)]
    elif target == "uri":
        found = [uri for octets in _MESSAGES for uri in _URI.findall(octets)]
    elif target == "values":
        found = [value for octets in _MESSAGES for value in _VALUE.findall(octets)]
    elif target == "sdp":
        found = _bodies()
    elif target == "digest":
        found = [b'username="a", nonce="b", uri="sip:c", response="d", qop=auth, nc=00000001, cnonce="e"']
    elif target == "commands":
        talk = (
            b"1 Uc0,8 call 198.51.100.7 4000 a;1",
            b"2 LZ30A call 203.0.113.7 5000 a;1 b;1",
            b"3 UNW call ::1 0 b;2 a;2 unix:/t x%20y",
            b"4 Qv call a;1 b;1 ttl && D",
            b"5 P-1 call moh session a;1",
            b"6 Rs call a b",
            b"7 D call a b",
            b"8 I",
        )
        found = [*talk, b"\n".join(talk), b"\n".join(reversed(talk)), b"\n".join(talk[:3])]
    elif target == "stun":
        found = [
            *_STUN,
            *(b"\1\1" + one[2:] for one in _STUN),
            *(one[:4] + bytes(16) + one[20:] for one in _STUN),
        ]
    else:
        found = [b"\x80\0" + bytes(170), b"\x80\xc8\0\6" + bytes(24), b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)]
    return sorted(set(found), key=lambda data: (len(data), data))

"""SIP text for scripted user agents: just enough of RFC 3261 to send what a phone would not.

Written apart from the server's own parser, so that the two do not share a mistake. Knows no sockets.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}


@dataclass
class Message:
    """A request or a response; header names as they came, looked up without regard to case."""

    start: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    source: tuple[str, int] = ("", 0)

    @property
    def status(self) -> int:
        """The status code of a response, 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """Of the request, or of the request a response belongs to."""
        return self.get("CSeq").split()[1] if self.status else self.start.split()[0]

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    def all(self, name: str) -> list[str]:
        wanted = name.lower()
        return [value for key, value in self.headers if _COMPACT.get(key.lower(), key.lower()) == wanted]

    def get(self, name: str) -> str:
        """The first value, '' when there is none."""
        return next(iter(self.all(name)), "")

    def values(self, name: str) -> list[str]:
        """All values of a header that is a list of <URI>s, however they were put on lines."""
        return [value.strip() for line in self.all(name) for value in re.findall(r"[^,]*<[^>]*>[^,]*", line)]

    def answers(self, request: Message) -> bool:
        """Whether this is a response to `request`, by Call-ID and CSeq."""
        marks = ("Call-ID", "CSeq")
        return bool(self.status) and all(self.get(name) == request.get(name) for name in marks)

    def tag(self, name: str) -> str:
        found = re.search(r">[^>]*;tag=([^;,\s]+)", self.get(name))
        return found[1] if found else ""

    def contact_uri(self) -> str:
        found = re.search(r"<([^>]+)>", self.get("Contact"))
        assert found is not None, f"no Contact in {self.start}"
        return found[1]

    def encode(self) -> bytes:
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        if not self.get("Content-Length"):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def decode(data: bytes, source: tuple[str, int]) -> Message:
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode(errors="replace").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Message(start, [(name.strip(), value.strip()) for name, _, value in pairs], body, source)


def token(size: int = 6) -> str:
    return secrets.token_hex(size)


def bracketed(host: str) -> str:
    """An address as it stands in a URI."""
    return f"[{host}]" if ":" in host else host


def sdp(host: str, port: int, direction: str = "sendrecv", version: int = 1) -> bytes:
    """One PCMU audio line."""
    kind = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=lab 1 {version} IN {kind} {host}",
        "s=-",
        f"c=IN {kind} {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        f"a={direction}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n"


def media_address(body: bytes) -> tuple[str, int]:
    """Where the first m= line of a session description wants its RTP."""
    text = body.decode(errors="replace")
    line = re.search(r"^m=\S+ (\d+)", text, re.MULTILINE)
    host = re.search(r"^c=IN IP[46] (\S+)", text, re.MULTILINE)
    assert line is not None, f"no media in {text!r}"
    assert host is not None, f"no address in {text!r}"
    return host[1], int(line[1])


def _digest_fields(challenge: str) -> dict[str, str]:
    pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', challenge)
    return {name.lower(): quoted or bare for name, quoted, bare in pairs}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def credentials(challenge: str, user: str, password: str, method: str, uri: str) -> str:
    """The value of Authorization for a Digest challenge with qop=auth (RFC 7616, MD5)."""
    fields = _digest_fields(challenge)
    realm, nonce, cnonce = fields["realm"], fields["nonce"], token()
    secret = _md5(f"{user}:{realm}:{password}")
    answer = _md5(f"{secret}:{nonce}:00000001:{cnonce}:auth:" + _md5(f"{method}:{uri}"))
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{answer}", '
        f'algorithm=MD5, qop=auth, nc=00000001, cnonce="{cnonce}"'
    )

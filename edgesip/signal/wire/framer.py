"""Messages out of a stream: RFC 3261 §18.3 framing by Content-Length, keepalives of RFC 5626 §3.5.1 and STUN.

Takes octets as they come, split anywhere, and gives whole messages. Bounded: it never holds more than one
message of `LARGEST` octets. Reads no header but Content-Length, of STUN its length, and judges nothing else.
"""

from __future__ import annotations

from typing import Final

from edgesip.signal.wire.grammar import ParseError, digits, is_token

LARGEST: Final = 65535
"""Octets of one message, head and body."""

PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"
ZEROS: Final = bytes(4)
"""What some keep a way open with."""
_STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
_STUN_LARGEST: Final = 548


class Framer:
    """One stream. Once there is a `fault` nothing later in it can be trusted: close it."""

    __slots__ = ("_begun", "_buffer", "_searched", "_size", "fault")

    def __init__(self) -> None:
        self.fault: ParseError | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._size = 0
        self._begun = False

    @property
    def pending(self) -> bool:
        """True while a message has begun that has not ended; line ends between messages begin none."""
        return len(self._buffer) > 3 or bytes(self._buffer) not in (b"", b"\r", b"\r\n", b"\r\n\r")

    @property
    def rest(self) -> bytes:
        """The octets after the last whole message: with a `fault`, what could not be framed."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these octets complete, each whole; `PING` stands for a keepalive.

        Where the stream is not SIP, lies about its lengths or is too long, `fault` says so from then on;
        the messages before that place are as good as any.
        """
        found: list[bytes] = []
        if self.fault is not None:
            return found
        self._buffer += data
        try:
            while (message := self._next()) is not None:
                found.append(message)
            if len(self._buffer) > LARGEST:
                raise ParseError("message too long for a stream", status=513)
        except ParseError as error:
            self.fault = error
        return found

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if not self._size:
            if buffer.startswith(b"\r\n"):
                return self._blank()
            if buffer and buffer[0] < 4:
                if not self._stun():
                    return None
            elif not self._head():
                return None
        if len(buffer) < self._size:
            return None
        message = bytes(buffer[: self._size])
        del buffer[: self._size]
        self._size = self._searched = 0
        self._begun = False
        return message

    def _blank(self) -> bytes | None:
        """A double CRLF between messages is a ping; a single one, once something follows, is nothing."""
        buffer = self._buffer
        if buffer.startswith(PING):
            del buffer[:4]
            return PING
        if len(buffer) == 2 or buffer == b"\r\n\r":
            return None
        del buffer[:2]
        return self._next()

    def _stun(self) -> bool:
        """Once its header is there, the size of a STUN message is known (RFC 8489 §5, §6.2.2)."""
        buffer = self._buffer
        if buffer.startswith(ZEROS):
            self._size = len(ZEROS)
            return True
        if len(buffer) < 8:
            return False
        self._size = 20 + (buffer[2] << 8 | buffer[3])
        if buffer[4:8] != _STUN_COOKIE or self._size > _STUN_LARGEST:
            raise ParseError("not SIP")
        return True

    def _head(self) -> bool:
        """Look for the end of the head; once it is there, the size of the message is known."""
        buffer = self._buffer
        if not self._begun:
            self._begun = _check_begin(buffer)
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(buffer)
        if end < 0:
            return False
        self._size = end + 4 + _length(bytes(buffer[:end]))
        if self._size > LARGEST:
            raise ParseError("message too long for a stream", status=513)
        return True


def _check_begin(buffer: bytearray) -> bool:
    """True once the first line is there and is SIP's (threat 33: HTTP ends at its first line)."""
    line, end, _ = bytes(buffer[:2048]).partition(b"\r\n")
    if not end:
        if len(buffer) > 2048:
            raise ParseError("first line too long")
        # A TLS client says nothing more until it is answered.
        if line not in (b"", b"\r") and not is_token(line[:1].decode("latin-1")):
            raise ParseError("not SIP")
        return False
    words = line.split(b" ")
    # A space too many is the parser's to judge (RFC 4475 §3.1.2.9).
    last = line.rstrip(b" ").rpartition(b" ")[2]
    request = last.upper().startswith(b"SIP/") and is_token(words[0].decode("latin-1"))
    if len(words) < 3 or not (request or words[0].upper() == b"SIP/2.0"):
        raise ParseError("not SIP")
    return True


def _length(head: bytes) -> int:
    """The one Content-Length of a head; a stream cannot do without."""
    found: list[str] = []
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon and name.rstrip(b" \t").lower() in (b"content-length", b"l"):
            found.append(value.strip(b" \t").decode("latin-1"))
    if len(set(found)) != 1:
        raise ParseError("a stream needs one Content-Length")
    if len(found[0]) > 10:
        raise ParseError("Content-Length too long")
    return digits(found[0], LARGEST)

"""A scripted pair of phones: one thread, one socket each, just enough SIP to open calls and to time them.

Caller and callee sit in the same thread, so a time between a sending and an arrival holds no thread switch
of ours. Knows nothing of what stands between the two.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from dataclasses import dataclass

from rig.process import BenchError
from rig.servers import HOST, PORT

Address = tuple[str, int]
PATIENCE = 3.0


class Phone:
    """One UDP socket on loopback; `user` is who it says it is."""

    def __init__(self, user: str, port: int) -> None:
        self.user = user
        self.port = port
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((HOST, port))
        self.sock.settimeout(PATIENCE)
        self.contact = f"<sip:{user}@192.168.1.10:{port}>"

    def close(self) -> None:
        """Let go of the socket."""
        self.sock.close()

    def receive(self, start: bytes) -> tuple[str, float]:
        """The next message that begins so, and when it came; others are passed over."""
        while True:
            try:
                data = self.sock.recv(65535)
            except TimeoutError:
                raise BenchError(f"{self.user} waited {PATIENCE:.0f} s for {start.decode()}") from None
            at = time.perf_counter()
            if data.startswith(start):
                return data.decode(), at

    def via(self) -> str:
        """A fresh Via."""
        return f"Via: SIP/2.0/UDP {HOST}:{self.port};rport;branch=z9hG4bK{secrets.token_hex(8)}"

    def register(self, server: Address = (HOST, PORT)) -> None:
        """Register without a password."""
        lines = [
            f"REGISTER sip:{HOST} SIP/2.0",
            self.via(),
            "Max-Forwards: 70",
            f"From: <sip:{self.user}@{HOST}>;tag={secrets.token_hex(4)}",
            f"To: <sip:{self.user}@{HOST}>",
            f"Call-ID: {secrets.token_hex(8)}",
            "CSeq: 1 REGISTER",
            f"Contact: {self.contact}",
            "Expires: 3600",
        ]
        self.sock.sendto(message(lines), server)
        self.receive(b"SIP/2.0 200")


def message(lines: list[str], body: str = "") -> bytes:
    """A message from its lines."""
    kind = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, *kind, f"Content-Length: {len(body)}", "", body]).encode()


def sdp(port: int, host: str = HOST) -> str:
    """One PCMU audio line."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m=audio {port} RTP/AVP 0"]
    return "\r\n".join([*lines, "a=rtpmap:0 PCMU/8000", "a=sendrecv", ""])


def media_port(text: str) -> int:
    """The port of the first m= line."""
    found = re.search(r"^m=\S+ (\d+)", text, re.MULTILINE)
    if found is None:
        raise BenchError(f"no media line in\n{text}")
    return int(found[1])


def _lines(text: str, *names: str) -> list[str]:
    wanted = tuple(f"{name.lower()}:" for name in names)
    return [line for line in text.partition("\r\n\r\n")[0].split("\r\n") if line.lower().startswith(wanted)]


def _uri(text: str) -> str:
    found = re.search(r"<([^>]+)>", _lines(text, "Contact")[0])
    if found is None:
        raise BenchError(f"no Contact in\n{text}")
    return found[1]


def _routes(text: str) -> list[str]:
    """The route set of the caller: Record-Route turned round (RFC 3261 §12.1.2)."""
    values = [value for line in _lines(text, "Record-Route") for value in re.findall(r"<[^>]+>", line)]
    return [f"Route: {value}" for value in reversed(values)]


@dataclass(frozen=True)
class Call:
    """An answered call: what the two ends were told about each other's media, and how to hang up.

    `caller_sends_to` and `callee_sends_to` are ports; `rang` is how long the two ways between the phones
    took, INVITE there and 180 back, in seconds.
    """

    caller_sends_to: int
    callee_sends_to: int
    rang: float
    bye: bytes


def call(caller: Phone, callee: Phone, server: Address, caller_media: int, callee_media: int) -> Call:
    """INVITE, 180, 200, ACK by way of `server`."""
    tag, call_id, answer_tag = (secrets.token_hex(6) for _ in range(3))
    start = f"sip:{callee.user}@{HOST}"
    head = ["Max-Forwards: 70", f"From: <sip:{caller.user}@{HOST}>;tag={tag}", f"Call-ID: {call_id}"]
    lines = [f"INVITE {start} SIP/2.0", caller.via(), *head, f"To: <{start}>", "CSeq: 1 INVITE"]
    invite = message([*lines, f"Contact: {caller.contact}"], sdp(caller_media))

    begin = time.perf_counter()
    caller.sock.sendto(invite, server)
    incoming, arrived = callee.receive(b"INVITE")
    to = _lines(incoming, "To")[0]
    copied = [*_lines(incoming, "Via", "Record-Route", "From", "Call-ID", "CSeq"), f"{to};tag={answer_tag}"]
    copied.append(f"Contact: {callee.contact}")
    ringing = message(["SIP/2.0 180 Ringing", *copied])
    back = _address(incoming)
    turn = time.perf_counter()
    callee.sock.sendto(ringing, back)
    _, heard = caller.receive(b"SIP/2.0 180")
    rang = (arrived - begin) + (heard - turn)

    callee.sock.sendto(message(["SIP/2.0 200 OK", *copied], sdp(callee_media)), back)
    answer, _ = caller.receive(b"SIP/2.0 200")
    inside = [*head, *_routes(answer), *_lines(answer, "To")]
    target = _uri(answer)
    ack = message([f"ACK {target} SIP/2.0", caller.via(), *inside, "CSeq: 1 ACK"])
    caller.sock.sendto(ack, server)
    callee.receive(b"ACK")
    bye = message([f"BYE {target} SIP/2.0", caller.via(), *inside, "CSeq: 2 BYE"])
    return Call(media_port(answer), media_port(incoming), rang, bye)


def hang_up(ended: Call, caller: Phone, callee: Phone, server: Address) -> None:
    """BYE and its 200."""
    caller.sock.sendto(ended.bye, server)
    request, _ = callee.receive(b"BYE")
    lines = ["SIP/2.0 200 OK", *_lines(request, "Via", "From", "To", "Call-ID", "CSeq")]
    callee.sock.sendto(message(lines), _address(request))
    caller.receive(b"SIP/2.0 200")


def _address(request: str) -> Address:
    """Where responses go: the sent-by of the top Via, which here is where the request came from."""
    top = _lines(request, "Via")[0].split(",")[0]
    sent_by = re.search(r"SIP/2\.0/UDP\s+([^:;\s]+)(?::(\d+))?", top)
    if sent_by is None:
        raise BenchError(f"no Via in\n{request}")
    return sent_by[1], int(sent_by[2] or 5060)

"""STUN on the ports of SIP: Binding requests and answers, octets to values and back (RFC 8489, RFC 3489).

Holds the codec for both sides, so that a phone learns its address from us and we ours from a STUN server.
Pure functions: it refuses to know sockets, retransmissions, and whom an answer helps. No authentication:
nothing here tells anybody more than where a packet seemed to come from.
"""

from __future__ import annotations

import struct
import zlib
from ipaddress import ip_address
from typing import NamedTuple

from edgesip.address import Addr

HEADER = 20
"""Octets of a header (RFC 8489 §5)."""
LARGEST = 548
"""Octets of a request that we read: what fits into the smallest datagram that everybody takes."""
COOKIE = b"\x21\x12\xa4\x42"
SOFTWARE = b"edgesip"

REQUEST, INDICATION, SUCCESS, ERROR = 0x0001, 0x0011, 0x0101, 0x0111
_MAPPED, _CHANGE, _CODE, _UNKNOWN, _XOR_MAPPED = 0x0001, 0x0003, 0x0009, 0x000A, 0x0020
_SOFTWARE, _FINGERPRINT, _XOR_MAPPED_DRAFT = 0x8022, 0x8028, 0x8020
_INTEGRITY, _INTEGRITY_256 = 0x0008, 0x001C
_REQUIRED = 0x8000  # attributes below have to be understood
# Of authentication, which we do not ask for, and of answers: a request may carry them, they mean nothing.
_IDLE = frozenset(
    (_MAPPED, 0x0006, _INTEGRITY, _CODE, _UNKNOWN, 0x0014, 0x0015, _INTEGRITY_256, 0x001D, 0x001E)
)
_REPORTED = 16  # attributes named in a 420 at most
_CRC_MASK = 0x5354554E
_REASONS = {400: b"Bad Request", 420: b"Unknown Attribute"}


class Attribute(NamedTuple):
    """One attribute: its type, its value without padding, and where in the message it begins (octets)."""

    kind: int
    value: bytes
    at: int


class Answer(NamedTuple):
    """What a server said to our request: where it saw us, or an error: its code (0: none) and reason."""

    mapped: Addr | None
    error: int = 0
    reason: str = ""


def kind_of(data: bytes) -> int | None:
    """The message type; None for octets that are no STUN message: too short, or not of its two zero bits."""
    if len(data) < HEADER or data[0] > 3:
        return None
    return data[0] << 8 | data[1]


def answer_to(data: bytes, source: Addr) -> bytes | None:
    """What a request from `source` is answered; None: nothing at all (RFC 8489 §6.3.1).

    A request with the magic cookie hears XOR-MAPPED-ADDRESS, one without (RFC 3489) MAPPED-ADDRESS; one that
    cannot be read 400, one that asks for what we do not know 420. All else is dropped: indications, answers,
    a FINGERPRINT that is wrong, anything longer than `LARGEST`. An answer has 92 octets at most, and never
    more than 44 more than the request.
    """
    if kind_of(data) != REQUEST or len(data) > LARGEST:
        return None
    classic = data[4:8] != COOKIE
    attributes = attributes_of(data)
    if attributes is None:
        return _refusal(data, 400, classic)
    wanted = False
    for attribute in attributes:
        if attribute.kind == _FINGERPRINT and not classic:
            if attribute is not attributes[-1] or len(attribute.value) != 4:
                return _refusal(data, 400, classic)
            if attribute.value != _crc(data[: attribute.at]):
                return None
            wanted = True
    unknown = _unknown(attributes, classic)
    if unknown:
        return _refusal(data, 420, classic, unknown, wanted)
    if classic:
        return _message(SUCCESS, data[4:HEADER], [(_MAPPED, _address(source))])
    mapped = _xor(_address(source), data[4:HEADER])
    return _message(SUCCESS, data[4:HEADER], [(_XOR_MAPPED, mapped), (_SOFTWARE, SOFTWARE)], wanted)


def request(transaction: bytes, fingerprint: bool = False) -> bytes:
    """A Binding request with this transaction id: 12 octets that nobody can guess (RFC 8489 §5)."""
    if len(transaction) != 12:
        raise ValueError("a transaction id has 12 octets")
    return _message(REQUEST, COOKIE + transaction, [], fingerprint)


def read_answer(data: bytes, transaction: bytes) -> Answer | None:
    """What was answered to `request(transaction)`; None when these octets are no answer to it.

    An answer without an address that can be read is an error 0 with a reason.
    """
    kind = kind_of(data)
    if kind not in (SUCCESS, ERROR) or data[4:HEADER] != COOKIE + transaction:
        return None
    attributes = attributes_of(data)
    if attributes is None:
        return None
    found: dict[int, bytes] = {}
    for attribute in attributes:
        if attribute.kind == _FINGERPRINT and attribute.value != _crc(data[: attribute.at]):
            return None
        found.setdefault(attribute.kind, attribute.value)
    if kind == ERROR:
        code = found.get(_CODE, b"")
        if len(code) < 4:
            return Answer(None, 500, "an error without a code")
        return Answer(None, (code[2] & 7) * 100 + code[3], code[4:132].decode("utf-8", "replace"))
    for name in (_XOR_MAPPED, _XOR_MAPPED_DRAFT):
        if name in found:
            mapped = _read_address(_xor(found[name], data[4:HEADER]))
            return Answer(mapped, 0, "" if mapped else "an address that cannot be read")
    mapped = _read_address(found.get(_MAPPED, b""))
    return Answer(mapped, 0, "" if mapped else "no address")


def attributes_of(data: bytes) -> list[Attribute] | None:
    """The attributes of a message in order; None when lengths do not fit (RFC 8489 §14).

    Values are padded to four octets; RFC 3489 has none that need it.
    """
    if len(data) < HEADER or len(data) != HEADER + (data[2] << 8 | data[3]) or len(data) % 4:
        return None
    found: list[Attribute] = []
    at = HEADER
    while at < len(data):
        kind, length = struct.unpack_from("!HH", data, at)
        end = at + 4 + length
        if end > len(data):
            return None
        found.append(Attribute(kind, data[at + 4 : end], at))
        at = end + -length % 4
    return found


def _unknown(attributes: list[Attribute], classic: bool) -> list[int]:
    """The types that have to be understood and are not; what follows an integrity check does not count."""
    unknown: list[int] = []
    for kind, value, _ in attributes:
        if kind >= _REQUIRED or kind in _IDLE:
            if kind in (_INTEGRITY, _INTEGRITY_256):
                break
        elif kind == _CHANGE and classic and not any(value):  # old phones ask for no change
            continue
        elif kind not in unknown:
            unknown.append(kind)
    return unknown[:_REPORTED]


def _refusal(
    data: bytes, code: int, classic: bool, unknown: list[int] | None = None, fingerprint: bool = False
) -> bytes:
    attributes = [(_CODE, bytes((0, 0, code // 100, code % 100)) + _REASONS[code])]
    if unknown:
        if classic and len(unknown) % 2:  # RFC 3489 §11.2.9 fills up by saying one again, not by padding
            unknown = [*unknown, unknown[-1]]
        attributes.append((_UNKNOWN, struct.pack(f"!{len(unknown)}H", *unknown)))
    return _message(ERROR, data[4:HEADER], attributes, fingerprint)


def _message(
    kind: int, identity: bytes, attributes: list[tuple[int, bytes]], fingerprint: bool = False
) -> bytes:
    """`identity` is cookie and transaction id: octets 4 to 20."""
    body = b"".join(
        struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes
    )
    head = struct.pack("!HH", kind, len(body) + (8 if fingerprint else 0)) + identity + body
    return head + struct.pack("!HH", _FINGERPRINT, 4) + _crc(head) if fingerprint else head


def _crc(before: bytes) -> bytes:
    """The FINGERPRINT of a message that has these octets before it (RFC 8489 §14.7)."""
    return struct.pack("!I", zlib.crc32(before) ^ _CRC_MASK)


def _address(addr: Addr) -> bytes:
    octets = ip_address(addr.host).packed
    return struct.pack("!BBH", 0, 1 if len(octets) == 4 else 2, addr.port) + octets


def _xor(value: bytes, identity: bytes) -> bytes:
    """The value with port and address hidden by cookie and transaction id, or shown again."""
    mask = b"\0\0" + identity[:2] + identity
    return bytes(octet ^ mask[place] for place, octet in enumerate(value[:HEADER]))


def _read_address(value: bytes) -> Addr | None:
    if (len(value), value[1:2]) not in ((8, b"\1"), (20, b"\2")):
        return None
    return Addr(str(ip_address(value[4:])), value[2] << 8 | value[3])

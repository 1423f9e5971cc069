"""STUN: the vectors of RFC 5769, what a phone is answered, what is not answered, and our own side of it."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.address import Addr
from edgesip.signal.nat import stun
from edgesip.signal.nat.stun import Answer, answer_to, attributes_of, kind_of, read_answer, request

PHONE = Addr("198.51.100.7", 40000)
PHONE6 = Addr("2001:db8::7", 40000)
ID = bytes(range(12))
CLASSIC = bytes(range(100, 116))

_ID = "b7e7a701bc34d686fa87dfae"
# RFC 5769 §2.1, §2.2, §2.3: the octets that everybody has to agree on.
SAMPLE_REQUEST = bytes.fromhex(
    f"000100582112a442{_ID}"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
SAMPLE_IPV4 = bytes.fromhex(
    f"0101003c2112a442{_ID}"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
SAMPLE_IPV6 = bytes.fromhex(
    f"010100482112a442{_ID}"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)


def attribute(kind: int, value: bytes = b"") -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(*attributes: bytes, kind: int = 1, identity: bytes = stun.COOKIE + ID) -> bytes:
    body = b"".join(attributes)
    return struct.pack("!HH", kind, len(body)) + identity + body


def fingerprinted(*attributes: bytes, crc: int | None = None) -> bytes:
    """A request that ends with a FINGERPRINT, right unless another is given."""
    before = message(*attributes, attribute(0x8028, bytes(4)))[:-8]
    value = zlib.crc32(before) ^ 0x5354554E if crc is None else crc
    return before + attribute(0x8028, struct.pack("!I", value))


def parts(data: bytes | None) -> list[tuple[int, bytes]]:
    assert data is not None
    found = attributes_of(data)
    assert found is not None
    return [(one.kind, one.value) for one in found]


def code(data: bytes | None) -> int:
    said = dict(parts(data))[9]
    return said[2] * 100 + said[3]


# -- the vectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "seen"),
    [
        (SAMPLE_IPV4, Addr("192.0.2.1", 32853)),
        (SAMPLE_IPV6, Addr("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_the_sample_answers_of_rfc_5769(octets: bytes, seen: Addr) -> None:
    assert read_answer(octets, bytes.fromhex(_ID)) == Answer(seen)
    assert read_answer(octets, ID) is None, "the answer to another request"
    assert read_answer(octets[:-1] + b"\0", bytes.fromhex(_ID)) is None, "its FINGERPRINT is wrong"


def test_the_sample_request_of_rfc_5769_asks_for_ice() -> None:
    answer = answer_to(SAMPLE_REQUEST, PHONE)
    assert code(answer) == 420
    assert dict(parts(answer))[0x000A] == b"\x00\x24", "PRIORITY is ICE's; the rest we know, or may ignore"
    assert parts(answer)[-1][0] == 0x8028, "who sends a FINGERPRINT gets one"


# -- what is answered ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [PHONE, PHONE6])
@pytest.mark.parametrize("fingerprint", [False, True])
def test_a_request_hears_where_it_came_from(source: Addr, fingerprint: bool) -> None:
    answer = answer_to(request(ID, fingerprint), source)
    kinds = [kind for kind, _ in parts(answer)]
    assert kinds == [0x0020, 0x8022, 0x8028][: 3 if fingerprint else 2]
    assert answer is not None
    assert kind_of(answer) == stun.SUCCESS
    assert PHONE.host.encode() not in answer
    assert read_answer(answer, ID) == Answer(source)


@pytest.mark.parametrize(("source", "family"), [(PHONE, 1), (PHONE6, 2)])
@pytest.mark.parametrize("extra", [[], [attribute(3, bytes(4))]], ids=["bare", "no change wanted"])
def test_an_old_phone_hears_it_in_plain(source: Addr, family: int, extra: list[bytes]) -> None:
    answer = answer_to(message(*extra, identity=CLASSIC), source)
    assert answer is not None
    assert answer[4:20] == CLASSIC
    ((kind, value),) = parts(answer)
    assert (kind, value[:4]) == (0x0001, struct.pack("!BBH", 0, family, 40000))
    if family == 1:
        assert value[4:] == bytes((198, 51, 100, 7))


@pytest.mark.parametrize(
    "octets",
    [
        message()[:-1] + b"\0\0",  # longer than it says
        message(attribute(0x8022, b"abcd"))[:-4],  # shorter
        struct.pack("!HH", 1, 2) + stun.COOKIE + ID + b"\0\0",  # no multiple of four
        message(struct.pack("!HH", 0x8022, 8) + bytes(4)),  # an attribute that goes on beyond the end
        message(attribute(0x8028, bytes(4)), attribute(0x8022, b"x")),  # something behind the FINGERPRINT
        message(attribute(0x8028, bytes(8))),  # a FINGERPRINT of another length
    ],
)
def test_what_cannot_be_read_hears_400(octets: bytes) -> None:
    answer = answer_to(octets, PHONE)
    assert answer is not None
    assert kind_of(answer) == stun.ERROR
    assert answer[4:20] == octets[4:20]
    assert code(answer) == 400


@pytest.mark.parametrize("identity", [stun.COOKIE + ID, CLASSIC])
def test_what_has_to_be_understood_and_is_not_hears_420(identity: bytes) -> None:
    asked = message(
        attribute(0x0024, b"prio"), attribute(0x8023), attribute(0x7FFF), attribute(0x0024), identity=identity
    )
    answer = answer_to(asked, PHONE)
    assert code(answer) == 420
    assert dict(parts(answer))[0x000A] == b"\x00\x24\x7f\xff"


def test_an_odd_number_of_them_is_filled_up_for_an_old_phone() -> None:
    assert dict(parts(answer_to(message(attribute(0x0024), identity=CLASSIC), PHONE)))[10] == b"\0\x24\0\x24"


@pytest.mark.parametrize(
    "octets",
    [
        message(attribute(3, b"\0\0\0\6"), identity=CLASSIC),  # another address and port shall answer
        message(attribute(3, bytes(4))),  # who knows the cookie knows no CHANGE-REQUEST
        message(attribute(2, bytes(8)), identity=CLASSIC),  # RESPONSE-ADDRESS: somebody else shall hear it
    ],
)
def test_nobody_else_is_answered_and_nothing_else_answers(octets: bytes) -> None:
    assert code(answer_to(octets, PHONE)) == 420


def test_credentials_are_not_asked_for_and_do_no_harm() -> None:
    octets = message(
        attribute(0x0006, b"someone"), attribute(0x0008, bytes(20)), attribute(0x0024, b"behind the check")
    )
    answer = answer_to(octets, PHONE)
    assert answer is not None
    assert read_answer(answer, ID) == Answer(PHONE)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes(4),
        bytes(20),
        request(ID)[:19],
        message(kind=stun.INDICATION),
        message(kind=stun.SUCCESS),
        message(kind=stun.ERROR),
        message(kind=0x0003),  # TURN's Allocate
        message(attribute(0x8022, bytes(600))),
        fingerprinted(crc=1),
        fingerprinted(attribute(0x0024, b"prio"), crc=1),
        b"\x80" + request(ID)[1:],
        b"REGISTER sip:a SIP/2.0\r\n\r\n",
    ],
)
def test_all_else_is_dropped(octets: bytes) -> None:
    assert answer_to(octets, PHONE) is None


def test_an_answer_is_hardly_longer_than_its_request() -> None:
    many = [attribute(0x4000 + number) for number in range(130)]
    for octets in (
        request(ID),
        request(ID, True),
        message(identity=CLASSIC),
        message(b"x"),
        message(*many[:1]),
        message(*many[:16]),
        message(*many),
        fingerprinted(*many[:1]),
        fingerprinted(*many[:17]),
    ):
        for source in (PHONE, PHONE6):
            answer = answer_to(octets, source)
            assert answer is not None
            assert len(answer) <= min(92, len(octets) + 44)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    kinds=st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=20)), max_size=6),
    identity=st.sampled_from([stun.COOKIE + ID, CLASSIC]),
    cut=st.integers(0, 30),
)
def test_whatever_is_asked_the_answer_can_be_read(
    kinds: list[tuple[int, bytes]], identity: bytes, cut: int
) -> None:
    octets = message(*(attribute(kind, value) for kind, value in kinds), identity=identity)
    answer = answer_to(octets[: len(octets) - cut], PHONE6)
    if answer is not None:
        assert answer[4:20] == identity
        assert attributes_of(answer) is not None
        assert answer_to(answer, PHONE) is None, "an answer is never answered"


# -- our own side --------------------------------------------------------------------------------------


def test_we_ask_with_an_id_of_twelve_octets() -> None:
    assert request(ID).hex() == "000100002112a442" + ID.hex()
    with pytest.raises(ValueError, match="12"):
        request(b"short")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    host=st.ip_addresses().map(str),
    port=st.integers(0, 65535),
    transaction=st.binary(min_size=12, max_size=12),
)
def test_we_read_what_we_would_answer(host: str, port: int, transaction: bytes) -> None:
    answer = answer_to(request(transaction, True), Addr(host, port))
    assert answer is not None
    assert read_answer(answer, transaction) == Answer(Addr(host, port))


def test_a_server_may_answer_in_plain_by_a_draft_or_not_at_all() -> None:
    plain = b"\0\1" + struct.pack("!H", 40000) + bytes((198, 51, 100, 7))
    assert read_answer(message(attribute(1, plain), kind=stun.SUCCESS), ID) == Answer(PHONE)
    hidden = dict(parts(answer_to(request(ID), PHONE)))[0x20]
    assert read_answer(message(attribute(0x8020, hidden), kind=stun.SUCCESS), ID) == Answer(PHONE)
    assert read_answer(message(kind=stun.SUCCESS), ID) == Answer(None, 0, "no address")
    broken = message(attribute(0x20, b"\0\3" + bytes(6)), kind=stun.SUCCESS)
    assert read_answer(broken, ID) == Answer(None, 0, "an address that cannot be read")


def test_a_server_may_refuse() -> None:
    assert read_answer(message(attribute(9, b"\0\0\4\x01Unauthorized"), kind=stun.ERROR), ID) == Answer(
        None, 401, "Unauthorized"
    )
    assert read_answer(message(kind=stun.ERROR), ID) == Answer(None, 500, "an error without a code")


@pytest.mark.parametrize(
    "octets", [b"", request(ID), message(kind=stun.SUCCESS) + b"x", message(kind=0x0111)[:-1]]
)
def test_what_is_no_answer(octets: bytes) -> None:
    assert read_answer(octets, ID) is None

"""No secret of a message is shown: passwords, digest responses, keys of media."""

import time

import pytest

from edgesip.control.mask import masked, masked_text

HEAD = b"REGISTER sip:edge SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b'Authorization: Digest username="alice", realm="edge", nonce="n", response="SECRET0123", qop=auth',
        b'authorization :Digest username="alice",response = "SECRET0123" ,qop=auth',
        b'PROXY-AUTHORIZATION: Digest response="SECRET0123", nonce="n"',
        b"Proxy-Authorization: Digest response=SECRET0123",
        b'Authorization: Digest nonce="n",\r\n\tresponse\r\n =\r\n "SECRET0123"',
        b'Authorization: Digest response="SEC\\"RET0123"',
        b'Authorization: Digest response="SECRET0123',
        b"Authorization: Basic U0VDUkVUMDEyMw==SECRET0123",
        b"Authorization: Bearer\r\n SECRET0123",
        b"Authorization: SECRET0123",
        b'Authentication-Info: rspauth="SECRET0123", nc=00000001',
        b"To: <sip:alice:SECRET0123@edge>",
        b"Contact: <sips:a.b:SECRET0123@192.0.2.1:5061;x>, <sip:c:SECRET0123@d>",
    ],
)
def test_no_credentials_are_shown(field: bytes) -> None:
    data = HEAD + field + b"\r\nCSeq: 1 REGISTER\r\n\r\n"
    shown = masked(data)
    assert b"SECRET" not in shown
    assert b"RET0123" not in shown
    assert shown.endswith(b"\r\nCSeq: 1 REGISTER\r\n\r\n")
    assert len(shown) == len(data)


def test_what_is_no_secret_stays() -> None:
    data = (
        b"INVITE sip:bob@192.0.2.1:5060 SIP/2.0\r\nContact: <sip:alice@192.0.2.9:5070;transport=tcp>\r\n"
        b'Proxy-Authorization: Digest username="alice", realm="edge", nonce="0123", uri="sip:bob@edge", '
        b'algorithm=MD5, response="********"\r\nRoute: <sip:192.0.2.1:5060;lr>, <sip:x@y>\r\n\r\n'
    )
    assert masked(data) == data


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEYkey+/=|2^20|1:4",
            b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 ",
        ),
        (b"A=CRYPTO:2 AES_256_CM_HMAC_SHA1_80 inline:KEY;inline:KEY", b"A=CRYPTO:2 AES_256_CM_HMAC_SHA1_80 "),
        (b"a=ice-pwd:KEYKEYKEYKEY", b"a=ice-pwd:"),
        (b"a=key-mgmt:mikey KEYKEY", b"a=key-mgmt:"),
        (b"k=clear:KEY", b"k="),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_no_keys_of_media_are_shown(line: bytes, shown: bytes, end: bytes) -> None:
    data = HEAD + b"\r\n" + end.join((b"v=0", b"m=audio 4000 RTP/SAVP 0", line, b"a=sendrecv", b""))
    masked_line = shown + b"*" * (len(line) - len(shown))
    assert masked(data) == data.replace(line, masked_line)


def test_a_compressed_body_is_not_shown_at_all() -> None:
    body = b"\x1f\x8bKEY"
    for field in (b"Content-Encoding: gzip", b"e:deflate"):
        assert masked(HEAD + field + b"\r\n\r\n" + body).endswith(b"\r\n\r\n*****")
    assert masked(HEAD + b"Content-Encoding: identity\r\n\r\n" + body).endswith(body)


def test_octets_that_are_no_text_survive() -> None:
    assert masked_text("caf\udce9 sip:a:pw@b") == "caf\udce9 sip:a:**@b"


@pytest.mark.parametrize(
    "piece",
    [
        b"sip:",
        b"sip:a:",
        b'response="',
        b"response=",
        b"Authorization:",
        b"\r\n ",
        b"a=crypto:1 ",
        b'\\"',
        b"e:",
    ],
)
def test_a_hostile_message_takes_no_longer_than_its_size(piece: bytes) -> None:
    def seconds(size: int) -> float:
        data = HEAD + (b"\r\n" + piece * size)[: size * 4]
        best = 9.0
        for _ in range(3):
            begin = time.thread_time()
            masked(data)
            best = min(best, time.thread_time() - begin)
        return best

    assert seconds(16_000) < 40 * seconds(2_000) + 0.02  # 8 times the size; its square would be 64 times

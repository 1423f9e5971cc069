"""Digest: what a phone may send, what nobody may learn, how long a nonce lives."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.address import Addr
from edgesip.signal.guard import digest
from edgesip.signal.guard.digest import Digest, DigestSettings, Refused, Verified
from edgesip.signal.guard.nonces import NonceSettings
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.store.api import Credential, digest_of

REALM = "edgesip"
URI = "sip:edge.example"
SECRET = b"0123456789abcdef"
PEER = Addr("198.51.100.7", 5060)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


USERS = {"alice": Credential("alice", REALM, md5(f"alice:{REALM}:wonderland"), "")}


def nonce_of(challenge: str) -> str:
    found = re.search(r'nonce="([^"]*)"', challenge)
    assert found is not None
    return found[1]


def answer(
    challenge: str,
    user: str = "alice",
    password: str = "wonderland",
    uri: str = URI,
    method: str = "REGISTER",
    realm: str = REALM,
    change: Mapping[str, str | None] | None = None,
) -> str:
    """What a phone sends back. `change` replaces whole parameters as they stand; None leaves one out."""
    nonce, nc, cnonce = nonce_of(challenge), "00000001", "c1"
    ha1 = md5(f"{user}:{realm}:{password}")
    response = md5(f"{ha1}:{nonce}:{nc}:{cnonce}:auth:{md5(f'{method}:{uri}')}")
    params: dict[str, str | None] = {
        "username": f'"{user}"',
        "realm": f'"{realm}"',
        "nonce": f'"{nonce}"',
        "uri": f'"{uri}"',
        "response": f'"{response}"',
        "cnonce": f'"{cnonce}"',
        "qop": "auth",
        "nc": nc,
        "algorithm": "MD5",
    }
    params |= change or {}
    return "Digest " + ", ".join(f"{name}={value}" for name, value in params.items() if value is not None)


@pytest.fixture
def gate() -> Digest:
    return Digest(REALM, SECRET)


def asked(method: str = "REGISTER", uri: str = URI, body: bytes = b"", to_tag: str = "") -> Request:
    """A request as a phone sends it."""
    tag = f";tag={to_tag}" if to_tag else ""
    fields = (
        ("From", "<sip:alice@edge.example>;tag=f1"),
        ("To", f"<sip:alice@edge.example>{tag}"),
        ("Call-ID", "c@x"),
    )
    return Request(method, uri, Headers(fields), body)


def challenge_of(gate: Digest, now: float, stale: bool = False, remote: Addr = PEER) -> str:
    (challenge,) = gate.challenges(asked(), remote, now, stale)
    return challenge


def check(
    gate: Digest, *values: str, now: float = 1.0, uri: str = URI, remote: Addr = PEER
) -> Verified | Refused:
    return gate.check(values, asked(uri=uri), remote, USERS.get, now)


def test_the_right_password_is_let_in(gate: Digest) -> None:
    assert check(gate, answer(challenge_of(gate, 1.0))) == Verified("alice")


def test_the_challenge_is_md5_alone_with_qop_auth(gate: Digest) -> None:
    challenge = challenge_of(gate, 7.25)
    nonce = nonce_of(challenge)
    assert challenge == f'Digest realm="edgesip", nonce="{nonce}", algorithm=MD5, qop="auth"'
    again = challenge_of(gate, 7.25, stale=True)
    assert nonce_of(again) != nonce, "each is another, even at the same moment"
    assert again.replace(nonce_of(again), nonce) == challenge + ", stale=true"


def test_the_calculation_is_the_one_of_rfc_2617_section_3_5() -> None:
    credentials = {
        "username": "Mufasa",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "0a4f113b",
    }
    ha1 = md5("Mufasa:testrealm@host.com:Circle Of Life")
    found = digest._response(ha1, "GET", digest._Given(credentials), b"")
    assert found == "6629fae49393a05397450978507c4ef1"


def test_the_calculation_with_sha_256_is_the_one_of_rfc_7616_section_3_9_1() -> None:
    credentials = {
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "uri": "/dir/index.html",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    }
    ha1 = Credential.of("Mufasa", "http-auth@example.org", "Circle of Life")
    for algorithm, kept, right in (
        ("MD5", ha1.ha1, "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", ha1.ha1_sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        asked_for = digest._Given(credentials | {"algorithm": algorithm})
        assert digest._response(kept, "GET", asked_for, b"") == right


def test_wrong_password_and_unknown_user_look_alike(gate: Digest) -> None:
    challenge = challenge_of(gate, 1.0)
    wrong = check(gate, answer(challenge, password="guess"))
    unknown = check(gate, answer(challenge, user="nobody"))
    assert isinstance(wrong, Refused)
    assert isinstance(unknown, Refused)
    assert wrong.stale is unknown.stale is False
    # Byte for byte the same challenge but for the nonce, which differs only by its time.
    first, second = challenge_of(gate, 2.0, wrong.stale), challenge_of(gate, 2.001, unknown.stale)
    assert first.replace(nonce_of(first), "N") == second.replace(nonce_of(second), "N")
    assert len(first) == len(second)


@pytest.mark.pure
def test_an_unknown_user_costs_what_a_wrong_password_costs(
    gate: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    real = digest_of
    monkeypatch.setattr(digest, "digest_of", lambda name, data: hashed.append(len(data)) or real(name, data))  # type: ignore[func-returns-value]
    work = []
    for user, realm in (("alice", REALM), ("nosuc", REALM), ("bobby", "elsewhere")):
        hashed.clear()
        users = USERS | {"bobby": Credential("bobby", "elsewhere", md5("x"), "")}
        sought: list[str] = []
        result = gate.check(
            [answer(challenge_of(gate, 1.0), user=user, password="guess", uri=f"{URI};n={user}")],
            asked(uri=f"{URI};n={user}"),
            PEER,
            lambda name, users=users, sought=sought: sought.append(name) or users.get(name),  # type: ignore[misc]
            1.0,
        )
        assert isinstance(result, Refused), realm
        assert not result.stale
        assert sought == [user]
        work.append(list(hashed))
    assert work[0] == work[1] == work[2]
    assert len(work[0]) == 2


def test_nobody_gets_in_as_the_one_unknown_users_are_checked_against(gate: Digest) -> None:
    challenge = challenge_of(gate, 1.0)
    ha1, nonce = gate._nobody.ha1, nonce_of(challenge)
    forged = md5(f"{ha1}:{nonce}:00000001:c1:auth:{md5(f'REGISTER:{URI}')}")
    result = check(gate, answer(challenge, user="ghost", change={"response": f'"{forged}"'}))
    assert result == Refused(False, "unknown user")


def test_a_credential_of_another_realm_does_not_count(gate: Digest) -> None:
    # The stored HA1 fits the response, but was made for another realm: it must not open this one.
    value = answer(challenge_of(gate, 1.0))
    moved = USERS["alice"]._replace(realm="former")
    assert gate.check([value], asked(), PEER, {"alice": moved}.get, 1.0) == Refused(False, "unknown user")


@pytest.mark.parametrize(
    ("age", "stale"), [(0.0, None), (299.9, None), (300.0, True), (4000.0, True), (-2.9, None), (-3.1, True)]
)
def test_a_nonce_lives_300_seconds(gate: Digest, age: float, stale: bool | None) -> None:
    result = check(gate, answer(challenge_of(gate, 1000.0)), now=1000.0 + age)
    if stale is None:
        assert result == Verified("alice")
    else:
        why = "nonce has expired" if age > 0 else "nonce is from the future"
        assert result == Refused(True, why)


def test_its_life_can_be_set() -> None:
    gate = Digest(REALM, SECRET, DigestSettings(nonces=NonceSettings(expire=10.0)))
    value = answer(challenge_of(gate, 0.0))
    assert check(gate, value, now=9.9) == Verified("alice")
    assert check(gate, value, now=10.0) == Refused(True, "nonce has expired")


def test_an_expired_nonce_is_stale_whatever_the_password_and_tells_nothing_about_it(gate: Digest) -> None:
    """So nobody can try passwords with a nonce that is not for him (RFC 7616 §3.3)."""
    for password in ("wonderland", "guess"):
        value = answer(challenge_of(gate, 1.0), password=password)
        assert check(gate, value, now=5000.0) == Refused(True, "nonce has expired")
    unasked: list[str] = []
    gate.check([answer('nonce="0"')], asked(), PEER, unasked.append, 1.0)
    assert not unasked, "nobody is looked up for a nonce that is not ours"


def test_nonces_of_another_secret_or_realm_are_stale(gate: Digest) -> None:
    for other in (Digest(REALM, b"another secret"), Digest("other", SECRET)):
        result = check(gate, answer(challenge_of(other, 1.0)))
        assert isinstance(result, Refused)
        assert result.stale


def test_a_nonce_cannot_be_made_younger(gate: Digest) -> None:
    nonce = nonce_of(challenge_of(gate, 1.0))
    younger = f"{1_000_000_000:014x}{nonce[14:]}"
    result = check(gate, answer(f'nonce="{younger}"'), now=1000.0)
    assert isinstance(result, Refused)
    assert result.stale


def test_ten_replays_after_its_life_are_ten_refusals(gate: Digest) -> None:
    value = answer(challenge_of(gate, 1.0))
    assert check(gate, value) == Verified("alice")
    for again in range(10):
        assert isinstance(check(gate, value, now=400.0 + again), Refused)


def test_a_replay_from_elsewhere_is_stale_where_the_peer_is_bound(gate: Digest) -> None:
    value = answer(challenge_of(gate, 1.0, remote=PEER))
    assert check(gate, value, remote=PEER) == Verified("alice")
    result = check(gate, value, remote=Addr("203.0.113.66", 5060))
    assert isinstance(result, Refused)
    assert result.stale


@pytest.mark.parametrize(
    ("digest_uri", "request_uri"),
    [
        ("sip:edge.example", "sip:edge.example"),
        ("sip:edge.example", "sip:EDGE.example;transport=udp"),
        ("sip:edge.example;lr", "sip:edge.example:5060"),
        ("sip:%61lice@edge.example", "sip:alice@edge.example"),
        ("sip:[2001:db8::1]:5070", "sip:[2001:DB8:0::1]:5070"),
        ("tel:+4930123", "tel:+4930123"),
    ],
)
def test_the_digest_uri_may_be_spelled_otherwise(gate: Digest, digest_uri: str, request_uri: str) -> None:
    assert check(gate, answer(challenge_of(gate, 1.0), uri=digest_uri), uri=request_uri) == Verified("alice")


@pytest.mark.parametrize(
    "request_uri",
    [
        "sip:other.example",
        "sip:bob@edge.example",
        "sip:edge.example:5070",
        "sips:edge.example",
        "tel:+4930123",
        "rubbish",
    ],
)
def test_the_digest_uri_must_be_the_requests(gate: Digest, request_uri: str) -> None:
    result = check(gate, answer(challenge_of(gate, 1.0)), uri=request_uri)
    assert result == Refused(False, "digest uri is not the request's")


def test_the_method_is_part_of_it(gate: Digest) -> None:
    assert check(gate, answer(challenge_of(gate, 1.0), method="INVITE")) == Refused(False, "wrong password")


@pytest.mark.parametrize(
    "change",
    [
        {"username": None},
        {"username": '""'},
        {"username": '"' + "a" * 300 + '"'},
        {"username": '"a\udcff"'},
        {"username": '"a\x00b"'},
        {"nonce": None},
        {"nonce": '""'},
        {"uri": None},
        {"response": None},
        {"response": '"abc"'},
        {"response": '"' + "g" * 32 + '"'},
        {"response": '"' + "\u00e9" * 32 + '"'},
        {"qop": None},
        {"qop": "auth-int"},
        {"nc": None},
        {"nc": "1"},
        {"nc": "0000000x"},
        {"cnonce": None},
        {"cnonce": '""'},
        {"algorithm": "SHA-256"},
        {"algorithm": "MD5-sess"},
        {"username": "al ice"},
        {"username": '"alice'},
        {"user name": '"x"'},
        {"Username": '"bob"'},
        {"opaque": '"a", opaque="b"'},
        {"realm": '"elsewhere"'},
        {"realm": None},
    ],
)
def test_anything_else_is_refused_and_never_stale(gate: Digest, change: dict[str, str | None]) -> None:
    result = check(gate, answer(challenge_of(gate, 1.0), change=change))
    assert isinstance(result, Refused)
    assert not result.stale


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": None},
        {"algorithm": '"md5"'},
        {"qop": '"auth"'},
        {"nc": '"00000001"'},
        {"opaque": '""'},
        {"x-y": "z"},
        {"opaque": '"a\\"b,c"'},
    ],
)
def test_what_phones_spell_otherwise_is_taken(gate: Digest, change: dict[str, str | None]) -> None:
    assert check(gate, answer(challenge_of(gate, 1.0), change=change)) == Verified("alice")


def test_scheme_and_names_ignore_case(gate: Digest) -> None:
    value = answer(challenge_of(gate, 1.0)).replace("Digest ", "dIGEST\t ").replace("username", "UserName")
    assert check(gate, value.replace(", ", " ,\t")) == Verified("alice")


def test_the_line_for_our_realm_is_found_among_others(gate: Digest) -> None:
    challenge = challenge_of(gate, 1.0)
    other = answer(challenge, realm="upstream.example")
    assert check(gate, "Basic QQ==", other, "Digest garbage", answer(challenge)) == Verified("alice")


@pytest.mark.parametrize(
    "values", [[], [""], ["Digest"], ["Basic abc"], ["Digest ,,,"], ["Digest realm"], ["Digest ="] * 200]
)
def test_no_credentials_is_a_refusal(gate: Digest, values: list[str]) -> None:
    result = gate.check(values, asked(), PEER, USERS.get, 1.0)
    assert isinstance(result, Refused)
    assert not result.stale


def test_a_user_name_the_store_could_choke_on_never_reaches_it(gate: Digest) -> None:
    for name in ("a\udcff", "a\x00b", "a\nb", "x" * 256):
        result = gate.check(
            [answer(challenge_of(gate, 1.0), change={"username": f'"{name}"'})],
            asked(),
            PEER,
            lambda user: pytest.fail(f"asked for {user!r}"),
            1.0,
        )
        assert isinstance(result, Refused)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='Digest realmunoc="\\,;<> \t\x00\udcff0123af', max_size=200))
def test_no_octets_raise(text: str) -> None:
    gate = Digest(REALM, SECRET)
    for value in (text, "Digest " + text, f'Digest realm="{REALM}", {text}'):
        assert isinstance(gate.check([value], asked(), PEER, USERS.get, 1.0), Refused)


@pytest.mark.parametrize("fill", ['"', ",", "\\", "a=", '\\"', "<", "=,", "a,", '"",'])
def test_hostile_lines_take_linear_time(gate: Digest, fill: str) -> None:
    start = time.thread_time()
    for _ in range(5):
        check(gate, "Digest " + (fill * 8192)[:8192])
    assert time.thread_time() - start < 1.0


# -- by SHA-512-256 ------------------------------------------------------------------------------------


def by_sha512_256(text: str) -> str:
    return hashlib.new("sha512_256", text.encode()).hexdigest()


def test_sha_512_256_is_the_truncated_hash_with_its_own_beginning() -> None:
    """FIPS 180-4 gives this hash of "abc": SHA-512 cut to 256 bits would be another one."""
    found = digest_of("SHA-512-256", b"abc")
    assert found == "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    assert found != hashlib.sha512(b"abc").hexdigest()[:64]


def test_a_phone_proves_its_password_by_sha_512_256_where_that_is_asked_for() -> None:
    gate = Digest(REALM, SECRET, DigestSettings(algorithms=("SHA-512-256", "MD5")))
    strongest, weakest = gate.challenges(asked(), PEER, 1.0)
    assert "algorithm=SHA-512-256," in strongest
    assert "algorithm=MD5," in weakest
    nonce = nonce_of(strongest)
    ha1 = by_sha512_256(f"alice:{REALM}:wonderland")
    response = by_sha512_256(f"{ha1}:{nonce}:00000001:c1:auth:{by_sha512_256(f'REGISTER:{URI}')}")
    said = answer(strongest, change={"response": f'"{response}"', "algorithm": "SHA-512-256"})
    users = {"alice": Credential.of("alice", REALM, "wonderland")}
    assert gate.check([said], asked(), PEER, users.get, 1.0) == Verified("alice")
    wrong = answer(strongest, change={"response": f'"{response[::-1]}"', "algorithm": "SHA-512-256"})
    assert gate.check([wrong], asked(), PEER, users.get, 1.0) == Refused(False, "wrong password")


@pytest.mark.parametrize("guess", ["", "0" * 64])
def test_whose_hash_by_sha_512_256_was_never_kept_is_refused_like_a_wrong_password(guess: str) -> None:
    gate = Digest(REALM, SECRET, DigestSettings(algorithms=("SHA-512-256",)))
    (challenge,) = gate.challenges(asked(), PEER, 1.0)
    nonce = nonce_of(challenge)
    response = guess or by_sha512_256(f":{nonce}:00000001:c1:auth:{by_sha512_256(f'REGISTER:{URI}')}")
    said = answer(challenge, change={"response": f'"{response}"', "algorithm": "SHA-512-256"})
    assert gate.check([said], asked(), PEER, USERS.get, 1.0) == Refused(False, "wrong password")

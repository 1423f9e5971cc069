"""Nonces: what they are bound to, how long they last, and how often they serve (RFC 7616 §5.4, threat 17)."""

from __future__ import annotations

import hashlib
import re

import pytest

from edgesip.address import Addr
from edgesip.signal.guard.digest import Digest, DigestSettings, Refused, Verified
from edgesip.signal.guard.nonces import CALL_ID, FROM_TAG, RURI, SOURCE, Nonces, NonceSettings
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.store.api import Credential

REALM, SECRET = "edgesip", b"0123456789abcdef"
HERE, THERE = Addr("198.51.100.7", 5060), Addr("203.0.113.9", 5060)
ALICE = Credential.of("alice", REALM, "wonderland")


def asked(
    method: str = "REGISTER",
    uri: str = "sip:edge.example",
    call_id: str = "c1",
    tag: str = "f1",
    to_tag: str = "",
    body: bytes = b"",
) -> Request:
    end = f";tag={to_tag}" if to_tag else ""
    fields = (
        ("From", f"<sip:alice@edge.example>;tag={tag}"),
        ("To", f"<sip:alice@edge.example>{end}"),
        ("Call-ID", call_id),
    )
    return Request(method, uri, Headers(fields), body)


def credentials(
    request: Request,
    challenge: str,
    *,
    nc: int = 1,
    qop: str = "auth",
    credential: Credential = ALICE,
    algorithm: str = "",
) -> str:
    """What a phone answers to a challenge."""
    said = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge.replace("Digest ", "")))
    algorithm = algorithm or said["algorithm"]
    work, ha1 = hashlib.md5, credential.ha1
    if algorithm == "SHA-256":
        work, ha1 = hashlib.sha256, credential.ha1_sha256

    def digest(text: str) -> str:
        return work(text.encode()).hexdigest()

    count, inside = f"{nc:08x}", f"{request.method}:{request.uri}"
    if qop == "auth-int":
        inside += f":{work(request.body).hexdigest()}"
    middle = f"{count}:c0:{qop}:" if qop else ""
    response = digest(f"{ha1}:{said['nonce']}:{middle}{digest(inside)}")
    text = (
        f'Digest username="alice", realm="{said["realm"]}", nonce="{said["nonce"]}", uri="{request.uri}", '
        f'response="{response}", algorithm={algorithm}'
    )
    return text + (f', qop={qop}, nc={count}, cnonce="c0"' if qop else "")


def gate(**more: object) -> Digest:
    return Digest(REALM, SECRET, DigestSettings(nonces=NonceSettings(**more)))  # type: ignore[arg-type]


def judged(digest: Digest, request: Request, value: str, now: float = 1.0, remote: Addr = HERE) -> object:
    result = digest.check([value], request, remote, lambda name: ALICE if name == "alice" else None, now)
    return True if isinstance(result, Verified) else result


# -- what they are bound to ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bit", "other"),
    [
        (RURI, asked(uri="sip:bob@edge.example")),
        (CALL_ID, asked(call_id="c2")),
        (FROM_TAG, asked(tag="f2")),
        (0, asked(uri="sip:bob@edge.example", call_id="c2", tag="f2")),
    ],
)
def test_a_nonce_is_bound_to_what_the_profile_says(bit: int, other: Request) -> None:
    digest = gate(checks_register=bit)
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    assert judged(digest, asked(), credentials(asked(), challenge)) is True
    result = judged(digest, other, credentials(other, challenge))
    assert result is True if bit == 0 else isinstance(result, Refused) and result.stale


def test_each_kind_of_request_has_its_own_bits() -> None:
    digest = gate(checks_register=0, checks_no_dlg=SOURCE, checks_in_dlg=CALL_ID)
    for request, remote, good in (
        (asked(), THERE, True),
        (asked("INVITE"), THERE, False),
        (asked("BYE", to_tag="t"), THERE, True),
    ):
        (challenge,) = digest.challenges(request, HERE, 1.0)
        result = judged(digest, request, credentials(request, challenge), remote=remote)
        assert (result is True) is good, request.method


# -- how long they last ----------------------------------------------------------------------------------


def test_a_nonce_outlives_a_restart_and_a_reboot() -> None:
    before = Digest(REALM, SECRET, wall_offset=1_000_000.0)
    (challenge,) = before.challenges(asked(), HERE, 500.0)
    after = Digest(REALM, SECRET, wall_offset=1_000_500.0 + 20.0)  # its clock began at 0 again, 20 s later
    value = credentials(asked(), challenge)
    assert judged(after, asked(), value, 0.0) is True
    assert judged(after, asked(), value, 279.0) is True
    assert judged(after, asked(), value, 281.0) == Refused(True, "nonce has expired")


def test_where_uses_are_counted_a_restart_makes_nonces_stale() -> None:
    settings = DigestSettings(nonces=NonceSettings(count=True))
    before = Digest(REALM, SECRET, settings)
    (challenge,) = before.challenges(asked(), HERE, 1.0)
    after = Digest(REALM, SECRET, settings, started=2.0)
    assert isinstance(judged(after, asked(), credentials(asked(), challenge), 3.0), Refused)
    (challenge,) = after.challenges(asked(), HERE, 3.0)
    assert judged(after, asked(), credentials(asked(), challenge), 3.0) is True


# -- how often they serve --------------------------------------------------------------------------------


def test_ten_replays_are_ten_refusals_where_uses_are_counted() -> None:
    for settings in ({"count": True}, {"one_time": True}):
        digest = gate(**settings)
        (challenge,) = digest.challenges(asked(), HERE, 1.0)
        value = credentials(asked(), challenge)
        assert judged(digest, asked(), value) is True
        for _ in range(10):
            assert judged(digest, asked(), value) == Refused(True, "nonce was used before")


def test_the_count_must_grow_and_may_jump() -> None:
    digest = gate(count=True)
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    for nc, good in ((1, True), (2, True), (2, False), (9, True), (8, False), (0xFFFFFFFF, True), (1, False)):
        result = judged(digest, asked(), credentials(asked(), challenge, nc=nc))
        assert (result is True) is good, nc


def test_a_wrong_password_uses_nothing_up_and_leaves_nothing_behind() -> None:
    digest = gate(one_time=True)
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    wrong = Credential.of("alice", REALM, "guess")
    assert isinstance(judged(digest, asked(), credentials(asked(), challenge, credential=wrong)), Refused)
    assert len(digest.nonces) == 0
    assert judged(digest, asked(), credentials(asked(), challenge)) is True
    assert len(digest.nonces) == 1


def test_the_table_is_bounded_and_what_it_forgets_is_stale() -> None:
    nonces = Nonces(SECRET, NonceSettings(count=True, remembered=100))
    made = [nonces.issue(REALM, asked(), HERE.host, float(number)) for number in range(500)]
    for nonce in made:
        assert nonces.spend(nonce, 1) == ""
    assert len(nonces) <= 100
    for nonce in made:
        assert nonces.spend(nonce, 1) != "", "none of them serves again"
    assert nonces.spend(made[-1], 2) == ""


# -- algorithms and protections --------------------------------------------------------------------------

BOTH = DigestSettings(algorithms=("SHA-256", "MD5"))


def test_several_algorithms_are_a_challenge_each_with_one_nonce_the_strongest_first() -> None:
    digest = Digest(REALM, SECRET, BOTH)
    strong, weak = digest.challenges(asked(), HERE, 1.0)
    assert "algorithm=SHA-256" in strong
    assert "algorithm=MD5" in weak
    assert re.findall('nonce="[^"]*"', strong) == re.findall('nonce="[^"]*"', weak)
    for challenge in (strong, weak):
        assert judged(digest, asked(), credentials(asked(), challenge)) is True


@pytest.mark.parametrize("offered", ["SHA-256", "MD5"])
def test_what_was_not_offered_is_no_way_in(offered: str) -> None:
    digest = Digest(REALM, SECRET, DigestSettings(algorithms=(offered,)))
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    for algorithm in ("MD5", "SHA-256", "SHA-512-256", "MD5-sess"):
        value = credentials(asked(), challenge, algorithm=algorithm)
        if algorithm == offered:
            assert judged(digest, asked(), value) is True
        else:
            assert judged(digest, asked(), value) == Refused(False, "algorithm was not offered")


def test_a_user_without_a_hash_for_the_algorithm_is_refused_even_by_an_empty_one() -> None:
    digest = Digest(REALM, SECRET, DigestSettings(algorithms=("SHA-256",)))
    kept = ALICE._replace(ha1_sha256="")
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    value = credentials(asked(), challenge, credential=kept)
    result = digest.check([value], asked(), HERE, lambda name: kept, 1.0)
    assert result == Refused(False, "wrong password")


def test_a_dropped_qop_is_no_way_in() -> None:
    digest = gate()
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    for qop in ("", "auth-int"):
        value = credentials(asked(), challenge, qop=qop)
        assert judged(digest, asked(), value) == Refused(False, "qop was not offered")


def test_auth_int_protects_the_body() -> None:
    digest = Digest(REALM, SECRET, DigestSettings(qop="auth,auth-int"))
    request, changed = asked("INVITE", body=b"v=0"), asked("INVITE", body=b"v=1")
    (challenge,) = digest.challenges(request, HERE, 1.0)
    assert 'qop="auth,auth-int"' in challenge
    value = credentials(request, challenge, qop="auth-int")
    assert judged(digest, request, value) is True
    assert judged(digest, changed, value) == Refused(False, "wrong password")
    assert judged(digest, changed, credentials(changed, challenge, qop="auth")) is True


def test_without_qop_it_is_as_rfc_2069_had_it() -> None:
    digest = Digest(REALM, SECRET, DigestSettings(qop=""))
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    assert "qop" not in challenge
    assert judged(digest, asked(), credentials(asked(), challenge, qop="")) is True
    assert isinstance(judged(digest, asked(), credentials(asked(), challenge, qop="auth")), Refused)


def test_authentication_info_proves_that_we_know_the_password_too() -> None:
    settings = DigestSettings(authinfo=True, nonces=NonceSettings(one_time=True))
    digest = Digest(REALM, SECRET, settings)
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    result = digest.check([credentials(asked(), challenge)], asked(), HERE, lambda name: ALICE, 1.0)
    assert isinstance(result, Verified)
    nonce = re.findall('nonce="([^"]*)"', challenge)[0]
    ha2 = hashlib.md5(b":sip:edge.example").hexdigest()
    right = hashlib.md5(f"{ALICE.ha1}:{nonce}:00000001:c0:auth:{ha2}".encode()).hexdigest()
    assert f'qop=auth, rspauth="{right}", cnonce="c0", nc=00000001' in result.info
    (following,) = re.findall('nextnonce="([^"]*)"', result.info)
    again = credentials(asked(), challenge.replace(nonce, following))
    assert judged(digest, asked(), again) is True


def test_another_realm_can_be_asked_for() -> None:
    digest = gate()
    (challenge,) = digest.challenges(asked(), HERE, 1.0, realm="other.example")
    assert 'realm="other.example"' in challenge
    kept = Credential.of("alice", "other.example", "wonderland")
    value = credentials(asked(), challenge, credential=kept)
    found = digest.check([value], asked(), HERE, lambda name: kept, 1.0, "other.example")
    assert isinstance(found, Verified)
    assert isinstance(digest.check([value], asked(), HERE, lambda name: kept, 1.0), Refused)


def test_new_settings_are_in_force_at_once() -> None:
    digest = gate()
    (challenge,) = digest.challenges(asked(), HERE, 1.0)
    digest.use(DigestSettings(algorithms=("SHA-256",)))
    (stronger,) = digest.challenges(asked(), HERE, 1.0)
    assert "SHA-256" in stronger
    assert judged(digest, asked(), credentials(asked(), challenge)) == Refused(
        False, "algorithm was not offered"
    )

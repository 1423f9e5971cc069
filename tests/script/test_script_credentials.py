"""What scripts have for passwords: users of their own, checks by a password that they know, challenges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from talk import SERVER, Packet, Phone, Talk, md5

from edgesip import profile
from edgesip.profile import ConfigError
from edgesip.proving import digest_of, digest_settings, rooms_of, users_of
from edgesip.script import ScriptedUsers, ScriptError, load
from edgesip.signal.guard.digest import DigestSettings
from edgesip.signal.wire.message import Response, parse
from edgesip.store.api import Credential
from edgesip.store.users_file import FileUsers

HOST = SERVER.host
SCRIPT = "from edgesip.script import HA1, Reply, Save\n\n"


def talk_with(tmp_path: Path, text: str) -> Talk:
    """A conversation with a script of this text, whose `credentials` are asked first."""
    path = tmp_path / "route.py"
    path.write_text(SCRIPT + text)
    script = load(path)
    talk = Talk(script=script, users=("bob",))
    if script.credentials is not None:
        users = ScriptedUsers(script.credentials, "edgesip", talk.rooms.subscribers)
        talk.rooms = replace(talk.rooms, subscribers=users)
    return talk


def status(talk: Talk, phone: Phone, method: str = "REGISTER") -> int:
    """What the password brings, 0 when nothing is asked for."""
    packet = phone.request(method, f"sip:{HOST}", to=f"<sip:{phone.name}@{HOST}>")
    talk >> packet
    answer = parse(talk.sent.pop(0)[1])
    assert isinstance(answer, Response)
    if answer.status not in (401, 407):
        return 0
    talk >> phone.with_credentials(packet, answer)
    return int(talk.sent.pop(0)[1][8:11])


OWN = """
def credentials(user, realm):
    known = {"guest": "secret", "lobby": HA1("%s"), "": ""}
    return known.get(user)


def request(call):
    return call.auth_check() or Save()
"""


def test_a_script_has_users_of_its_own_beside_the_others(tmp_path: Path) -> None:
    talk = talk_with(tmp_path, OWN % md5("lobby:edgesip:secret"))
    for name, expected in (("guest", 200), ("lobby", 200), ("bob", 200), ("nobody", 401)):
        assert status(talk, talk.phone(name)) == expected, name
    assert status(talk, replace(talk.phone("guest"), password="guess")) == 401


def test_what_is_no_password_is_the_scripts_fault() -> None:
    users = ScriptedUsers(lambda user, realm: 5, "edgesip", FileUsers.__new__(FileUsers))
    with pytest.raises(TypeError, match="returned int, not a password"):
        users.credential("alice")


def test_credentials_must_be_a_plain_function(tmp_path: Path) -> None:
    path = tmp_path / "route.py"
    path.write_text("async def credentials(user, realm): ...\n\ndef request(call): ...\n")
    with pytest.raises(ScriptError, match=r"credentials\(user, realm\) must be a plain def"):
        load(path)


@pytest.mark.parametrize(
    "check",
    [
        'call.pv_auth_check("edgesip", "secret")',
        f"call.pv_auth_check('', '{md5('carol:edgesip:secret')}', 1)",
        'call.pv_www_authenticate("edgesip", "secret")',
    ],
)
def test_a_password_that_the_script_knows(tmp_path: Path, check: str) -> None:
    talk = talk_with(tmp_path, f"def request(call):\n    return {check} or Save()\n")
    assert status(talk, talk.phone("carol")) == 200
    assert status(talk, replace(talk.phone("carol"), password="guess")) == 401


def test_another_realm_for_those_who_have_it(tmp_path: Path) -> None:
    text = 'def request(call):\n    return call.pv_proxy_authenticate("other", "secret") or Reply(480)\n'
    talk = talk_with(tmp_path, text)
    assert status(talk, talk.phone("carol"), "MESSAGE") == 480


@pytest.mark.parametrize(
    ("challenge", "expected"),
    [
        ("www_challenge()", ("401", "WWW-Authenticate", 'realm="edgesip"')),
        ('proxy_challenge("other")', ("407", "Proxy-Authenticate", 'realm="other"')),
        ("auth_challenge(stale=True)", ("407", "Proxy-Authenticate", "stale=true")),
    ],
)
def test_challenges_by_hand(tmp_path: Path, challenge: str, expected: tuple[str, str, str]) -> None:
    talk = talk_with(tmp_path, f"def request(call):\n    return call.{challenge}\n")
    alice = talk.phone("alice")
    talk >> alice.invite("bob")
    answer = talk.response(alice, int(expected[0]))
    assert expected[2] in (answer.headers.get(expected[1]) or "")


def test_what_is_known_of_credentials_before_and_after_they_are_checked(tmp_path: Path) -> None:
    text = """
def request(call):
    seen = [call.has_credentials(), call.has_credentials("other"), call.auth_user, call.authenticated]
    if refusal := call.auth_check():
        return refusal
    return Reply(480, f"{seen} {call.authenticated} {call.is_user('bob')}")
"""
    talk = talk_with(tmp_path, text)
    bob = talk.phone("bob")
    packet = bob.invite("bob")
    talk >> packet
    talk >> bob.with_credentials(packet, talk.response(bob, 407))
    assert talk.response(bob, 480).reason == "[True, False, 'bob', ''] bob True"


def test_authentication_info_goes_with_the_200(tmp_path: Path) -> None:
    talk = Talk()
    talk.core.digest.use(DigestSettings(authinfo=True))
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{HOST}", to=f"<sip:alice@{HOST}>")
    talk >> packet
    talk >> alice.with_credentials(packet, talk.response(alice, 401))
    assert "rspauth=" in (talk.response(alice, 200).headers.get("Authentication-Info") or "")


# -- as the profile has it -------------------------------------------------------------------------------


def loaded(tmp_path: Path, *sets: str) -> profile.Profile:
    return profile.load("nat-sbc", default_state_dir=tmp_path, sets=sets)


def test_the_host_of_from_counts_where_the_profile_says_so(tmp_path: Path) -> None:
    wanted = loaded(tmp_path, "auth.use_domain=true", "auth.realm=sip.example.net", "auth.realm_prefix=sip.")
    talk = Talk()
    rooms = rooms_of(talk.rooms, talk.script, wanted)
    assert rooms.auth_domain == "example.net"
    talk.rooms = replace(rooms, digest=talk.rooms.digest)
    alice = talk.phone("alice")
    for host, expected in ((HOST, b"403"), ("example.net", b"480"), ("EXAMPLE.net", b"480")):
        packet = alice.invite("bob", from_=f"<sip:alice@{host}>;tag=1")
        talk >> packet
        talk >> alice.with_credentials(packet, talk.response(alice, 407))
        assert talk.sent.pop(0)[1][8:11] == expected, host


def test_the_secret_is_kept_or_given(tmp_path: Path) -> None:
    asked = Packet(Talk().phone("alice"), b"")
    request = parse(asked.phone.request("REGISTER", f"sip:{HOST}").octets)
    one = digest_of(loaded(tmp_path), 0.0, 0.0)
    two = digest_of(loaded(tmp_path), 0.0, 0.0)
    other = digest_of(loaded(tmp_path, "auth.secret=0123456789abcdef"), 0.0, 0.0)
    made = [gate.challenges(request, SERVER, 5.0) for gate in (one, two, other)]  # type: ignore[arg-type]
    assert made[0] == made[1] != made[2]
    assert (tmp_path / "auth.secret").stat().st_mode & 0o777 == 0o600


def test_users_come_from_where_the_profile_says(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("alice:edgesip:wonderland\n")
    wanted = loaded(tmp_path, f"auth_db.db_url=text://{file}", "auth_db.calculate_ha1=true")
    users = users_of(wanted, lambda level, event, fields: None)
    assert users.credential("alice") == Credential.of("alice", "edgesip", "wonderland")


def test_settings_reach_the_rooms(tmp_path: Path) -> None:
    wishes = ("auth.algorithm=MD5,SHA-512-256,SHA-256", "auth.nonce_expire=9")
    found = digest_settings(loaded(tmp_path, *wishes).auth)
    assert found.algorithms == ("SHA-512-256", "SHA-256", "MD5")
    assert found.nonces.expire == 9.0


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("auth.algorithm=SHA-512", "only these can be asked for"),
        ("auth.qop=all", "auth-int"),
        ("auth.secret=short", "16 characters"),
        ("auth_db.db_url=mysql://x", "text:///PATH"),
        ("auth_db.calculate_ha1=true", "subscribers.db keeps no passwords"),
    ],
)
def test_what_cannot_be_done_is_refused_at_the_start(tmp_path: Path, wish: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        loaded(tmp_path, wish)

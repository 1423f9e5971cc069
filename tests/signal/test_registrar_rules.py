"""The registrar's settings and flags, as conversations: what a phone asks for, and what it gets."""

from __future__ import annotations

from random import Random

import pytest
from talk import SERVER, Phone, Talk

from edgesip.address import Addr
from edgesip.script import Script, UndoneCall
from edgesip.signal.decision import Decision, Forward, Reply, Save
from edgesip.signal.location.registrar import Settings
from edgesip.signal.wire.message import Response


def house(wish: Save | None = None, *, durable: bool = False, **settings: object) -> Talk:
    """A server that registers whoever asks, without a password."""
    decided = wish or Save()
    script = Script("script.py", lambda call: decided)
    talk = Talk(script=script, durable=durable, rules=Settings(**settings))  # type: ignore[arg-type]
    talk.core.saver._entropy = Random(1).randbytes
    return talk


def register(talk: Talk, phone: Phone, status: int = 200, contact: str = "", **more: object) -> Response:
    headers = [(name.replace("_", "-"), str(value)) for name, value in more.items()]
    uri = f"sip:{phone.name}@{SERVER.host}"
    packet = phone.request(
        "REGISTER",
        f"sip:{SERVER.host}",
        to=f"<{uri}>",
        call_id=f"reg-{phone.name}",
        contact=contact or phone.contact,
        headers=headers,
    )
    talk >> packet
    return talk.response(phone, status)


def seconds(response: Response) -> int:
    (contact,) = response.headers.contacts
    return int(contact.param("expires") or "")


def error(response: Response) -> str:
    return response.headers.get("P-Registrar-Error") or ""


# ---- how long


def test_too_brief_is_423_or_silently_more() -> None:
    talk = house(min_expires=60)
    refused = register(talk, talk.phone("alice"), 423, Expires=30)
    assert (refused.headers.get("Min-Expires"), error(refused)) == ("60", "Interval too brief")
    talk = house(min_expires=60, min_expires_mode=0)
    assert seconds(register(talk, talk.phone("alice"), Expires=30)) == 60


def test_some_of_the_time_is_taken_away_at_random() -> None:
    talk = house(min_expires=60, max_expires=7200, expires_range=50)
    alice = talk.phone("alice")
    given = {seconds(register(talk, alice, Expires=1000)) for _ in range(20)}
    assert given <= set(range(500, 1001))
    assert len(given) > 1
    assert seconds(register(talk, alice)) == 3600
    talk = house(default_expires_range=50, min_expires=3000)
    assert 3000 <= seconds(register(talk, talk.phone("alice"))) <= 3600
    assert seconds(register(talk, talk.phone("bob"), Expires=9000)) == 9000


@pytest.mark.parametrize("wish", [Save(0x08), Save(exact_expires=True)])
def test_nothing_is_taken_away_when_the_script_wants_it_exact(wish: Save) -> None:
    talk = house(wish, expires_range=50)
    alice = talk.phone("alice")
    assert {seconds(register(talk, alice, Expires=1000)) for _ in range(20)} == {1000}


def test_the_script_has_the_last_word_on_time_q_and_number() -> None:
    talk = house(Save(expires=120, q=0.3, max_contacts=1), max_contacts=5, min_expires=60)
    alice = talk.phone("alice")
    answer = register(talk, alice, Expires=30)
    assert seconds(answer) == 120
    assert answer.headers.contacts[0].param("q") == "0.3"
    refused = register(talk, alice, 503, "<sip:alice@192.0.2.9>", Expires=600)
    assert error(refused) == "Too many registered contacts"
    register(talk, alice, Expires=0)
    assert talk.core.usrloc.lookup("alice", talk.now) == []


def test_a_contact_without_q_gets_the_default() -> None:
    talk = house(default_q=500)
    alice = talk.phone("alice")
    assert register(talk, alice).headers.contacts[0].param("q") == "0.5"
    assert register(talk, alice, 200, alice.contact + ";q=0.9").headers.contacts[0].param("q") == "0.9"


# ---- refusals


def test_a_5xx_says_when_to_come_back() -> None:
    talk = house(max_contacts=1, retry_after=7)
    alice = talk.phone("alice")
    register(talk, alice)
    refused = register(talk, alice, 503, "<sip:alice@192.0.2.9>")
    assert refused.headers.get("Retry-After") == "7"
    assert register(talk, alice, 400, "<sip:@>").headers.get("Retry-After") is None


def test_a_long_contact_is_400() -> None:
    talk = house(contact_max_size=40)
    alice = talk.phone("alice")
    assert error(register(talk, alice, 400, f"<sip:{'a' * 40}@192.0.2.9>")) == "Contact too long"
    register(talk, alice, 200, "<sip:alice@192.0.2.9>")


# ---- flags


@pytest.mark.parametrize("wish", [Save(1), Save(memory_only=True)])
def test_memory_only_writes_nothing_and_answers_at_once(wish: Save) -> None:
    talk = house(wish, durable=True)
    talk.hold_store = True
    register(talk, talk.phone("alice"))
    assert talk.writes == []
    assert len(talk.core.usrloc) == 1


@pytest.mark.parametrize("durable", [False, True])
def test_no_reply_says_nothing(durable: bool) -> None:
    talk = house(Save(0x02), durable=durable)
    talk >> talk.phone("alice").request("REGISTER", f"sip:{SERVER.host}", to="<sip:alice@example.net>")
    talk.silent()
    assert len(talk.core.usrloc) == 1
    assert len(talk.writes) == durable


@pytest.mark.parametrize("durable", [False, True])
def test_what_comes_after_a_save_may_be_another_answer(durable: bool) -> None:
    then = Reply(202, "Kept", (("X-Kept", "yes"),))
    talk = house(Save(0x12, then=then), durable=durable)
    answer = register(talk, talk.phone("alice"), 202)
    assert answer.headers.get("X-Kept") == "yes"
    assert answer.headers.contacts[0].param("expires") == "3600"
    talk = house(Save(then=then))
    assert register(talk, talk.phone("alice"), 202).headers.contacts == ()


def test_what_comes_after_a_save_may_be_the_main_registrar() -> None:
    main = Addr("203.0.113.77", 5060)
    talk = house(Save(then=Forward((f"sip:{main}",))), durable=True)
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:alice@{SERVER.host}>")
    talk >> packet
    passed = talk.request(main, "REGISTER")
    talk >> packet
    talk.silent()
    answer = Phone("main", main, main).reply(passed, 200)
    talk >> answer << (alice, 200)
    assert len(talk.core.usrloc) == 1


@pytest.mark.parametrize("wish", [Save(4), Save(one_contact=True)])
def test_one_contact_takes_the_place_of_all_others(wish: Save) -> None:
    talk = house(wish, max_contacts=1)
    alice = talk.phone("alice")
    register(talk, alice, 200, "<sip:alice@192.0.2.1>, <sip:alice@192.0.2.2>")
    answer = register(talk, alice, 200, "<sip:alice@192.0.2.3>")
    assert [str(one.uri) for one in answer.headers.contacts] == ["sip:alice@192.0.2.3"]
    assert len(talk.core.usrloc) == 1
    register(talk, alice, 200, "<sip:alice@192.0.2.3>;expires=0")
    assert len(talk.core.usrloc) == 0


def test_the_contacts_may_be_another_users() -> None:
    talk = house(Save(0, "sip:Bob@example.net"))
    register(talk, talk.phone("alice"))
    assert [one.aor for one in talk.core.usrloc.get_all()] == ["bob"]


def test_a_script_hears_of_a_refusal_whatever_its_flags() -> None:
    def request(call: object) -> Decision:
        return Save(0x02)

    def save_failed(call: UndoneCall) -> Decision:
        return Reply(call.status, "Not today")

    script = Script("script.py", request, undone={"save_failed": save_failed})
    talk = Talk(script=script, rules=Settings(min_expires=60))
    assert register(talk, talk.phone("alice"), 423, Expires=10).reason == "Not today"


# ---- where it was seen


def test_the_received_parameter_has_the_name_that_is_wanted() -> None:
    talk = house(received_param="seen")
    alice = talk.phone("alice")
    assert register(talk, alice).headers.contacts[0].param("seen") == f'"sip:{alice.at}"'
    talk = house(received_param="")
    assert list(register(talk, talk.phone("alice")).headers.contacts[0].params) == [("expires", "3600")]


def test_only_another_proxy_may_say_where_a_phone_was_seen() -> None:
    talk = house()
    alice = talk.phone("alice")
    seen = alice.contact + ';received="sip:192.0.2.200:40000"'
    register(talk, alice, 200, seen)
    (binding,) = talk.core.usrloc.get_all()
    assert binding.received == f"sip:{alice.at}"
    register(talk, alice, 200, seen, Via="SIP/2.0/UDP 192.0.2.200;branch=z9hG4bKedge")
    (binding,) = talk.core.usrloc.get_all()
    assert binding.received == "sip:192.0.2.200:40000"
    assert binding.flow.remote == alice.at
    for bad in ("no uri", "sip:a.example.net", "sip:" + "1" * 300):
        contact = f'{alice.contact};received="{bad}"'
        register(talk, alice, 200, contact, Via="SIP/2.0/UDP 192.0.2.200;branch=z9hG4bKedge")
        assert talk.core.usrloc.get_all()[0].received == f"sip:{alice.at}"


def test_a_socket_header_names_a_listener_of_ours_and_no_other() -> None:
    talk = house(sock_hdr_name="X-Sock")
    other = Addr("203.0.113.2", 5060)
    talk.core.myself.listens += (("udp", other),)
    talk.core.saver._listens = talk.core.myself.listens
    alice = talk.phone("alice")
    for text, local in ((f"udp:{other}", other), ("udp:192.0.2.66:5060", SERVER), ("tcp:x", SERVER)):
        register(talk, alice, 200, X_Sock=text)
        assert talk.core.usrloc.get_all()[0].flow.local == local


# ---- statistics


def test_the_statistics_are_counts_and_settings() -> None:
    talk = house(max_contacts=1, max_expires=7200, expires_range=10, default_expires_range=5)
    alice = talk.phone("alice")
    register(talk, alice)
    register(talk, alice, 503, "<sip:alice@192.0.2.9>")
    counters = talk.core.counters
    assert counters["registrar:accepted_regs"] == counters["registrar:rejected_regs"] == 1
    assert counters["registrar:max_contacts"] == 1
    assert counters["registrar:max_expires"] == 7200
    assert counters["registrar:default_expire"] == 3600
    assert counters["registrar:default_expires_range"] == 5
    assert counters["registrar:expires_range"] == 10

"""The registrar, as conversations: a phone registers, and what the table and the answer then say."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.address import Addr, Flow
from edgesip.signal.location import registrar
from edgesip.signal.location.registrar import Saved, Settings
from edgesip.signal.location.usrloc import Binding, Usrloc, UsrlocSettings
from edgesip.signal.wire.message import Request, parse

US = Addr("203.0.113.1", 5060)
HOME = Flow("udp", US, Addr("198.51.100.7", 40000))
ELSEWHERE = Flow("udp", US, Addr("198.51.100.99", 50000))
PHONE = "<sip:alice@192.168.1.10:5060>"
DESK = "<sip:alice@192.168.1.20:5060>"


def register(
    *contacts: str, cseq: int = 1, call_id: str = "c1", to: str = "<sip:alice@edge>", **more: str
) -> Request:
    lines = [
        "REGISTER sip:edge SIP/2.0",
        "Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK1;rport",
        f"From: {to};tag=f1",
        f"To: {to}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} REGISTER",
        *[f"Contact: {contact}" for contact in contacts],
        *[f"{name.replace('_', '-')}: {value}" for name, value in more.items()],
    ]
    message = parse(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))
    assert isinstance(message, Request)
    return message


class Talk:
    """A registrar with a table and a clock."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.usrloc = Usrloc()
        self.settings = settings or Settings()
        self.now = 1000.0
        self.flow = HOME
        self._counter = itertools.count(1)

    def judge(self, request: Request) -> Saved:
        """What the registrar would do; the table stays as it is."""
        before = self.usrloc.get_all()
        saved = registrar.save(
            self.usrloc,
            self.settings,
            request,
            self.flow,
            self.now,
            received=f"sip:{self.flow.remote}",
            nated=True,
            entropy=lambda count: next(self._counter).to_bytes(count, "big"),
        )
        assert self.usrloc.get_all() == before
        if saved.status != 200:
            assert saved.changes == ()
        return saved

    def __rshift__(self, request: Request) -> list[str]:
        """Send a REGISTER that must succeed: the Contact values of the 200."""
        saved = self.judge(request)
        assert saved.status == 200, saved
        assert saved.headers == ()
        registrar.apply(self.usrloc, saved.changes)
        shown = registrar.reply_headers(self.usrloc, saved.aor, self.now)
        assert {name for name, _ in shown} <= {"Contact"}
        return [value for _, value in shown]

    def refuses(self, request: Request) -> tuple[int, str]:
        """Send one that must fail: status and P-Registrar-Error."""
        saved = self.judge(request)
        assert saved.status != 200
        return saved.status, dict(saved.headers)["P-Registrar-Error"]

    def wait(self, seconds: float) -> Talk:
        self.now += seconds
        return self

    def bindings(self, aor: str = "alice") -> list[Binding]:
        return self.usrloc.lookup(aor, self.now)

    def contacts(self) -> list[str]:
        return [one.contact for one in self.bindings()]


def test_a_phone_registers_and_the_200_says_how_long() -> None:
    talk = Talk()
    answer = talk >> register(PHONE, Expires="600", User_Agent="baresip v1.0.0", Allow="INVITE,ACK, BYE")
    assert answer == ['<sip:alice@192.168.1.10:5060>;expires=600;received="sip:198.51.100.7:40000"']
    (one,) = talk.bindings()
    assert one.aor == "alice"
    assert one.contact == "sip:alice@192.168.1.10:5060"
    assert one.expires == 1600.0
    assert one.flow == HOME
    assert one.received == "sip:198.51.100.7:40000"
    assert one.nated
    assert one.user_agent == "baresip v1.0.0"
    assert one.methods == ("INVITE", "ACK", "BYE")
    assert (one.call_id, one.cseq, one.q) == ("c1", 1, -1.0)
    assert one.last_modified == one.last_keepalive == 1000.0
    assert one.ruid == "uloc-0000000000000001"


def test_a_refresh_moves_the_expiry_and_keeps_the_ruid() -> None:
    talk = Talk()
    talk >> register(PHONE, Expires="600")
    before = talk.bindings()[0]
    talk.wait(500)
    talk.flow = ELSEWHERE
    saved = talk.judge(register(PHONE, cseq=2, Expires="600"))
    (change,) = saved.changes
    assert change.old == before
    assert change.binding is not None
    assert change.ruid == change.binding.ruid == before.ruid
    registrar.apply(talk.usrloc, saved.changes)
    (after,) = talk.bindings()
    assert after.expires == 2100.0
    assert after.flow == ELSEWHERE
    assert talk.usrloc.by_flow(HOME) == []


def test_the_round_trip_is_kept_while_the_flow_is_the_same() -> None:
    talk = Talk()
    talk >> register(PHONE)
    talk.usrloc.heard(talk.bindings()[0].ruid, talk.now, 0.03)
    talk >> register(PHONE, cseq=2)
    assert talk.bindings()[0].roundtrip == 0.03
    talk.flow = ELSEWHERE
    talk >> register(PHONE, cseq=3)
    assert talk.bindings()[0].roundtrip is None


def test_expires_0_removes_that_contact_only() -> None:
    talk = Talk()
    talk >> register(PHONE, DESK)
    answer = talk >> register(PHONE + ";expires=0", cseq=2)
    assert len(answer) == 1
    assert talk.contacts() == ["sip:alice@192.168.1.20:5060"]
    assert talk >> register(PHONE + ";expires=0", cseq=3) == answer  # nothing there to remove: fine


def test_star_removes_everything() -> None:
    talk = Talk()
    talk >> register(PHONE, DESK)
    assert talk >> register("*", cseq=2, Expires="0") == []
    assert talk.contacts() == []
    assert talk >> register("*", cseq=3, Expires="0") == []


def test_star_needs_expires_0_and_must_be_alone() -> None:
    talk = Talk()
    talk >> register(PHONE)
    assert talk.refuses(register("*", cseq=2)) == (400, "Contact * needs Expires 0")
    assert talk.refuses(register("*", cseq=2, Expires="60")) == (400, "Contact * needs Expires 0")
    assert talk.refuses(register("*", cseq=2, Expires="zero")) == (400, "Contact * needs Expires 0")
    for contacts in (("*", PHONE), (PHONE, "*"), ("*", "*"), (f"*, {PHONE}",)):
        assert talk.refuses(register(*contacts, cseq=2, Expires="0")) == (400, "Contact * is not alone")
    assert len(talk.contacts()) == 1


def test_star_obeys_the_order_of_its_call() -> None:
    talk = Talk()
    talk >> register(PHONE, cseq=5)
    assert talk.refuses(register("*", cseq=5, Expires="0")) == (400, "Invalid CSeq number")
    assert talk >> register("*", cseq=1, call_id="c2", Expires="0") == []


def test_without_a_contact_it_is_a_question() -> None:
    talk = Talk()
    assert talk >> register() == []
    talk >> register(PHONE, Expires="600")
    saved = talk.wait(100).judge(register(cseq=1))
    assert saved.changes == ()
    assert talk >> register(cseq=1) == [
        '<sip:alice@192.168.1.10:5060>;expires=500;received="sip:198.51.100.7:40000"'
    ]


def test_several_contacts_come_back_best_q_first() -> None:
    talk = Talk()
    answer = talk >> register(f"{PHONE};q=0.2, {DESK};q=0.75;expires=120", "<sip:alice@203.0.113.9>;q=1")
    assert [value.split(";received")[0] for value in answer] == [
        "<sip:alice@203.0.113.9>;q=1;expires=3600",
        "<sip:alice@192.168.1.20:5060>;q=0.75;expires=120",
        "<sip:alice@192.168.1.10:5060>;q=0.2;expires=3600",
    ]
    talk >> register(f"{PHONE};q=0.9", cseq=2)
    assert [one.q for one in talk.bindings()] == [1.0, 0.9, 0.75]


@pytest.mark.parametrize("q", ["1.1", "2", "-1", "0.1234", ".5", "", "1.001", "x", "\u0661"])
def test_a_bad_q_is_refused(q: str) -> None:
    assert Talk().refuses(register(f"{PHONE};q={q}")) == (400, "Invalid q parameter")


@pytest.mark.parametrize("q", ["0", "0.", "0.5", "0.125", "1", "1.0", "1.000"])
def test_a_good_q_is_kept(q: str) -> None:
    talk = Talk()
    talk >> register(f"{PHONE};q={q}")
    assert talk.bindings()[0].q == float(q)


@pytest.mark.parametrize(
    ("contact", "header", "seconds"),
    [
        (";expires=120", "600", 120),
        ("", "600", 600),
        ("", None, 1800),
        (";expires=soon", "600", 600),
        (";expires=-1", None, 1800),
        (";expires", None, 1800),
        ("", "1_000", 1800),
        ("", "\u0663\u0663\u0663", 1800),
        (";expires=0100", None, 100),
        (";expires=99999999999999999999", None, 7200),
        (";expires=7201", None, 7200),
        (";expires=7200", None, 7200),
        (";expires=60", None, 60),
    ],
)
def test_contact_before_header_before_default_within_the_bounds(
    contact: str, header: str | None, seconds: int
) -> None:
    talk = Talk(Settings(default_expires=1800, min_expires=60, max_expires=7200))
    talk >> (register(PHONE + contact) if header is None else register(PHONE + contact, Expires=header))
    assert talk.bindings()[0].expires == talk.now + seconds


def test_without_a_maximum_a_binding_may_live_136_years() -> None:
    talk = Talk()
    talk >> register(PHONE, Expires="4294967295")
    assert talk.bindings()[0].expires == talk.now + 2**32 - 1


def test_too_brief_is_423_with_the_minimum() -> None:
    talk = Talk(Settings(min_expires=60))
    for request in (register(PHONE, Expires="59"), register(DESK, PHONE + ";expires=1")):
        saved = talk.judge(request)
        assert saved.status == 423
        assert dict(saved.headers) == {"Min-Expires": "60", "P-Registrar-Error": "Interval too brief"}
    assert talk >> register(PHONE + ";expires=0") == []


def test_an_hour_is_never_too_brief_and_a_short_default_is_raised() -> None:
    talk = Talk(Settings(min_expires=7200, default_expires=30))
    assert talk.judge(register(PHONE, Expires="3599")).status == 423
    talk >> register(PHONE, Expires="3600")
    talk >> register(DESK, cseq=2)
    assert [one.expires for one in talk.bindings()] == [8200.0, 8200.0]


def test_max_contacts_is_503_for_one_more_but_not_for_a_swap_or_a_refresh() -> None:
    talk = Talk(Settings(max_contacts=2))
    talk >> register(PHONE)
    third = "<sip:alice@192.168.1.30>"
    assert talk.refuses(register(DESK, third, cseq=2)) == (503, "Too many registered contacts")
    assert talk.contacts() == ["sip:alice@192.168.1.10:5060"]
    talk >> register(DESK, cseq=2)
    assert talk.refuses(register(third, cseq=3)) == (503, "Too many registered contacts")
    talk >> register(PHONE, DESK, cseq=3)
    talk >> register(PHONE + ";expires=0", third, cseq=4)
    assert sorted(talk.contacts()) == ["sip:alice@192.168.1.20:5060", "sip:alice@192.168.1.30"]
    talk.settings = Settings(max_contacts=1)
    talk >> register(DESK, cseq=5)  # a lowered limit does not throw out who is there


def test_what_has_expired_takes_no_room() -> None:
    talk = Talk(Settings(max_contacts=1))
    talk >> register(PHONE, Expires="60")
    talk.wait(60)
    assert len(talk >> register(DESK, cseq=2)) == 1


def test_a_retransmission_is_answered_as_it_stands() -> None:
    talk = Talk()
    talk >> register(PHONE, Expires="600")
    talk.wait(19.5)
    talk.flow = ELSEWHERE
    saved = talk.judge(register(PHONE, Expires="600"))
    assert (saved.status, saved.changes) == (200, ())
    assert talk >> register(PHONE, Expires="600") == [
        '<sip:alice@192.168.1.10:5060>;expires=580;received="sip:198.51.100.7:40000"'
    ]


def test_the_same_cseq_later_is_no_retransmission_and_a_lower_one_never_is() -> None:
    talk = Talk()
    talk >> register(PHONE, cseq=7)
    assert talk.refuses(register(PHONE, cseq=6)) == (400, "Invalid CSeq number")
    assert talk.refuses(register(PHONE + ";expires=0", cseq=6)) == (400, "Invalid CSeq number")
    talk.wait(20)
    assert talk.refuses(register(PHONE, cseq=7)) == (400, "Invalid CSeq number")
    assert talk >> register(PHONE, cseq=8)


def test_another_call_id_means_that_the_phone_has_started_again() -> None:
    talk = Talk()
    talk >> register(PHONE, cseq=700)
    talk >> register(PHONE, cseq=1, call_id="c2")
    (one,) = talk.bindings()
    assert (one.call_id, one.cseq) == ("c2", 1)


def test_one_old_contact_spoils_the_whole_request() -> None:
    talk = Talk()
    talk >> register(PHONE, cseq=7)
    assert talk.refuses(register(DESK, PHONE, cseq=6)) == (400, "Invalid CSeq number")
    assert talk.contacts() == ["sip:alice@192.168.1.10:5060"]


def test_a_contact_given_twice_counts_once() -> None:
    talk = Talk()
    assert len(talk >> register(f"{PHONE};expires=100", f"{PHONE};expires=200")) == 1
    assert talk.bindings()[0].expires == 1100.0


INSTANCE = ';+sip.instance="<urn:uuid:0001>"'


def test_an_instance_is_the_same_phone_whatever_its_contact() -> None:
    talk = Talk(Settings(regid_mode=1))
    answer = talk >> register(PHONE + INSTANCE + ";reg-id=1", Expires="600")
    assert answer == [
        '<sip:alice@192.168.1.10:5060>;expires=600;received="sip:198.51.100.7:40000"'
        ';+sip.instance="<urn:uuid:0001>";reg-id=1'
    ]
    ruid = talk.bindings()[0].ruid
    talk >> register("<sip:alice@10.0.0.5:6000>" + INSTANCE + ";reg-id=1", call_id="c2")
    (one,) = talk.bindings()
    assert (one.contact, one.ruid, one.instance) == ("sip:alice@10.0.0.5:6000", ruid, "urn:uuid:0001")


def test_an_instance_may_count_its_cseq_anew_but_a_copy_changes_nothing() -> None:
    talk = Talk()
    talk >> register(PHONE + INSTANCE, cseq=9)
    assert talk.judge(register(PHONE + INSTANCE, cseq=9)).changes == ()
    talk >> register(PHONE + INSTANCE, cseq=1)
    assert talk.bindings()[0].cseq == 1
    talk.wait(30) >> register(PHONE + INSTANCE, cseq=1)
    assert talk.bindings()[0].last_modified == 1030.0


def test_two_phones_behind_two_nats_with_one_private_address_are_told_apart_by_instance() -> None:
    talk = Talk()
    talk >> register(PHONE + INSTANCE)
    talk.flow = ELSEWHERE
    talk >> register(PHONE + INSTANCE.replace("0001", "0002"), call_id="c2")
    assert [one.flow for one in talk.bindings()] == [HOME, ELSEWHERE]


def test_reg_ids_are_separate_flows_until_the_phone_starts_again() -> None:
    talk = Talk(Settings(regid_mode=1))
    talk >> register(PHONE + INSTANCE + ";reg-id=1")
    talk >> register(PHONE + INSTANCE + ";reg-id=2", cseq=2)
    assert [one.reg_id for one in talk.bindings()] == [1, 2]
    talk >> register(PHONE + INSTANCE + ";reg-id=1", call_id="c2")
    assert [(one.reg_id, one.call_id) for one in talk.bindings()] == [(1, "c2")]


def test_a_reg_id_needs_an_instance_and_a_number_above_0() -> None:
    talk = Talk()
    talk >> register(PHONE + ";reg-id=1")
    assert talk.bindings()[0].reg_id == 0
    assert talk.refuses(register(DESK + INSTANCE + ";reg-id=0", cseq=2)) == (400, "Invalid reg-id")
    assert talk.refuses(register(DESK + INSTANCE + ";reg-id=+1", cseq=2))[0] == 400
    assert talk.refuses(register(DESK + INSTANCE + ";reg-id=4294967296", cseq=2))[0] == 400


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:alice@255.255.255.255>",
        "<sip:alice@224.0.0.1:5060>",
        "<sip:alice@239.255.255.250>",
        "<sip:alice@0.0.0.0:5060>",
        "<sip:alice@0.1.2.3>",
        "<sip:alice@240.0.0.1>",
        "<sip:alice@127.0.0.1:5060>",
        "<sip:alice@[::]>",
        "<sip:alice@[::1]>",
        "<sip:alice@[ff02::1]>",
        "<sip:alice@[fe80::1]>",
        "<sip:alice@[::ffff:255.255.255.255]>",
        "<sip:alice@[::ffff:127.0.0.1]>",
        "<sip:alice@[64:ff9b::127.0.0.1]>",
    ],
)
def test_no_binding_points_at_everybody_or_nowhere(contact: str) -> None:
    talk = Talk()
    assert talk.refuses(register(DESK, contact)) == (400, "Contact address cannot be reached")


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "1.2.3.4.5"])
def test_numbers_that_only_some_take_for_addresses_are_refused(host: str) -> None:
    assert Talk().refuses(register(f"<sip:alice@{host}>"))[0] == 400


def test_loopback_is_reachable_for_who_is_there() -> None:
    talk = Talk()
    talk.flow = Flow("udp", Addr("127.0.0.1", 5060), Addr("127.0.0.1", 40000))
    assert len(talk >> register("<sip:alice@127.0.0.1:40000>")) == 1
    assert talk.refuses(register("<sip:alice@127.0.0.1:5060>")) == (400, "Contact is this server")
    assert talk.refuses(register("<sip:alice@127.0.0.1>")) == (400, "Contact is this server")


@pytest.mark.parametrize(
    "contact",
    [
        "<mailto:alice@example.org>",
        "<tel:+4930123>",
        "<sip:alice@>",
        "<sip:alice@192.168.1.10:0>",
        "<sip:alice@192.168.1.10",
        "sip:alice@192.168.1.10;q=0.1;q=0.2",
        PHONE + ';+sip.instance="<a\x07b>"',
        PHONE + ';+sip.instance="<' + "x" * 256 + '>"',
        PHONE + ';+sip.instance="<\udcff>"',
    ],
)
def test_other_bad_contacts_are_400(contact: str) -> None:
    talk = Talk()
    status, why = talk.refuses(register(contact))
    assert status == 400
    assert why


def test_a_contact_has_512_octets_at_most() -> None:
    talk = Talk()
    room = 512 - len("sip:@192.168.1.10")
    assert talk.refuses(register(f"<sip:{'a' * (room + 1)}@192.168.1.10>")) == (400, "Contact too long")
    talk >> register(f"<sip:{'a' * room}@192.168.1.10>")
    assert len(talk.contacts()[0]) == 512


def test_call_ids_are_bounded_and_text() -> None:
    talk = Talk()
    assert talk.refuses(register(PHONE, call_id="c" * 256)) == (400, "Call-ID too long")
    assert talk.refuses(register(PHONE, call_id="c\udcff")) == (400, "Call-ID is not text")
    talk >> register(PHONE, call_id="c" * 255)


def test_the_number_of_contacts_in_one_request_is_bounded() -> None:
    talk = Talk()
    many = [f"<sip:a{number}@192.168.1.10>" for number in range(33)]
    assert talk.refuses(register(*many)) == (400, "Too many contacts in one request")
    assert len(talk >> register(*many[:32])) == 32


def test_the_address_of_record_is_the_user_of_to_unescaped_in_lower_case() -> None:
    talk = Talk()
    assert talk.judge(register(PHONE, to='"Al" <sip:%41lice@edge:5060;transport=udp>')).aor == "alice"
    assert talk.judge(register(PHONE, to="<sip:+49*30@edge>")).aor == "+49*30"
    assert talk.judge(register(PHONE, to="<tel:+4930>")).aor == "+4930"


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("<sip:edge>", 400),
        ("<mailto:alice@edge>", 400),
        ("<sip:a%ff@edge>", 404),
        ("<sip:a%00@edge>", 404),
        (f"<sip:{'a' * 257}@edge>", 500),
    ],
)
def test_a_bad_address_of_record(to: str, status: int) -> None:
    assert Talk().refuses(register(PHONE, to=to))[0] == status


def test_an_extension_that_is_required_is_420() -> None:
    saved = Talk().judge(register(PHONE, Require="outbound, path"))
    assert saved.status == 420
    assert dict(saved.headers)["Unsupported"] == "outbound, path"


def test_users_are_kept_apart() -> None:
    talk = Talk()
    talk >> register(PHONE)
    talk >> register(PHONE, to="<sip:bob@edge>", call_id="c2")
    talk >> register("*", to="<sip:bob@edge>", call_id="c3", Expires="0")
    assert len(talk.bindings("alice")) == 1
    assert talk.bindings("bob") == []


def test_whatever_a_phone_calls_itself_its_record_is_json() -> None:
    talk = Talk()
    talk >> register(PHONE, User_Agent="Ph\udcffone\x1b[31m " + "x" * 400, Allow="INVITE, b\udcffd, <, ACK")
    (one,) = talk.bindings()
    assert one.user_agent.startswith("Ph\ufffdone [31m x")
    assert len(one.user_agent) == 255
    assert one.methods == ("INVITE", "ACK")
    record = one.record(0.0)
    assert (
        Binding.from_record(json.loads(json.dumps(record, ensure_ascii=False).encode()), 0.0).contact
        == one.contact
    )


URI_PIECES = ["<sip:a@192.168.1.10>", "sip:b@h", "sip:", "[::]", "@", "?", "*", "<", ">", "\\", '"']
PARAM_PIECES = [",", ";", "=", " ", "q=0.5", "expires=60", "expires=0", ';+sip.instance="<u>"', ";reg-id=1"]
PIECES = st.sampled_from([*URI_PIECES, *PARAM_PIECES, "\udcff"])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(["0", "60", "x", ""]))
def test_whatever_a_contact_says_the_answer_is_a_status(contact: str, expires: str) -> None:
    talk = Talk()
    talk >> register(PHONE)
    saved = talk.judge(register(contact, cseq=2, Expires=expires))
    assert saved.status in (200, 400, 423)
    registrar.apply(talk.usrloc, saved.changes)
    for one in talk.usrloc.get_all():
        json.dumps(one.record(0.0), ensure_ascii=False).encode()  # fit to be stored


@pytest.mark.parametrize("fill", [",", "<", '"', "<sip:a@h>,", ";", "sip:a@h,", "\\", '"\\'])
def test_hostile_contacts_take_linear_time(fill: str) -> None:
    talk = Talk()
    start = time.thread_time()
    for _ in range(5):
        talk.judge(register((fill * 8192)[:8100]))
    assert time.thread_time() - start < 1.0


def test_the_matching_mode_of_the_table_is_kept_to() -> None:
    talk = Talk()
    talk.usrloc.settings = UsrlocSettings(matching_mode=3)
    talk >> register(PHONE)
    (only,) = talk >> register(DESK, cseq=2)
    assert only.startswith(DESK), "mode 3 knows a phone by its Call-ID"
    talk.usrloc.settings = UsrlocSettings(matching_mode=1)
    assert len(talk >> register(DESK, call_id="c2")) == 2


def test_with_use_domain_each_domain_has_its_alice() -> None:
    talk = Talk()
    talk.usrloc.settings = UsrlocSettings(use_domain=True)
    talk >> register(PHONE, to="<sip:alice@one.example>")
    assert len(talk >> register(DESK, to="<sip:Alice@TWO.example>")) == 1
    assert sorted(aor for aor, _ in talk.usrloc.aors()) == ["alice@one.example", "alice@two.example"]

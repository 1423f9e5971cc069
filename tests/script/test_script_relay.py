"""rtpproxy's functions in scripts: what they answer, what the relay is told, when a call is relayed."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from talk import SDP, Phone, Talk

from edgesip.address import Addr
from edgesip.script import Forward, Script, ScriptError, load
from edgesip.signal.wire.message import Request, Response
from edgesip.testing import Stage, relay_for, rooms_for
from edgesip.wish import Wish

BOB = Addr("198.51.100.77", 5060)
RELAYED = b"a=offered-by:caller\r\n"
MARKED = SDP + b"a=nortpproxy:yes\r\n"


TAIL = {"request": "\n    return Forward(TARGETS)", "in_dialog": "\n    return Forward()"}


class Scene(Talk):
    """alice behind a NAT, who calls, and bob at 198.51.100.77, who is called."""

    def __init__(self, script: Script) -> None:
        super().__init__(script=script, auth=False)
        self.alice = self.phone("alice", nat=True, at=Addr("198.51.100.9", 40009))
        self.bob = Phone("bob", BOB, BOB)
        self.invite = self.alice.invite("bob")


def talking(directory: Path, targets: str = "('sip:bob@198.51.100.77',)", **hooks: str) -> Scene:
    """A core whose script has these hooks; `request` forwards to bob at the end."""
    text = f"from edgesip.script import *\n\nsaid = []\nTARGETS = {targets}\n"
    for name, body in {"request": "", **hooks}.items():
        inside = textwrap.indent(textwrap.dedent(body).strip() or "pass", "    ")
        text += f"\ndef {name}(call):\n{inside}{TAIL.get(name, '')}\n"
    path = directory / "route.py"
    path.write_text(text)
    return Scene(load(path))


def said(talk: Scene, hook: str = "request") -> list[object]:
    """What the script kept in its list `said`."""
    function = getattr(talk.script, hook)
    found: list[object] = function.__globals__["said"]
    return found


def calls(talk: Scene, body: bytes = SDP) -> Request:
    """alice calls; the INVITE as bob gets it."""
    talk.invite = talk.alice.invite("bob", body=body)
    talk >> talk.invite << (talk.alice, 100)
    return talk.request(BOB, "INVITE")


def result(directory: Path, expression: str, body: bytes = SDP, **media: object) -> tuple[object, Request]:
    """What this says of an INVITE, and the INVITE as bob gets it."""
    talk = talking(directory, request=f"said.append({expression})")
    for name, value in media.items():
        setattr(talk.media, name, value)
    received = calls(talk, body)
    return said(talk)[0], received


# -- what they answer


@pytest.mark.parametrize(
    ("expression", "number", "relayed"),
    [
        ("call.rtpproxy_manage()", 1, True),
        ("call.rtpproxy_manage('cor')", 1, True),
        ("call.rtpproxy_manage('Q' + 'q')", -1, False),
        ("call.rtpproxy_manage('', 'no address')", -1, False),
        ("call.rtpproxy_manage('', '192.0.2.9')", 1, True),
        ("call.rtpproxy_manage('2')", -1, False),  # there is no second Via
        ("call.rtpproxy_manage('1')", 1, True),
        ("call.rtpproxy_manage('b')", 1, True),
        ("call.rtpproxy_manage('ie')", -1, False),  # there are no such interfaces
        ("call.rtpproxy_offer()", 1, True),
        ("call.rtpproxy_offer('l')", -1, False),  # nothing to look up
        ("call.rtpproxy_answer()", -1, False),  # no request is an answer but ACK
        ("call.rtpproxy_destroy()", 1, False),
        ("call.rtpproxy_destroy('t')", 1, False),
        ("call.rtpproxy_destroy('Q' + 'q')", -1, False),
        ("call.force_rtp_proxy()", 1, True),
        ("call.unforce_rtp_proxy()", 1, False),
        ("call.rtpengine_manage('trust-address replace-origin')", 1, True),
        ("call.rtpengine_offer()", 1, True),
        ("call.rtpengine_delete()", 1, False),
        ("call.set_rtp_proxy_set('lan')", -1, False),
        ("call.set_rtp_proxy_set(0)", 1, False),
    ],
)
def test_the_numbers_are_kamailios(tmp_path: Path, expression: str, number: int, relayed: bool) -> None:
    got, received = result(tmp_path, expression)
    assert got == number
    assert received.body.endswith(RELAYED) is relayed


def test_other_methods_have_no_media(tmp_path: Path) -> None:
    talk = talking(tmp_path, request="said.append(call.rtpproxy_manage())")
    alice = talk.phone("alice")
    talk >> alice.request("MESSAGE", "sip:bob@203.0.113.1")
    talk.request(BOB, "MESSAGE")
    assert said(talk) == [-1]


def test_an_invite_without_sdp_is_a_late_offer(tmp_path: Path) -> None:
    got, _ = result(tmp_path, "(call.rtpproxy_manage(), call.rtpproxy_offer())", b"")
    assert got == (1, -1)


def test_what_somebody_relays_already_is_left_to_him(tmp_path: Path) -> None:
    got, received = result(tmp_path, "call.rtpproxy_manage()", MARKED)
    assert (got, received.body) == (-2, MARKED)


def test_f_relays_it_all_the_same(tmp_path: Path) -> None:
    got, received = result(tmp_path, "call.rtpproxy_manage('f')", MARKED)
    assert got == 1
    assert received.body.endswith(RELAYED)


@pytest.mark.parametrize("line", [b"a=nortpproxy:yesterday\r\n", b"a=x-a=nortpproxy:yes\r\n"])
def test_a_line_that_only_begins_or_ends_so_is_no_mark(tmp_path: Path, line: bytes) -> None:
    assert result(tmp_path, "call.rtpproxy_manage()", SDP + line)[0] == 1


def test_a_full_relay_says_so_and_is_asked_all_the_same(tmp_path: Path) -> None:
    got, received = result(tmp_path, "call.rtpproxy_manage()", full=True)
    assert got == -3
    assert received.body.endswith(RELAYED), "the relay has the last word: 503, in earnest"


def test_flags_that_do_not_exist_are_found_when_the_script_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"line 7: 'Q' is no flag of the relay"):
        talking(tmp_path, request="call.rtpproxy_manage('Q')")


# -- what the relay is told


def test_flags_of_the_caller_and_of_the_callee(tmp_path: Path) -> None:
    talk = talking(
        tmp_path, request="call.rtpproxy_manage('rz40')", reply="said.append(call.rtpproxy_answer('ao'))"
    )
    received = calls(talk)
    talk >> talk.bob.reply(received, 200, body=SDP) << (talk.alice, 200)
    assert talk.media.wishes == [
        Wish(trust=True, ptime=40),
        Wish(learn="asymmetric", trust=True, origin=True),
    ]
    assert said(talk) == [1]


def test_an_answer_begins_nothing(tmp_path: Path) -> None:
    asked = "said.append((call.rtpproxy_answer(), call.rtpproxy_manage(), call.rtpproxy_offer()))"
    talk = talking(tmp_path, reply=asked)
    received = calls(talk)
    talk >> talk.bob.reply(received, 200, body=SDP)
    assert talk.response(talk.alice, 200).body == SDP
    assert said(talk) == [(-1, -1, -1)]


def test_an_answer_about_which_nothing_is_said_changes_nothing(tmp_path: Path) -> None:
    talk = talking(tmp_path, request="call.rtpproxy_manage('r')")
    received = calls(talk)
    talk >> talk.bob.reply(received, 200, body=SDP) << (talk.alice, 200)
    assert talk.media.wishes == [Wish(trust=True), None]


def test_interfaces_by_letters_by_words_and_as_sets(tmp_path: Path) -> None:
    wanted = {
        "call.rtpproxy_manage('ie')": ("internal", "external"),
        "call.rtpproxy_manage('from-interface=lan to-interface=external')": ("lan", "external"),
        "(call.set_rtp_proxy_set('lan'), call.rtpproxy_manage())[1]": ("lan", "lan"),
        "(call.set_rtp_proxy_set('lan', 'external'), call.rtpproxy_manage('o'))[1]": ("lan", "external"),
        "(call.set_rtp_proxy_set('lan'), call.rtpproxy_manage('ei'))[1]": ("external", "internal"),
    }
    names = frozenset(("internal", "external", "lan"))
    for expression, sides in wanted.items():
        talk = talking(tmp_path, request=f"said.append({expression})")
        talk.media.interfaces = names
        calls(talk)
        [wish] = talk.media.wishes
        assert wish is not None
        assert (wish.sender, wish.receiver) == sides
        assert said(talk) == [1]


def test_sessions_are_named_by_a_via_branch_or_by_what_the_profile_says(tmp_path: Path) -> None:
    for flags, named in (("1", "z9hG4bK-"), ("3", "z9hG4bK-"), ("b", "call-")):
        talk = talking(tmp_path, request=f"call.rtpproxy_manage('{flags}')")
        received = calls(talk)
        [(key, _)] = talk.media.open
        assert key[1].startswith(f"from-{key[0]};0;{named}")
        talk >> talk.bob.reply(received, 486) << (BOB, "ACK")
        assert not talk.media.open, "and found again by it"


def test_another_address_in_sdp(tmp_path: Path) -> None:
    talk = talking(tmp_path, request="call.rtpproxy_manage('r', '[2001:db8::9]')")
    calls(talk)
    assert talk.media.wishes == [Wish(trust=True, address="2001:db8::9")]


def test_what_was_wanted_is_told_as_it_was_put(tmp_path: Path) -> None:
    talk = talking(tmp_path, request="call.rtpproxy_manage('co')\nsaid.append(call.wanted())")
    calls(talk)
    assert said(talk) == [("rtpproxy_manage('co')",)]


# -- branches


def test_one_branch_may_be_relayed_and_another_not(tmp_path: Path) -> None:
    talk = talking(
        tmp_path,
        "('sip:bob@198.51.100.77', 'sip:bob@198.51.100.78')",
        branch="if call.index == 1:\n    call.rtpproxy_manage('o')",
    )
    first = calls(talk)
    second = talk.request(Addr("198.51.100.78", 5060), "INVITE")
    assert (first.body, second.body) == (SDP, SDP + RELAYED)
    assert talk.media.wishes == [Wish(origin=True)]
    talk >> talk.bob.reply(first, 200, body=SDP)
    assert talk.response(talk.alice, 200).body == SDP + b"a=answered-by:callee\r\n"


# -- inside a call


def established(talk: Scene) -> Response:
    received = calls(talk)
    talk >> talk.bob.reply(received, 200, body=SDP)
    answer = talk.response(talk.alice, 200)
    talk >> talk.alice.ack(talk.invite, answer)
    talk.request(BOB, "ACK")
    return answer


def changes(talk: Scene, answer: Response, body: bytes = SDP) -> Request:
    talk >> talk.alice.within(talk.invite, answer, "INVITE", body=body)
    talk << (talk.alice, 100)
    return talk.request(BOB, "INVITE")


def test_a_call_can_be_relayed_from_its_middle_on(tmp_path: Path) -> None:
    talk = talking(tmp_path, in_dialog="if call.method == 'INVITE':\n    said.append(call.rtpproxy_offer())")
    answer = established(talk)
    assert not talk.media.open
    assert changes(talk, answer).body == SDP + RELAYED
    assert said(talk, "in_dialog") == [1]


def test_l_does_not_begin_it(tmp_path: Path) -> None:
    talk = talking(tmp_path, in_dialog="said.append(call.rtpproxy_offer('l'))")
    answer = established(talk)
    assert changes(talk, answer).body == SDP
    assert said(talk, "in_dialog") == [-1, -1]


def test_l_goes_on_with_it(tmp_path: Path) -> None:
    talk = talking(
        tmp_path, request="call.rtpproxy_offer('r')", in_dialog="said.append(call.rtpproxy_offer('l'))"
    )
    answer = established(talk)
    assert changes(talk, answer).body == SDP + RELAYED
    assert said(talk, "in_dialog") == [-1, 1]


def test_a_mark_counts_where_relaying_would_begin_not_where_it_goes_on(tmp_path: Path) -> None:
    talk = talking(
        tmp_path, request="call.rtpproxy_manage()", in_dialog="said.append(call.rtpproxy_manage())"
    )
    answer = established(talk)
    assert changes(talk, answer, MARKED).body == MARKED + RELAYED
    assert said(talk, "in_dialog") == [-1, 1]


def test_a_call_can_go_past_us_from_its_middle_on(tmp_path: Path) -> None:
    talk = talking(
        tmp_path,
        request="call.rtpproxy_manage()",
        in_dialog="if call.method == 'INVITE':\n    said.append(call.unforce_rtp_proxy())",
    )
    answer = established(talk)
    assert talk.media.open
    asked = changes(talk, answer)
    assert asked.body == SDP
    assert not talk.media.open
    talk >> talk.bob.reply(asked, 200, body=SDP)
    assert talk.response(talk.alice, 200).body == SDP
    assert said(talk, "in_dialog") == [1]


def test_destroying_in_bye_is_left_to_its_answer(tmp_path: Path) -> None:
    talk = talking(
        tmp_path,
        request="call.rtpproxy_manage()",
        in_dialog="""
        if call.method == 'BYE':
            said.append((call.rtpproxy_manage(), call.rtpproxy_destroy()))
        """,
    )
    answer = established(talk)
    talk >> talk.alice.within(talk.invite, answer, "BYE")
    bye = talk.request(BOB, "BYE")
    assert said(talk, "in_dialog")[-1] == (1, 1)
    assert talk.media.open
    talk >> talk.bob.reply(bye, 200)
    assert not talk.media.open


def test_a_reply_can_give_up_the_relay(tmp_path: Path) -> None:
    talk = talking(tmp_path, request="call.rtpproxy_manage()", reply="said.append(call.rtpproxy_destroy())")
    received = calls(talk)
    talk >> talk.bob.reply(received, 200, body=SDP)
    assert talk.response(talk.alice, 200).body == SDP
    assert not talk.media.open
    assert said(talk) == [1]


def test_a_reply_with_a_late_offer_can_begin_it(tmp_path: Path) -> None:
    talk = talking(tmp_path, reply="said.append(call.rtpproxy_offer('o'))")
    received = calls(talk, b"")
    talk >> talk.bob.reply(received, 200, body=SDP)
    answer = talk.response(talk.alice, 200)
    assert answer.body == SDP + b"a=offered-by:callee\r\n"
    talk >> talk.alice.ack(talk.invite, answer, body=SDP)
    assert talk.request(BOB, "ACK").body == SDP + b"a=answered-by:caller\r\n"
    assert said(talk) == [1]


def test_what_was_wanted_with_a_late_offer_holds_for_both_its_sides(tmp_path: Path) -> None:
    talk = talking(tmp_path, request="call.rtpproxy_manage('orie')")
    talk.media.interfaces = frozenset(("internal", "external"))
    received = calls(talk, b"")
    talk >> talk.bob.reply(received, 200, body=SDP)
    answer = talk.response(talk.alice, 200)
    talk >> talk.alice.ack(talk.invite, answer, body=SDP)
    talk.request(BOB, "ACK")
    assert talk.media.wishes == [
        Wish(origin=True, sender="external", receiver="internal"),
        Wish(origin=True, trust=True, sender="internal", receiver="external"),
    ]


# -- tested without a server


def test_a_script_on_a_stage_has_a_relay_with_room() -> None:
    stage = Stage(rooms_for(interfaces=["internal", "external"]))
    headers = (("Content-Type", "application/sdp"),)
    call = stage.call("INVITE", body=SDP, headers=headers)
    assert (call.rtpproxy_manage("ie"), call.set_rtp_proxy_set("lan")) == (1, -1)


def test_what_leaves_a_stage_is_re_addressed_by_its_relay() -> None:
    stage = Stage(rooms_for(), media=relay_for())
    call = stage.call("INVITE", body=SDP, headers=(("Content-Type", "application/sdp"),))
    assert call.rtpproxy_manage("o") == 1
    sent = stage.carry(Forward(("sip:bob@198.51.100.77",))).sent[-1].message
    assert b"o=- 1 1 IN IP4 203.0.113.1" in sent.body

"""What follows when a target fails: the next by q, the script's voicemail, a redirection, the best answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from talk import SDP, SERVER, Packet, Phone, Talk

from edgesip.address import Addr, Flow
from edgesip.script import Forward, Script, load
from edgesip.signal.proxy.fork import Target, groups_of, priority
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response, parse

HEAD = "from edgesip.script import *\n"
RELAYED = "def request(call):\n    call.rtpproxy_manage()\n    return Forward({})\n"
VOICEMAIL = Addr("192.0.2.60", 5060)


def scripted(tmp_path: Path, text: str) -> Script:
    path = tmp_path / "route.py"
    path.write_text(HEAD + text)
    return load(path)


def house(tmp_path: Path, text: str, **more: object) -> tuple[Talk, Phone, list[Phone]]:
    """A talk with a script that calls the three desks at 192.0.2.1-3 or what it likes."""
    talk = Talk(script=scripted(tmp_path, text), **more)  # type: ignore[arg-type]
    desks = [talk.phone(f"desk{number}", at=Addr(f"192.0.2.{number}", 5060)) for number in (1, 2, 3)]
    return talk, talk.phone("alice"), desks


def cancelled(packet: Packet) -> Packet:
    return Packet(packet.phone, packet.octets.replace(b"INVITE", b"CANCEL"))


ALL = "('sip:d@192.0.2.1', 'sip:d@192.0.2.2', 'sip:d@192.0.2.3')"


# -- one after the other ---------------------------------------------------------------------------


def test_equal_q_rings_together_and_the_next_only_after_all_of_them_failed(tmp_path: Path) -> None:
    talk = Talk(
        script=scripted(tmp_path, "def request(call):\n    return Forward(call.lookup(), serial=True)\n")
    )
    desks = [talk.phone("bob") for _ in range(3)]
    registrar = Talk()
    for desk, q in zip(desks, ("0.9", "0.3", "0.9"), strict=True):
        desk_contact = f"{desk.contact};q={q}"
        packet = desk.request(
            "REGISTER", f"sip:{SERVER.host}", to=f"<sip:bob@{SERVER.host}>", contact=desk_contact
        )
        registrar >> packet
        registrar >> desk.with_credentials(packet, registrar.response(desk, 401)) << (desk, 200)
    for binding in registrar.core.usrloc.lookup("bob", registrar.now):
        talk.core.usrloc.put(binding)
    alice = talk.phone("alice")
    talk >> alice.invite("bob") << (alice, 100)
    first, third = talk.request(desks[0], "INVITE"), talk.request(desks[2], "INVITE")
    talk.silent()
    talk >> desks[0].reply(first, 486) << (desks[0], "ACK")
    talk.silent()
    talk >> desks[2].reply(third, 480) << (desks[2], "ACK")
    second = talk.request(desks[1], "INVITE")
    talk >> desks[1].reply(second, 486) << (desks[1], "ACK") << (alice, 480)


def test_uris_are_tried_in_their_order_and_an_answer_ends_the_row(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL + ", serial=True"))
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 404) << (desks[0], "ACK")
    talk >> desks[1].reply(talk.request(desks[1], "INVITE"), 200, body=SDP) << (alice, 200)
    talk.silent()
    assert len(talk.media.open) == 1


def test_a_cancel_ends_the_row(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL + ", serial=True"))
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    first = talk.request(desks[0], "INVITE")
    talk >> desks[0].reply(first, 180) << (alice, 180)
    talk >> cancelled(invite) << (alice, 200) << (desks[0], "CANCEL")
    talk >> desks[0].reply(first, 487) << (desks[0], "ACK") << (alice, 487)
    talk.silent()
    assert not talk.media.open


def test_max_inv_lifetime_ends_the_row(tmp_path: Path) -> None:
    tm = TmSettings(max_inv_lifetime=40)
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL + ", serial=True"), tm=tm)
    talk >> alice.invite("bob") << (alice, 100)
    talk.wait(29)
    talk.sent.clear()
    talk.wait(2) << (desks[1], "INVITE")
    talk.wait(7)
    talk.sent.clear()
    talk.wait(3) << (alice, 408)


# -- the script's hooks ----------------------------------------------------------------------------

BUSY_TO_VOICEMAIL = RELAYED.format("('sip:bob@192.0.2.1',)") + (
    "def failure(call):\n"
    "    if call.t_check_status('4[08][68]') and call.branches == 1:\n"
    f"        call.append_hf('Diversion', f'<sip:bob>;reason={{call.status}}')\n"
    f"        return Forward(('sip:vm@{VOICEMAIL.host}',))\n"
)


@pytest.mark.parametrize("how", ["busy", "no answer"])
def test_busy_or_no_answer_goes_to_voicemail_with_media_of_its_own(tmp_path: Path, how: str) -> None:
    talk, alice, desks = house(tmp_path, BUSY_TO_VOICEMAIL, tm=TmSettings(fr_inv_timer=20))
    box = talk.phone("vm", at=VOICEMAIL)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    received = talk.request(desks[0], "INVITE")
    talk >> desks[0].reply(received, 180) << (alice, 180)
    if how == "busy":
        talk >> desks[0].reply(received, 486) << (desks[0], "ACK")
    else:
        talk.wait(20.1) << (desks[0], "CANCEL")
    there = talk.request(box, "INVITE")
    assert there.uri == f"sip:vm@{VOICEMAIL.host}"
    assert there.headers.get("Diversion") == f"<sip:bob>;reason={486 if how == 'busy' else 408}"
    assert there.body == SDP + b"a=offered-by:caller\r\n"
    offers = [index for index, one in enumerate(talk.media.log) if one[0] == "offer"]
    closes = [index for index, one in enumerate(talk.media.log) if one[0] == "close"]
    assert offers[1] < closes[0]
    talk >> box.reply(there, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (box, "ACK")
    assert len(talk.media.open) == 1
    talk >> alice.within(invite, answer, "BYE")
    talk >> box.reply(talk.request(box, "BYE"), 200) << (alice, 200)
    talk.wait(40)
    talk.sent.clear()
    talk.quiet()


def test_old_answers_are_not_chosen_when_new_targets_came(tmp_path: Path) -> None:
    for mode, status in ((3, 486), (0, 404)):
        text = RELAYED.format("('sip:d@192.0.2.1',)") + (
            "def failure(call):\n    if call.branches == 1:\n        return Forward(('sip:d@192.0.2.2',))\n"
        )
        talk, alice, desks = house(tmp_path, text, tm=TmSettings(failure_reply_mode=mode))
        talk >> alice.invite("bob") << (alice, 100)
        talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 404) << (desks[0], "ACK")
        talk >> desks[1].reply(talk.request(desks[1], "INVITE"), 486) << (desks[1], "ACK")
        talk << (alice, status)


def test_t_reply_in_a_failure_replaces_the_answer(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d@192.0.2.1',)") + "def failure(call):\n    return Reply(480, 'Try later')\n"
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 486) << (desks[0], "ACK")
    assert talk.response(alice, 480).reason == "Try later"


def test_a_failed_branch_may_be_followed_while_others_ring(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d@192.0.2.1', 'sip:d@192.0.2.2')") + (
        "def branch_failure(call):\n"
        "    if call.status == 302 or call.target == 'sip:d@192.0.2.1':\n"
        "        return Forward(('sip:d@192.0.2.3',))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    first, second = talk.request(desks[0], "INVITE"), talk.request(desks[1], "INVITE")
    talk >> desks[0].reply(first, 486) << (desks[0], "ACK")
    third = talk.request(desks[2], "INVITE")
    talk >> desks[1].reply(second, 486) << (desks[1], "ACK")
    talk.silent()
    talk >> desks[2].reply(third, 200, body=SDP) << (alice, 200)


def test_a_branch_hook_changes_one_copy_and_may_keep_it_back(tmp_path: Path) -> None:
    text = RELAYED.format(ALL) + (
        "def branch(call):\n"
        "    if call.ruri.host == '192.0.2.2':\n"
        "        return Drop()\n"
        "    call.append_hf('X-Branch', str(call.index))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    first, third = talk.request(desks[0], "INVITE"), talk.request(desks[2], "INVITE")
    talk.silent()
    assert [one.headers.all("X-Branch") for one in (first, third)] == [["0"], ["1"]]


def test_twelve_branches_are_the_end_of_it(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d0@192.0.2.1',)") + (
        "def failure(call):\n    return Forward((f'sip:d{call.branches}@192.0.2.1',))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    for _ in range(12):
        talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 486) << (desks[0], "ACK")
    talk << (alice, 480)
    talk.silent()


# -- redirection -----------------------------------------------------------------------------------


def test_a_3xx_goes_back_unless_the_script_wants_its_contacts_tried_best_q_first(tmp_path: Path) -> None:
    moved = [("Contact", "<sip:d@192.0.2.2>;q=0.2"), ("Contact", "<sip:d@192.0.2.3>;q=0.8")]
    for recurse in (False, True):
        text = RELAYED.format(f"('sip:d@192.0.2.1',), recurse={recurse}")
        talk, alice, desks = house(tmp_path, text)
        talk >> alice.invite("bob") << (alice, 100)
        answer = desks[0].reply(talk.request(desks[0], "INVITE"), 302, headers=moved)
        talk >> answer << (desks[0], "ACK")
        if not recurse:
            assert len(talk.response(alice, 302).headers.contacts) == 2
            continue
        best = talk.request(desks[2], "INVITE")
        talk.silent()
        talk >> desks[2].reply(best, 302, headers=moved[:1]) << (desks[2], "ACK")
        second = talk.request(desks[1], "INVITE")
        talk >> desks[1].reply(second, 486) << (desks[1], "ACK") << (alice, 486)


def test_redirect_tells_the_best_contact_first(tmp_path: Path) -> None:
    talk = Talk(
        script=scripted(tmp_path, "def request(call):\n    return Redirect(('sip:a@x', 'sip:b@y'), 301)\n")
    )
    alice = talk.phone("alice")
    talk >> alice.invite("bob")
    assert talk.response(alice, 301).headers.values("Contact") == ["<sip:a@x>", "<sip:b@y>"]


# -- the choice ------------------------------------------------------------------------------------


def test_the_order_of_answers_is_tms() -> None:
    order = [200, 600, 603, 302, 401, 407, 415, 420, 484, 400, 404, 408, 480, 486, 500, 503]
    assert sorted(order, key=priority) == order
    assert sorted([603, 404, 500], key=lambda status: priority(status, True)) == [404, 500, 603]


@pytest.mark.parametrize(
    ("statuses", "chosen"),
    [((408, 486, 404), 404), ((486, 401, 404), 401), ((503, 500, 501), 500), ((486, 302, 404), 302)],
)
def test_the_best_of_three(tmp_path: Path, statuses: tuple[int, ...], chosen: int) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob") << (alice, 100)
    received = [talk.request(desk, "INVITE") for desk in desks]
    for desk, request, status in zip(desks, received, statuses, strict=True):
        talk >> desk.reply(request, status) << (desk, "ACK")
    talk << (alice, chosen)


def test_a_503_is_a_500_and_challenges_are_gathered(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"))
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 503) << (desks[0], "ACK") << (alice, 500)
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob") << (alice, 100)
    received = [talk.request(desk, "INVITE") for desk in desks]
    for index, (desk, request) in enumerate(zip(desks, received, strict=True)):
        asks = [("Proxy-Authenticate", f'Digest realm="r{index}"')]
        talk >> desk.reply(request, 407, headers=asks) << (desk, "ACK")
    assert len(talk.response(alice, 407).headers.all("Proxy-Authenticate")) == 3


def test_a_6xx_ends_all_at_once(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob") << (alice, 100)
    received = [talk.request(desk, "INVITE") for desk in desks]
    talk >> desks[1].reply(received[1], 180) << (alice, 180)
    talk >> desks[0].reply(received[0], 603) << (desks[0], "ACK") << (desks[1], "CANCEL")
    talk >> desks[2].reply(received[2], 180) << (desks[2], "CANCEL") << (alice, 180)
    for desk, request in zip(desks[1:], received[1:], strict=True):
        talk >> desk.reply(request, 487) << (desk, "ACK")
    talk << (alice, 603)


def test_nothing_but_invite_is_told_that_it_timed_out(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"))
    message = alice.request("MESSAGE", f"sip:bob@{SERVER.host}")
    talk >> message
    received = talk.request(desks[0], "MESSAGE")
    talk >> desks[0].reply(received, 408)
    talk >> message
    talk.silent()
    talk >> alice.request("MESSAGE", f"sip:bob@{SERVER.host}") << (desks[0], "MESSAGE")
    talk.wait(32)
    assert {flow.remote for flow, _ in talk.sent} == {desks[0].at}
    talk.wait(6)
    assert len(talk.core.transactions) == 0


# -- CANCEL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_cancel_before_any_provisional_answer(tmp_path: Path, mode: int) -> None:
    tm = TmSettings(cancel_b_method=mode)
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"), tm=tm)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    received = talk.request(desks[0], "INVITE")
    talk >> cancelled(invite) << (alice, 200)
    if mode == 0:
        talk << (alice, 487)
        talk >> desks[0].reply(received, 200, body=SDP)
        talk << (desks[0], "ACK") << (desks[0], "BYE")
        return
    if mode == 1:
        talk.silent()
        talk >> desks[0].reply(received, 180)
    talk << (desks[0], "CANCEL")
    talk >> desks[0].reply(received, 487) << (desks[0], "ACK") << (alice, 487)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_cancel_of_nothing(tmp_path: Path, mode: int) -> None:
    tm = TmSettings(unmatched_cancel=mode)
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"), tm=tm)
    talk >> cancelled(alice.invite("bob", body=b""))
    if mode == 0:
        talk << (alice, 481)
    if mode == 1:
        talk << (desks[0], "CANCEL")
    talk.silent()
    assert len(talk.core.transactions) == 0


def test_reasons_of_cancels_are_as_tm_says(tmp_path: Path) -> None:
    tm = TmSettings(local_cancel_reason=False, e2e_cancel_reason=False)
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1', 'sip:d@192.0.2.2')"), tm=tm)
    talk >> alice.invite("bob") << (alice, 100)
    first, second = talk.request(desks[0], "INVITE"), talk.request(desks[1], "INVITE")
    talk >> desks[1].reply(second, 180) << (alice, 180)
    talk >> desks[0].reply(first, 200, body=SDP) << (alice, 200)
    assert talk.request(desks[1], "CANCEL").headers.get("Reason") is None


# -- hops ------------------------------------------------------------------------------------------


def hopping(talk: Talk, count: int = 2) -> list[Phone]:
    """Every INVITE goes to a target of several hops."""
    hops = tuple(Flow("udp", SERVER, Addr(f"192.0.2.{number}", 5060)) for number in range(1, count + 1))
    carry = talk.core.carry

    def elsewhere(inbound, decision, targets, now):  # type: ignore[no-untyped-def]
        new = [Target("sip:t@example", hops)] if isinstance(decision, Forward) else targets
        return carry(inbound, decision, new, now)

    talk.core.carry = elsewhere  # type: ignore[method-assign]
    return [talk.phone("t", at=flow.remote) for flow in hops]


@pytest.mark.pure
def test_what_cannot_be_sent_or_comes_back_by_icmp_tries_the_next_hop_at_once(tmp_path: Path) -> None:
    talk, alice, _ = house(tmp_path, RELAYED.format(""))
    first, second = hopping(talk)
    talk >> alice.invite("bob") << (alice, 100)
    octets = talk.sent[0][1]
    talk.request(first, "INVITE")
    talk._step(talk.core.unsendable(octets[:300], talk.now))
    there = talk.request(second, "INVITE")
    talk._step(talk.core.unsendable(octets, talk.now))
    talk.silent()
    talk >> second.reply(there, 180) << (alice, 180)
    talk._step(talk.core.unsendable(bytes(there), talk.now))
    talk.silent()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("status", "codes", "classes"),
    [
        (503, frozenset(), frozenset()),
        (403, frozenset({403}), frozenset()),
        (502, frozenset(), frozenset({5})),
    ],
)
def test_answers_that_try_the_next_hop(
    tmp_path: Path, status: int, codes: frozenset[int], classes: frozenset[int]
) -> None:
    tm = TmSettings(failover_codes=codes, failover_classes=classes)
    talk, alice, _ = house(tmp_path, RELAYED.format(""), tm=tm)
    first, second = hopping(talk)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> first.reply(talk.request(first, "INVITE"), status) << (first, "ACK")
    talk >> second.reply(talk.request(second, "INVITE"), 486) << (second, "ACK") << (alice, 486)


# -- loops and breadth -----------------------------------------------------------------------------


def again(request: Request, uri: str = "") -> bytes:
    """The request as the next proxy would send it back to us."""
    fields = [("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKloop"), *request.headers.fields]
    fields = [one for one in fields if one[0] != "Record-Route"]
    return bytes(Request(request.method, uri or request.uri, Headers(fields), request.body))


def test_a_loop_is_482_and_a_spiral_goes_on(tmp_path: Path) -> None:
    """Scripts may route by who sent it: only what comes from the same host again is a loop."""
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"))
    talk >> alice.invite("bob") << (alice, 100)
    there = talk.request(desks[0], "INVITE")
    talk >> Packet(desks[0], again(there, f"sip:bob@{SERVER.host}")) << (desks[0], 100)
    twice = talk.request(desks[0], "INVITE")
    looped = again(twice, f"sip:bob@{SERVER.host}").replace(b"z9hG4bKloop", b"z9hG4bKloop2", 1)
    talk >> Packet(desks[0], looped) << (desks[0], 482)
    spiral = again(twice, f"sip:carol@{SERVER.host}").replace(b"z9hG4bKloop", b"z9hG4bKloop3", 1)
    talk >> Packet(desks[0], spiral) << (desks[0], 100) << (desks[0], "INVITE")


def test_two_users_who_forward_to_each_other_end_soon(tmp_path: Path) -> None:
    """RFC 5393 §3: each has two contacts that come back to us as the other's."""
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:a@192.0.2.1', 'sip:b@192.0.2.2')"))
    talk >> alice.invite("bob")
    messages = 0
    while talk.sent and messages < 500:
        flow, octets = talk.sent.pop(0)
        messages += 1
        message = parse(octets)
        if isinstance(message, Request) and message.method == "INVITE":
            desk = desks[0] if flow.remote == desks[0].at else desks[1]
            back = again(message, f"sip:{message.ruri.user}@{SERVER.host}")
            talk >> Packet(desk, back)
        elif isinstance(message, Response) and message.status > 100 and flow.remote != alice.at:
            vias = [str(via) for via in message.headers.vias[1:]]
            fields = [one for one in message.headers.fields if one[0] != "Via"]
            kept = Headers([*(("Via", via) for via in vias), *fields])
            talk >> Packet(desks[0], bytes(Response(message.status, "x", kept, b"")))
    assert messages <= 60


def test_breadth_is_shared_among_branches_and_never_exceeded(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob", headers=[("Max-Breadth", "2")]) << (alice, 100)
    first, second = talk.request(desks[0], "INVITE"), talk.request(desks[1], "INVITE")
    talk.silent()
    assert [one.headers.all("Max-Breadth") for one in (first, second)] == [["1"], ["1"]]
    talk >> desks[0].reply(first, 486) << (desks[0], "ACK")
    talk >> desks[1].reply(second, 486) << (desks[1], "ACK")
    assert talk.request(desks[2], "INVITE").headers.get("Max-Breadth") == "2"
    talk >> alice.invite("bob", headers=[("Max-Breadth", "0")]) << (alice, 440)
    talk >> alice.invite("bob") << (alice, 100)
    assert talk.request(desks[0], "INVITE").headers.get("Max-Breadth") == "20"


def test_groups() -> None:
    def target(q: float | None) -> Target:
        return Target("sip:x", (), q=q)

    qs: list[float | None] = [1.0, 1.0, 0.5, -1.0, -1.0, None, None]
    serial = groups_of([target(q) for q in qs], True, 60)
    assert [[one.q for one in group] for group in serial] == [[1.0, 1.0], [0.5], [-1.0, -1.0], [None], [None]]
    assert [len(group) for group in groups_of([target(None)] * 5, False, 2)] == [2, 2, 1]
    assert [len(group) for group in groups_of([target(None)] * 5, False, 60)] == [5]


def test_a_request_may_have_timers_of_its_own(tmp_path: Path) -> None:
    text = (
        "def request(call):\n    call.t_set_fr(5000, 2000)\n    call.t_set_retr(100, 200)\n"
        "    call.t_set_auto_inv_100(False)\n    return Forward(('sip:d@192.0.2.1',))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob")
    received = talk.request(desks[0], "INVITE")
    talk.wait(0.15) << (desks[0], "INVITE")
    talk >> desks[0].reply(received, 180) << (alice, 180)
    talk.wait(5.1) << (desks[0], "CANCEL") << (alice, 408)
    talk >> alice.invite("bob")
    talk.wait(1.99)
    talk.sent.clear()
    talk.wait(0.1) << (alice, 408)


def test_a_target_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d@192.0.2.1',)") + (
        "def failure(call):\n    return Forward(('sip:d@192.0.2.2', 'sip:d@192.0.2.1'))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 486) << (desks[0], "ACK")
    talk >> desks[1].reply(talk.request(desks[1], "INVITE"), 404) << (desks[1], "ACK") << (alice, 404)
    talk.silent()

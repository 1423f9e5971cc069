"""Path (RFC 3327), as conversations between phones, an edge and the registrar behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from talk import SERVER, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.script import Call, Script
from edgesip.signal.decision import Decision, Forward, Reply, Save
from edgesip.signal.location.lookup import LookupSettings
from edgesip.signal.location.registrar import Settings
from edgesip.signal.wire.message import Request, Response, parse

EDGE = Addr("198.51.100.200", 5060)
FAR = Addr("192.0.2.77", 5060)
PATH = f"<sip:token@{EDGE};lr;ob>"


def request(call: Call) -> Decision:
    """A registrar behind an edge."""
    if call.method == "REGISTER":
        return Save()
    return Forward(phones) if (phones := call.lookup()) else Reply(404)


def house(lookup: LookupSettings | None = None, **settings: object) -> Talk:
    rules = Settings(**{"use_path": True, **settings})  # type: ignore[arg-type]
    script = Script("script.py", request, lambda call: Forward())
    return Talk(script=script, rules=rules, lookup=lookup)


def behind(name: str, at: Addr = EDGE) -> Phone:
    """A phone that speaks through the edge."""
    return Phone(name, at, Addr("192.168.1.10", 5060))


def register(
    talk: Talk, phone: Phone, status: int, *path: str, supported: str = "path", contact: str = ""
) -> Response:
    headers = [("Path", one) for one in path]
    headers += [("Supported", supported)] if supported else []
    headers.append(("Via", "SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKphone"))
    uri = f"sip:{phone.name}@example.net"
    packet = phone.request(
        "REGISTER", "sip:example.net", to=f"<{uri}>", call_id="reg", headers=headers, contact=contact or None
    )
    talk >> packet
    return talk.response(phone, status)


def error(response: Response) -> str:
    return response.headers.get("P-Registrar-Error") or ""


def invite(talk: Talk, user: str = "bob") -> None:
    alice = talk.phone("alice")
    talk >> alice.invite(user) << (alice, 100)


# ---- the registrar


def test_path_is_kept_and_told_and_taken() -> None:
    talk = house()
    bob = behind("bob")
    answer = register(talk, bob, 200, f"<sip:{FAR};lr>,{PATH}")
    assert answer.headers.get("Path") == f"<sip:{FAR};lr>,{PATH}"
    (binding,) = talk.core.usrloc.get_all()
    assert binding.path == f"<sip:{FAR};lr>,{PATH}"
    assert binding.flow.remote == EDGE
    invite(talk)
    sent = talk.request(FAR, "INVITE")
    assert sent.uri == "sip:bob@192.168.1.10:5060"
    assert [str(one) for one in sent.headers.routes] == [f"<sip:{FAR};lr>", PATH]
    assert "Path" not in sent.headers


def test_the_edge_that_sent_the_register_is_reached_by_the_same_flow() -> None:
    talk = house()
    register(talk, behind("bob"), 200, PATH)
    invite(talk)
    sent = talk.request(EDGE, "INVITE")
    assert [str(one) for one in sent.headers.routes] == [PATH]


def test_cancel_and_ack_take_the_same_way() -> None:
    talk = house()
    register(talk, bob := behind("bob"), 200, PATH)
    alice = talk.phone("alice")
    packet = alice.invite("bob")
    talk >> packet << (alice, 100)
    sent = talk.request(EDGE, "INVITE")
    talk >> bob.reply(sent, 180) << (alice, 180)
    talk >> cancelled(alice, packet) << (alice, 200)
    cancel = talk.request(EDGE, "CANCEL")
    assert [str(one) for one in cancel.headers.routes] == [PATH]
    talk >> bob.reply(sent, 487)
    ack = talk.request(EDGE, "ACK")
    assert [str(one) for one in ack.headers.routes] == [PATH]


def cancelled(phone: Phone, invite: Packet) -> Packet:
    """The CANCEL of what the phone sent."""
    sent = parse(invite.octets)
    assert isinstance(sent, Request)
    headers = sent.headers
    return phone.request(
        "CANCEL",
        sent.uri,
        call_id=headers.call_id,
        from_=headers.get("From") or "",
        to=headers.get("To") or "",
        cseq=headers.cseq.number,
        branch=headers.via.branch,
    )


def test_a_call_goes_on_by_the_record_route_of_the_edge() -> None:
    talk = house()
    register(talk, bob := behind("bob"), 200, PATH)
    alice = talk.phone("alice")
    packet = alice.invite("bob")
    talk >> packet << (alice, 100)
    sent = talk.request(EDGE, "INVITE")
    ok = bob.reply(sent, 200)
    theirs = f"\r\nRecord-Route: <sip:token@{EDGE};lr;ob>\r\nRecord-Route".encode()
    talk >> replace(ok, octets=ok.octets.replace(b"\r\nRecord-Route", theirs, 1))
    answer = talk.response(alice, 200)
    talk >> alice.ack(packet, answer)
    ack = talk.request(EDGE, "ACK")
    assert [str(one) for one in ack.headers.routes] == [f"<sip:token@{EDGE};lr;ob>"]


@pytest.mark.parametrize(
    ("mode", "supported", "status", "told"),
    [
        (0, "path", 200, None),
        (0, "", 200, None),
        (1, "path", 200, PATH),
        (1, "", 200, None),
        (2, "path", 200, PATH),
        (2, "", 420, PATH),
    ],
)
def test_the_mode_says_who_is_told(mode: int, supported: str, status: int, told: str | None) -> None:
    talk = house(path_mode=mode)
    answer = register(talk, behind("bob"), status, PATH, supported=supported)
    assert answer.headers.get("Path") == told
    assert (len(talk.core.usrloc) == 1) == (status == 200)
    if status == 420:
        assert answer.headers.get("Unsupported") == "path"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("<sip:192.0.2.1>", "the first hop is no loose router"),
        ("<tel:+1>", "not a SIP URI"),
        ("<sip:192.0.2.1;lr", "no > after URI"),
        (",".join(["<sip:192.0.2.1;lr>"] * 17), "too long"),
        (f"<sip:{'a' * 1100}@192.0.2.1;lr>", "too long"),
    ],
)
def test_a_bad_path_is_400(path: str, why: str) -> None:
    talk = house()
    assert error(register(talk, behind("bob"), 400, path)) == f"Bad Path: {why}"
    assert len(talk.core.usrloc) == 0


def test_without_use_path_it_is_as_if_there_were_none() -> None:
    talk = house(use_path=False)
    answer = register(talk, behind("bob"), 200, PATH)
    assert answer.headers.get("Path") is None
    invite(talk)
    assert talk.request(EDGE, "INVITE").headers.routes == ()


def test_received_in_path_is_where_the_phone_was_seen() -> None:
    talk = house(path_use_received=True)
    seen = f"<sip:{EDGE};lr;received=sip:203.0.113.99:40000%3Btransport%3Dtcp>"
    register(talk, behind("bob"), 200, seen)
    (binding,) = talk.core.usrloc.get_all()
    assert binding.received == "sip:203.0.113.99:40000;transport=tcp"
    assert binding.nated


def test_a_path_leads_inside_only_when_its_register_came_from_there() -> None:
    talk = house()
    register(talk, behind("bob"), 200, "<sip:10.0.0.5;lr>")
    alice = talk.phone("alice")
    talk >> alice.invite("bob")
    assert talk.take(alice, 478)
    register(talk, behind("carol", Addr("10.0.0.5", 5060)), 200, "<sip:10.0.0.5;lr>")
    invite(talk, "carol")
    talk.request(Addr("10.0.0.5", 5060), "INVITE")


def test_a_first_hop_that_is_us_is_left_out_when_that_is_wanted() -> None:
    ours = f"<sip:{SERVER};lr>"
    talk = house(LookupSettings(path_check_local=True))
    register(talk, behind("bob"), 200, f"{ours},{PATH}")
    invite(talk)
    assert [str(one) for one in talk.request(EDGE, "INVITE").headers.routes] == [PATH]
    talk = house(LookupSettings(path_check_local=True))
    register(talk, behind("bob"), 200, ours)
    invite(talk)
    assert talk.request(EDGE, "INVITE").headers.routes == ()
    talk = house()
    register(talk, behind("bob"), 200, ours)
    talk >> (alice := talk.phone("alice")).invite("bob") << (alice, 478)


def test_matching_by_path_keeps_the_same_private_address_behind_two_edges_apart() -> None:
    talk = house()
    talk.core.usrloc.settings = replace(talk.core.usrloc.settings, matching_mode=2)
    register(talk, behind("bob"), 200, PATH)
    register(talk, behind("bob", FAR), 200, f"<sip:{FAR};lr>")
    assert len(talk.core.usrloc) == 2


def test_service_route_is_in_the_200() -> None:
    talk = house(service_route=("<sip:edge.example.net;lr>", "<sip:core.example.net;lr>"))
    answer = register(talk, behind("bob"), 200, PATH)
    assert answer.headers.values("Service-Route") == [
        "<sip:edge.example.net;lr>",
        "<sip:core.example.net;lr>",
    ]


# ---- the edge in front of a registrar

REGISTRAR = Addr("203.0.113.9", 5060)


def edge_request(call: Call) -> Decision:
    """An edge: registrations go on with a Path, what comes back by it goes to the phone."""
    if call.method == "REGISTER":
        if call.hdr("X-Received"):
            call.add_path_received(params=";x=1")
        elif user := call.hdr("X-User"):
            call.add_path(user)
        elif address := call.hdr("X-Address"):
            call.add_path_advertised_address(address)
        else:
            call.add_path()
        call.setdsturi(f"sip:{REGISTRAR}")
        return Forward()
    if call.check_flow_token() == 1:
        return Forward()
    return Reply(403, str(call.check_flow_token()))


def edge() -> Talk:
    script = Script("script.py", edge_request, lambda call: Forward())
    return Talk(script=script)


def passed_on(talk: Talk, phone: Phone, *headers: tuple[str, str], contact: str = "") -> Request:
    uri = f"sip:{phone.name}@example.net"
    talk >> phone.request(
        "REGISTER", "sip:example.net", to=f"<{uri}>", headers=headers, contact=contact or phone.contact
    )
    return talk.request(REGISTRAR, "REGISTER")


def from_registrar(talk: Talk, route: str, uri: str, method: str = "INVITE") -> None:
    core = Phone("core", REGISTRAR, REGISTRAR)
    talk >> core.request(method, uri, headers=[("Route", one) for one in route.split(",")])


@pytest.mark.parametrize(
    "headers",
    [(), (("X-Received", "1"),), (("X-User", "alice"),), (("X-Address", "edge.example.net"),)],
)
def test_what_comes_back_by_our_path_goes_over_the_flow_of_the_register(
    headers: tuple[tuple[str, str], ...],
) -> None:
    talk = edge()
    talk.core.myself._hosts |= {"edge.example.net"}
    alice = talk.phone("alice", nat=True)
    register = passed_on(talk, alice, *headers)
    assert register.uri == "sip:example.net"
    (path,) = register.headers.values("Path")
    from_registrar(talk, path, "sip:alice@192.168.1.10:5060")
    talk << (REGISTRAR, 100)
    sent = talk.request(alice, "INVITE")
    assert sent.uri == "sip:alice@192.168.1.10:5060"
    assert sent.headers.routes == ()


def test_the_forms_of_path() -> None:
    talk = edge()
    alice = talk.phone("alice", nat=True)
    (plain,) = passed_on(talk, alice).headers.values("Path")
    assert plain.endswith(f"@{SERVER};lr>")
    (ob,) = passed_on(talk, alice, contact=alice.contact + ';+sip.instance="<x>";reg-id=1').headers.values(
        "Path"
    )
    assert ob.endswith(f"@{SERVER};lr;ob>")
    (seen,) = passed_on(talk, alice, ("X-Received", "1")).headers.values("Path")
    assert seen.endswith(f"@{SERVER};lr;received=sip:{alice.at};x=1>")
    (named,) = passed_on(talk, alice, ("X-User", "alice")).headers.values("Path")
    assert named.startswith(f"<sip:alice@{SERVER};lr;flow=")
    (other,) = passed_on(talk, alice, ("X-Address", "edge.example.net")).headers.values("Path")
    assert other.endswith("@edge.example.net;lr>")


def test_path_goes_before_that_of_others_and_a_second_hop_is_no_outbound() -> None:
    talk = edge()
    alice = talk.phone("alice")
    contact = alice.contact + ';+sip.instance="<x>";reg-id=1'
    via = ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKother")
    register = passed_on(talk, alice, ("Path", "<sip:192.0.2.1;lr>"), via, contact=contact)
    first, second = register.headers.values("Path")
    assert first.endswith(f"@{SERVER};lr>")
    assert second == "<sip:192.0.2.1;lr>"


def test_two_sides_that_see_two_addresses_get_two_entries() -> None:
    talk = edge()
    alice = talk.phone("alice", transport="tcp")
    outer, inner = passed_on(talk, alice).headers.values("Path")
    assert outer.endswith(f"@{SERVER};r2=on;lr>")
    assert inner.endswith(f"@{SERVER};transport=tcp;r2=on;lr>")
    from_registrar(talk, f"{outer},{inner}", "sip:alice@10.0.0.1;transport=tcp")
    talk << (REGISTRAR, 100) << (alice, "INVITE")
    talk.rooms = replace(talk.rooms, path=replace(talk.rooms.path, enable_r2=False))
    (one,) = passed_on(talk, alice).headers.values("Path")
    assert "r2" not in one


def test_a_path_is_only_for_register() -> None:
    script = Script("script.py", lambda call: Reply(200 if call.add_path() else 400))
    talk = Talk(script=script)
    talk >> (alice := talk.phone("alice")).request("OPTIONS", "sip:example.net") << (alice, 400)


def test_a_flow_that_was_never_there_leads_nowhere() -> None:
    talk = edge()
    alice = talk.phone("alice")
    (path,) = passed_on(talk, alice, contact=alice.contact + ";reg-id=1").headers.values("Path")
    token = path[5 : path.index("@")]
    forged = path.replace(token, token[:-6] + ("AAAA==" if token[-6:] != "AAAA==" else "AAAB=="))
    from_registrar(talk, forged, "sip:alice@10.0.0.1")
    assert talk.response(REGISTRAR, 403).reason == "Invalid Flow Token"
    named = path.replace(token, "alice").replace(";ob", ";flow=x")
    from_registrar(talk, named, "sip:alice@10.0.0.1")
    talk << (REGISTRAR, 403)


def test_what_a_script_is_told_of_a_flow_token() -> None:
    talk = edge()
    core = Phone("core", REGISTRAR, REGISTRAR)
    for route, told in ((None, "-1"), (f"<sip:{SERVER};lr>", "-3"), (f"<sip:user@{SERVER};lr>", "-3")):
        headers = [("Route", route)] if route else []
        talk >> core.request("OPTIONS", "sip:alice@10.0.0.1", headers=headers)
        assert talk.response(REGISTRAR, 403).reason == told


def test_a_call_that_came_by_our_path_goes_on_over_that_flow() -> None:
    talk = edge()
    alice = talk.phone("alice", nat=True)
    (path,) = passed_on(talk, alice).headers.values("Path")
    core = Phone("core", REGISTRAR, REGISTRAR)
    packet = core.request("INVITE", "sip:alice@192.168.1.10:5060", headers=[("Route", path)])
    talk >> packet << (REGISTRAR, 100)
    received = talk.request(alice, "INVITE")
    ok = alice.reply(received, 200)
    talk >> ok
    answer = talk.response(REGISTRAR, 200)
    talk >> core.ack(packet, answer) << (alice, "ACK")
    talk >> alice.back(received, ok, "INFO") << (REGISTRAR, "INFO")
    talk >> core.within(packet, answer, "BYE") << (alice, "BYE")


def test_a_flow_that_is_gone_is_430() -> None:
    talk = edge()
    alice = talk.phone("alice", transport="tcp")
    path = ",".join(passed_on(talk, alice).headers.values("Path"))
    from_registrar(talk, path, "sip:alice@10.0.0.1;transport=tcp")
    talk << (REGISTRAR, 100) << (alice, "INVITE")
    talk.hang(alice)
    assert talk.response(REGISTRAR, 430).reason == "Flow Failed"


# ---- without a transaction


def test_a_stateless_copy_takes_the_path_and_is_written_one() -> None:
    def stateless(call: Call) -> Decision:
        if call.method == "REGISTER" and call.hdr("X-On"):
            call.add_path()
            return Forward((f"sip:{REGISTRAR}",), stateless=True)
        return Save() if call.method == "REGISTER" else Forward(call.lookup(), stateless=True)

    talk = Talk(script=Script("script.py", stateless), rules=Settings(use_path=True))
    register(talk, behind("bob"), 200, PATH)
    talk >> talk.phone("alice").request("MESSAGE", f"sip:bob@{SERVER.host}")
    assert [str(one) for one in talk.request(EDGE, "MESSAGE").headers.routes] == [PATH]
    sent = passed_on(talk, talk.phone("alice"), ("X-On", "1"))
    assert len(sent.headers.values("Path")) == 1


def test_an_ack_to_a_gruu_takes_the_path() -> None:
    def in_dialog(call: Call) -> Decision:
        return Forward(call.lookup()) if call.is_gruu() else Forward()

    script = Script("script.py", request, in_dialog)
    talk = Talk(script=script, rules=Settings(use_path=True))
    bob = behind("bob")
    register(talk, bob, 200, PATH, contact=bob.contact + ';+sip.instance="<desk>"')
    alice = talk.phone("alice")
    packet = alice.invite("bob")
    talk >> packet << (alice, 100)
    ok = bob.reply(talk.request(EDGE, "INVITE"), 200, contact="<sip:bob@example.net;gr=desk>")
    talk >> ok
    talk >> alice.ack(packet, talk.response(alice, 200))
    ack = talk.request(EDGE, "ACK")
    assert ack.uri == "sip:bob@192.168.1.10:5060"
    assert [str(one) for one in ack.headers.routes] == [PATH]


# ---- connections of an edge


def test_contacts_behind_an_edge_outlive_its_connection() -> None:
    talk = house()
    bob = replace(behind("bob"), transport="tcp")
    register(talk, bob, 200, f"<sip:{EDGE};transport=tcp;lr>")
    plain = talk.phone("carol", transport="tcp")
    register(talk, plain, 200)
    talk.hang(bob).hang(plain)
    assert [one.aor for one in talk.core.usrloc.get_all()] == ["bob"]


def test_pings_go_by_the_path() -> None:
    talk = Talk(ping=10.0, rules=Settings(use_path=True), script=Script("s.py", request))
    register(talk, behind("bob"), 200, PATH)
    talk.wait(11)
    ping = talk.request(EDGE, "OPTIONS")
    assert [str(one) for one in ping.headers.routes] == [PATH]

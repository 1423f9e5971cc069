"""registrar's functions in scripts: where users are, and what of it a script is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from edgesip.address import Addr, Flow
from edgesip.script import Call, Script
from edgesip.signal.decision import Forward, Reply, Save
from edgesip.signal.location.lookup import LookupSettings
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.wire.grammar import ParseError
from edgesip.testing import Stage, rooms_for

PHONE = "udp:198.51.100.9:40000"
CONTACT = "sip:bob@192.168.1.7"


def stage(**lookup: int) -> Stage:
    rooms = replace(rooms_for(["alice", "bob"]), lookup=LookupSettings(**lookup))  # type: ignore[arg-type]
    return Stage(rooms, Script("script.py", lambda call: Reply(404)))


def phone(where: Stage, user: str = "bob", **changes: object) -> Binding:
    binding = where.register(user, CONTACT, source=PHONE)
    binding = replace(binding, **changes)  # type: ignore[arg-type]
    where.rooms.usrloc.put(binding)
    return binding


def to(where: Stage, uri: str = "sip:bob@203.0.113.1", **more: str) -> Call:
    return where.call("INVITE", uri, **more)  # type: ignore[arg-type]


def test_lookup_takes_a_uri_a_name_or_the_request() -> None:
    there = stage()
    bob = phone(there)
    call = to(there)
    assert call.lookup() == call.lookup("sip:Bob@203.0.113.1") == call.lookup("bob") == (bob,)
    assert call.lookup("carol") == ()
    assert call.lookup_to_dset("sip:bob@x") == call.reg_fetch_contacts("bob") == (bob,)


def test_method_filtering_leaves_out_who_does_not_take_it() -> None:
    there = stage(method_filtering=True)
    deaf = phone(there, methods=("REGISTER", "OPTIONS"))
    call = to(there)
    assert call.lookup() == ()
    assert call.registered()
    assert call.reg_fetch_contacts() == (deaf,)
    silent = phone(there, "carol", methods=())
    assert call.lookup("carol") == (silent,)
    able = phone(there, "dave", methods=("INVITE",))
    assert call.lookup("dave") == (able,)


def test_without_append_branches_it_is_the_first_phone_with_all_its_flows() -> None:
    there = stage(append_branches=False)
    flows = [phone(there, instance="desk", reg_id=number, ruid=f"desk-{number}") for number in (1, 2)]
    phone(there, instance="mobile", reg_id=1, ruid="mobile")
    found = to(there).lookup()
    assert [one.ruid for one in found if one.instance] == [one.ruid for one in flows if one in found]
    assert {one.instance for one in found} == {found[0].instance}


def test_branch_flags_choose_where_the_mode_has_them_and_a_script_asks() -> None:
    there = stage(lookup_filter_mode=1)
    phone(there, ruid="desk", cflags=1 << 7)
    phone(there, ruid="far", contact="sip:bob@192.168.1.8", cflags=1 << 8 | 1 << 9, nated=False)
    call = to(there)

    def found(bindings: Sequence[object]) -> set[str]:
        return {one.ruid for one in bindings if isinstance(one, Binding)} & {"desk", "far"}

    assert found(call.lookup()) == {"desk", "far"}
    assert found(call.lookup(rlf_bflags=1 << 7)) == {"desk"}
    assert found(call.lookup(rlf_bflags=1 << 7 | 1 << 9)) == {"desk", "far"}
    assert "far" not in found(call.lookup(rlf_bflags=1 << 6)), "it is not behind a NAT"
    assert found(call.lookup_to_dset(rlf_bflags=1 << 9)) == {"far"}
    assert found(call.lookup_branches("sip:bob@203.0.113.1", rlf_bflags=1 << 9)) == {"far"}
    assert found(to(stage_of(there, 0)).lookup(rlf_bflags=1 << 7)) == {"desk", "far"}


def stage_of(there: Stage, mode: int) -> Stage:
    """The same phones under another `lookup_filter_mode`."""
    rooms = replace(there.rooms, lookup=LookupSettings(lookup_filter_mode=mode))
    return Stage(rooms, Script("script.py", lambda call: Reply(404)))


def test_whose_connection_is_gone_is_left_out_where_the_mode_says_so() -> None:
    there = stage(lookup_filter_mode=2)
    udp = phone(there)
    local, remote = udp.flow.local, udp.flow.remote
    living, dead = (Flow("tcp", local, Addr(remote.host, port)) for port in (41000, 42000))
    kept = phone(there, ruid="kept", flow=living)
    lost = phone(there, ruid="lost", flow=dead)
    proxied = phone(there, ruid="proxied", flow=dead, path="<sip:192.0.2.9;transport=tcp;lr>")
    there.rooms.lines.alive = lambda flow: flow == living
    assert {one.ruid for one in to(there).lookup()} >= {kept.ruid, proxied.ruid}
    assert lost not in to(there).lookup()
    assert lost in to(stage_of(there, 1)).lookup()
    assert lost in to(there).reg_fetch_contacts()


def test_expired_contacts_are_found_where_that_is_wanted_after_the_living_ones() -> None:
    there = stage(use_expired_contacts=True)
    call = to(there)
    over, late = call._now - 1.0, call._now + 50.0
    old = phone(there, ruid="old", contact="sip:bob@192.168.1.50", expires=over, q=1.0)
    new = phone(there, ruid="new", contact="sip:bob@192.168.1.51", expires=late)
    assert call.lookup()[-1] == old
    assert new in call.lookup()
    assert old not in call.reg_fetch_contacts()
    assert old not in to(stage_of(there, 0)).lookup()
    assert not to(there).registered("carol")
    gone = phone(there, "carol", ruid="gone", expires=over)
    for one in there.rooms.usrloc.known("carol"):
        there.rooms.usrloc.put(replace(one, expires=over))
    assert gone in to(there).lookup("carol")
    assert not to(there).registered("carol"), "he is found, and yet not registered"


def test_an_expired_contact_whose_phone_is_back_rings_once() -> None:
    there = stage(use_expired_contacts=True)
    call = to(there)
    over = call._now - 1.0
    (first,) = (phone(there),)
    again = phone(there, ruid="again", contact=first.contact, expires=over)
    desk = phone(there, ruid="desk", contact="sip:bob@192.168.1.60:1", instance="<urn:uuid:1>", reg_id=1)
    ghost = phone(
        there, ruid="ghost", contact="sip:bob@192.168.1.60:2", instance="<urn:uuid:1>", reg_id=1, expires=over
    )
    found = call.lookup()
    assert desk in found
    assert again not in found
    assert ghost not in found


def test_lookup_branches_looks_up_ours_and_keeps_others() -> None:
    there = stage()
    bob = phone(there)
    uris = ("sip:bob@203.0.113.1", "sip:bob@elsewhere.example", "sip:carol@203.0.113.1")
    assert to(there).lookup_branches(*uris) == (bob, "sip:bob@elsewhere.example")


def test_registered_may_want_it_to_be_the_same_phone() -> None:
    there = stage()
    bob = phone(there)
    call = to(there, source=PHONE, contact=f"<{CONTACT}>")
    assert call.registered("bob")
    assert call.registered("bob", 2)
    assert call.registered("bob", 4)
    assert call.registered("bob", 2 | 4)
    assert not call.registered("bob", 1)
    assert call.registered("bob", 1, match_callid=bob.call_id)
    assert not call.registered("bob", 1 | 4, match_callid=bob.call_id, match_contact="sip:x")
    assert not to(there).registered("bob", 2)
    assert to(there).registered("bob", 2, match_received="sip:198.51.100.9:40000")
    assert not call.registered("carol", 2)


@pytest.mark.parametrize(
    ("source", "mode", "expected"),
    [
        (PHONE, 0, True),
        (PHONE, 3, True),
        ("udp:198.51.100.9:40001", 0, True),
        ("udp:198.51.100.9:40001", 1, False),
        ("tcp:198.51.100.9:40000", 1, True),
        ("tcp:198.51.100.9:40000", 2, False),
        ("udp:198.51.100.10:40000", 0, False),
    ],
)
def test_a_caller_is_known_by_where_he_is_registered(source: str, mode: int, expected: bool) -> None:
    there = stage()
    phone(there)
    call = to(there, from_="sip:bob@203.0.113.1", source=source)
    assert call.reg_from_user(mode=mode) is expected
    assert not call.reg_from_user("sip:carol@203.0.113.1", mode)


def test_unregister_takes_one_or_all_when_the_request_is_decided() -> None:
    there = stage()
    one = phone(there)
    two = phone(there)
    call = to(there)
    assert not call.unregister(ruid="nobody")
    assert not call.unregister("carol")
    assert call.unregister(ruid=one.ruid)
    assert len(call.lookup()) == 2
    there.carry(Reply(404))
    assert to(there).lookup() == (two,)
    call = to(there)
    assert call.unregister()
    there.carry(Reply(404))
    assert to(there).lookup() == ()


def test_unregister_comes_before_a_save() -> None:
    there = stage()
    phone(there)
    phone(there)
    call = there.call(
        "REGISTER", "sip:203.0.113.1", to="sip:bob@203.0.113.1", contact="<sip:bob@192.168.1.9>"
    )
    assert call.unregister()
    there.carry(Save())
    assert [one.contact for one in to(there).lookup()] == ["sip:bob@192.168.1.9"]


def test_a_socket_header_says_where_it_came_to() -> None:
    there = stage()
    call = to(there)
    call.add_sock_hdr("X-Sock")
    assert call.wanted() == ("append_hf('X-Sock', 'udp:203.0.113.1:5060')",)


def test_a_path_is_noted_and_bad_parameters_are_refused() -> None:
    there = stage()
    call = there.call("REGISTER", "sip:203.0.113.1", to="sip:bob@203.0.113.1")
    assert call.add_path("bob", "x=1")
    assert call.wanted() == ("add_path('bob', ';lr;x=1')",)
    with pytest.raises(ParseError):
        call.add_path_advertised_address("edge example")
    with pytest.raises(ParseError):
        call.add_path("bob", "x=<1>")
    assert not to(there).add_path()


def test_forward_takes_what_was_found() -> None:
    there = stage()
    phone(there)
    call = to(there)
    sent = there.carry(Forward(call.lookup())).sent
    assert [one.message.uri for one in sent if hasattr(one.message, "uri")] == [CONTACT]

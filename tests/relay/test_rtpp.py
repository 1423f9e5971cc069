"""The grammar of the rtpproxy protocol: what is asked, and which error number stands for what is wrong."""

from __future__ import annotations

import pytest

from edgesip.relay import rtpp
from edgesip.relay.rtpp import Delete, Notify, Place, RtppError, Who, parse


def read(text: str) -> rtpp.Command:
    return parse(rtpp.words_of(text.encode()))


def refused(text: str) -> int:
    with pytest.raises(RtppError) as error:
        read(text)
    assert error.value.why
    return error.value.code


def test_an_update_as_kamailio_sends_it() -> None:
    command = read("Uc0,8,101 abc@host;z9hG4bK-1 192.0.2.7 4000 tag-a;1")
    who = Who("abc@host;z9hG4bK-1", "tag-a", None, 1)
    assert command == Place(who, True, "192.0.2.7", 4000, codecs=(0, 8, 101))


def test_a_lookup_has_both_tags_in_the_order_of_its_update() -> None:
    command = read("LSIe6Z30c9 abc 2001:DB8::7 4002 tag-a;2 tag-b;2")
    who = Who("abc", "tag-a", "tag-b", 2)
    assert command == Place(
        who, False, "2001:db8::7", 4002, symmetric=True, networks="ie", six=True, ptime=30, codecs=(9,)
    )


def test_options_may_be_small_or_capital_and_in_any_order() -> None:
    assert read("UAWN abc 192.0.2.7 4000 a") == read("unwa abc 192.0.2.7 4000 a")


def test_addresses_and_labels_that_ports_shall_be_bound_to() -> None:
    local = read("UL192.0.2.1 abc 192.0.2.7 4000 a")
    label = read("Ul{inside}A abc 192.0.2.7 4000 a")
    toward = read("UR[2001:db8::5] abc 192.0.2.7 4000 a")
    assert isinstance(local, Place)
    assert isinstance(label, Place)
    assert isinstance(toward, Place)
    assert (local.local, label.label, label.asymmetric) == ("192.0.2.1", "inside", True)
    assert toward.toward == "2001:db8::5"


def test_who_wants_to_be_told_stands_behind_the_tags() -> None:
    both = read("U abc 192.0.2.7 4000 a;1 b;1 unix:/run/t.sock call%20one")
    alone = read("U abc 192.0.2.7 4000 a;1 unix:/run/t.sock call-1")
    bare = read("U abc 192.0.2.7 4000 a;1 b;1 unix:/run/t.sock")
    assert isinstance(both, Place)
    assert isinstance(alone, Place)
    assert isinstance(bare, Place)
    assert (both.who.second, both.notify) == ("b", Notify("unix:/run/t.sock", "call one"))
    assert (alone.who.second, alone.notify) == (None, Notify("unix:/run/t.sock", "call-1"))
    assert (bare.who.second, bare.notify) == ("b", Notify("unix:/run/t.sock", ""))


def test_a_command_may_bring_the_end_of_the_call_with_it() -> None:
    who = Who("abc", "a", "b", 1)
    assert read("Qv abc a;1 b;1 ttl nrelayed && D") == rtpp.Query(
        who, True, ("ttl", "nrelayed"), Delete(who, False)
    )
    placed = read("L abc 192.0.2.7 4000 a;1 b;1 && dw")
    assert isinstance(placed, Place)
    assert placed.then == Delete(who, True)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("V", rtpp.Version()),
        ("VF 20081102", rtpp.Feature("20081102")),
        ("D abc a", Delete(Who("abc", "a", None, None), False)),
        ("Dw abc a b", Delete(Who("abc", "a", "b", None), True)),
        ("P-1 abc moh session a;1 b;1", rtpp.Play(Who("abc", "a", "b", 1), "moh", -1, None)),
        ("P abc moh 8,0 a", rtpp.Play(Who("abc", "a", None, None), "moh", 1, (8, 0))),
        ("S abc a;1", rtpp.Stop(Who("abc", "a", None, 1))),
        ("Rs abc a b", rtpp.Record(Who("abc", "a", "b", None), "", True)),
        ("C abc one a b", rtpp.Record(Who("abc", "a", "b", None), "one", False)),
        ("Na abc a", rtpp.Unrecord(Who("abc", "a", None, None), True)),
        ("Q abc a", rtpp.Query(Who("abc", "a", None, None), False, ())),
        ("I", rtpp.Info(False)),
        ("ib", rtpp.Info(True)),
        ("Gv nsess_created", rtpp.Totals(True, ("nsess_created",))),
        ("X", rtpp.DeleteAll()),
    ],
)
def test_the_other_commands(text: str, command: rtpp.Command) -> None:
    assert read(text) == command


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 5),
        ("Z", 0),
        ("U", 1),
        ("U abc 192.0.2.7 4000", 1),
        ("L abc 192.0.2.7 4000 a b c", 1),
        ("VF", 1),
        ("X now", 1),
        ("V1", 2),
        ("Xx", 2),
        ("S1 abc a", 2),
        ("U! abc 192.0.2.7 4000 a", 2),
        ("Nb abc a", 2),
        ("D abc a && D", 3),
        ("Q abc a && U", 3),
        ("U abc 192.0.2.7 4000 a && D && D", 3),
        ("Rsx abc a", 6),
        ("Rx abc a", 7),
        ("Dx abc a", 8),
        ("Gx", 9),
        ("U abc 192.0.2.7 4000 a b unix:/t bad%2", 10),
        ("Uiee abc 192.0.2.7 4000 a", 11),
        ("Ueei abc 192.0.2.7 4000 a", 12),
        ("UZ abc 192.0.2.7 4000 a", 13),
        ("UZ1000 abc 192.0.2.7 4000 a", 13),
        ("Uc abc 192.0.2.7 4000 a", 14),
        ("Uc0,,8 abc 192.0.2.7 4000 a", 14),
        ("Uc128 abc 192.0.2.7 4000 a", 14),
        ("Uc٣ abc 192.0.2.7 4000 a", 2),
        ("UL abc 192.0.2.7 4000 a", 15),
        ("UR1.2.3 abc 192.0.2.7 4000 a", 16),
        ("P2x abc moh session a", 17),
        ("P-2 abc moh session a", 17),
        ("Ix", 18),
        ("Il", 18),
        ("Qx abc a", 19),
        ("U abc 192.0.2.7 65536 a", 32),
        ("U abc 192.0.2.7 -1 a", 32),
        ("U abc 192.0.2.7 4000 a;0", 37),
        ("U abc 192.0.2.7 4000 a;17", 37),
    ],
)
def test_what_is_wrong_has_its_number(text: str, code: int) -> None:
    assert refused(text) == code


def test_a_name_is_no_address_and_a_command_has_a_longest_length() -> None:
    named = read("U abc sip.example.net 4000 a")
    assert isinstance(named, Place)
    assert named.host == ""
    assert rtpp.words_of(b"c1 U " + b"a" * rtpp.MAX_TEXT) == []

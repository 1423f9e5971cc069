"""The methods `ul.*`, in Kamailio's words."""

import asyncio
import json
from math import inf
from typing import Any

import pytest
from rooms_twin import NOW, WALL_OFFSET, RoomsTwin, binding, flow

from edgesip.control.rpc import Rpc
from edgesip.control.ul import methods_for
from edgesip.signal.location.usrloc import Usrloc, UsrlocSettings


def ask(rooms: RoomsTwin, method: str, *params: Any) -> Any:
    request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1}
    answer = asyncio.run(waited(Rpc(methods_for(rooms)), json.dumps(request).encode()))
    return json.loads(answer)


async def waited(rpc: Rpc, request: bytes) -> bytes:
    """The whole answer, the futures in it waited for."""
    parts = []
    for piece in rpc.pieces(request):
        if isinstance(piece, bytes):
            parts.append(piece)
        else:
            await asyncio.wait([piece])
    return b"".join(parts)


def result(rooms: RoomsTwin, method: str, *params: Any) -> Any:
    answer = ask(rooms, method, *params)
    assert "error" not in answer, answer
    return answer["result"]


def contacts(rooms: RoomsTwin, aor: str) -> list[dict[str, Any]]:
    return [one["Contact"] for one in result(rooms, "ul.lookup", aor)["Contacts"]]


def fault(rooms: RoomsTwin, method: str, *params: Any) -> int:
    code = ask(rooms, method, *params)["error"]["code"]
    assert isinstance(code, int)
    return code


def test_lookup_shows_a_binding_with_kamailios_fields() -> None:
    rooms = RoomsTwin([binding()])
    assert result(rooms, "ul.lookup", "location", "alice") == {
        "AoR": "alice",
        "Contacts": [
            {
                "Contact": {
                    "Address": "sip:alice@192.168.1.10:5060",
                    "Expires": 3600,
                    "Q": -1.0,
                    "Call-ID": "reg-alice-192.168.1.10",
                    "CSeq": 3,
                    "User-Agent": "baresip v1.0.0",
                    "Received": "sip:203.0.113.7:40000",
                    "Path": "[not set]",
                    "State": "CS_SYNC",
                    "Flags": 0,
                    "CFlags": 64,
                    "Socket": "udp:192.0.2.1:5060",
                    "Methods": 1 + 4 + 8,
                    "Ruid": "uloc-1-alice-192.168.1.10",
                    "Instance": "[not set]",
                    "Reg-Id": 0,
                    "Server-Id": 0,
                    "Tcpconn-Id": -1,
                    "Keepalive": 1,
                    "Last-Keepalive": 0,
                    "KA-Roundtrip": 0,
                    "KA-Interval": 0.0,
                    "Last-Modified": int(NOW - 60 + WALL_OFFSET),
                }
            }
        ],
    }


def test_a_public_phone_that_answers_pings_shows_it() -> None:
    heard = binding(nated=False, methods=(), last_keepalive=NOW - 1, roundtrip=0.0125)
    shown = result(RoomsTwin([heard]), "ul.lookup", "alice")["Contacts"][0]["Contact"]
    assert (shown["CFlags"], shown["Methods"]) == (0, 0xFFFFFFFF)
    assert (shown["Last-Keepalive"], shown["KA-Roundtrip"]) == (int(NOW - 1 + WALL_OFFSET), 12500)


@pytest.mark.parametrize(
    "params",
    [
        ["alice"],
        ["location", "alice"],
        ["ALICE"],
        ["alice@edge"],
        ["sip:alice@edge:5060"],
        ["location", "sip:alice"],
    ],
)
def test_an_address_of_record_is_found_however_it_is_written(params: list[str]) -> None:
    assert result(RoomsTwin([binding()]), "ul.lookup", *params)["AoR"] == "alice"


def test_what_is_not_there_is_500_to_who_looks_and_404_to_who_removes() -> None:
    rooms = RoomsTwin([binding(), binding("carol", expires=NOW - 1)])
    unknown = ask(rooms, "ul.lookup", "location", "bob")["error"]
    assert unknown == {"code": 500, "message": "AOR not found in location table: bob"}
    over = ask(rooms, "ul.lookup", "carol")["error"]
    assert over == {"code": 500, "message": "AOR has no contacts: carol"}, "expired, if not yet swept"
    assert fault(rooms, "ul.lookup", "aliases", "alice") == 500
    assert fault(rooms, "ul.rm", "bob") == 404
    assert fault(rooms, "ul.rm_contact", "bob", "sip:other") == 404
    assert fault(rooms, "ul.rm_contact", "alice", "sip:other") == 404
    assert fault(rooms, "ul.lookup") == -32602
    assert fault(rooms, "ul.lookup", "location", "alice", "x") == -32602
    assert fault(rooms, "ul.rm_contact", "alice") == -32602
    assert rooms.removed == []


def test_dump_is_kamailios_tree() -> None:
    rooms = RoomsTwin([binding(), binding("bob"), binding("carol", expires=NOW - 1)])
    (tree,) = result(rooms, "ul.dump")["Domains"]
    assert list(tree) == ["Domain"]
    domain = tree["Domain"]
    assert (domain["Domain"], domain["Size"]) == ("location", 1024)
    assert domain["Stats"] == {"Records": 2, "Max-Slots": 1}
    infos = [one["Info"] for one in domain["AoRs"]]
    assert sorted(one["AoR"] for one in infos) == ["alice", "bob"]
    assert len({one["HashID"] for one in infos}) == 2
    for one in infos:
        assert one["Contacts"] == result(rooms, "ul.lookup", one["AoR"])["Contacts"]
    assert fault(rooms, "ul.dump", "everything") == -32602


def test_a_brief_dump_has_addresses_alone_and_an_empty_one_nobody() -> None:
    (tree,) = result(RoomsTwin([binding()]), "ul.dump", "brief")["Domains"]
    (one,) = tree["Domain"]["AoRs"]
    assert one["Info"]["Contacts"] == [{"Contact": {"Address": "sip:alice@192.168.1.10:5060"}}]
    (tree,) = result(RoomsTwin(), "ul.dump")["Domains"]
    assert tree["Domain"]["AoRs"] == []
    assert tree["Domain"]["Stats"] == {"Records": 0, "Max-Slots": 0}


def test_one_contact_or_all_are_removed() -> None:
    home, office = binding(host="192.168.1.10"), binding(host="10.0.0.5")
    rooms = RoomsTwin([home, office, binding("bob")])
    result(rooms, "ul.rm_contact", "location", "alice", "sip:alice@10.0.0.5:5060")
    assert rooms.removed == [office]
    result(rooms, "ul.rm", "location", "alice")
    assert rooms.removed == [office, home]
    assert fault(rooms, "ul.lookup", "alice") == 500
    assert result(rooms, "ul.lookup", "bob")["AoR"] == "bob"


ALL = ("bob", "sip:bob@10.0.0.9", "0", ".", ".", "0", "0", "0", "sip:203.0.113.9:5070")


def test_add_puts_a_permanent_contact_there() -> None:
    rooms = RoomsTwin()
    assert result(rooms, "ul.add", "location", *ALL) == "Ok. Contact added: ulcx-new"
    (one,) = rooms.added
    assert (one.aor, one.contact, one.expires, one.q, one.path) == ("bob", "sip:bob@10.0.0.9", inf, -1.0, "")
    assert str(one.flow) == "udp:192.0.2.1:5060<->203.0.113.9:5070"
    (shown,) = contacts(rooms, "bob")
    assert shown["Expires"] == "permanent"
    assert (shown["Received"], shown["Methods"]) == ("sip:203.0.113.9:5070", 0xFFFFFFFF)


def test_add_takes_everything_kamailio_takes() -> None:
    rooms = RoomsTwin()
    path = "<sip:198.51.100.2:5080;lr>,<sip:p2;lr>"
    words = ("sip:Bob@edge", "sip:bob@10.0.0.9;transport=tcp", "60", "0.5", path, "3", "66", "5")
    result(rooms, "ul.add", *words, ".", "tcp:192.0.2.1:5060")
    (one,) = rooms.added
    assert (one.aor, one.expires, one.q, one.flags, one.cflags) == ("bob", NOW + 60, 0.5, 3, 2)
    assert (one.nated, one.methods, one.path) == (True, ("INVITE", "ACK"), path)
    assert str(one.flow) == "tcp:192.0.2.1:0<->198.51.100.2:5080", "by the first hop of its path"
    (shown,) = contacts(rooms, "bob")
    assert (shown["CFlags"], shown["Methods"], shown["Q"]) == (66, 5, 0.5)


def test_add_again_takes_the_place_of_the_contact() -> None:
    rooms = RoomsTwin([binding()])
    words = ("alice", "sip:alice@192.168.1.10:5060", "60", *["."] * 5)
    result(rooms, "ul.add", *words)
    (one,) = contacts(rooms, "alice")
    assert (one["Expires"], one["User-Agent"], one["Ruid"]) == (60, "ul.add", "uloc-1-alice-192.168.1.10")


@pytest.mark.parametrize(
    ("place", "word"),
    [
        (0, "@edge"),
        (1, "tel:100"),
        (1, "bob"),
        (2, "soon"),
        (2, "-1"),
        (3, "2"),
        (3, "half"),
        (4, "<sip:p"),
        (5, "x"),
        (7, "INVITE"),
        (8, "sip:phone.example.org"),
        (8, "no uri"),
        (9, "udp:192.0.2.7:5060"),
    ],
)
def test_add_says_what_is_wrong(place: int, word: str) -> None:
    rooms, words = RoomsTwin(), [*ALL, "."]
    words[place] = word
    assert fault(rooms, "ul.add", *words) == -32602
    assert rooms.added == []


@pytest.mark.parametrize("words", [(), ("bob",), ALL[:7], (*ALL, ".", "x")])
def test_add_wants_all_of_its_words(words: tuple[str, ...]) -> None:
    assert fault(RoomsTwin(), "ul.add", *words) in (-32602, 500)


def test_a_connection_has_its_number() -> None:
    rooms = RoomsTwin([binding(flow=flow()._replace(transport="tcp"), nated=False)])
    (shown,) = contacts(rooms, "alice")
    assert (shown["Tcpconn-Id"], shown["Keepalive"], shown["Server-Id"]) == (7, 0, 0)


def test_with_use_domain_the_domain_counts_and_must_be_there() -> None:
    rooms = RoomsTwin()
    rooms.usrloc = Usrloc(UsrlocSettings(use_domain=True))
    rooms.usrloc.put(binding("alice@one.example"))
    assert result(rooms, "ul.lookup", "sip:Alice@one.example")["AoR"] == "alice@one.example"
    assert fault(rooms, "ul.lookup", "alice@two.example") == 500
    assert ask(rooms, "ul.rm", "alice")["error"]["message"].startswith("domain missing in AoR")


def test_the_store_is_counted_and_flushed() -> None:
    rooms = RoomsTwin()
    assert result(rooms, "ul.db_users", "location") == 2
    assert result(rooms, "ul.db_contacts") == 3
    assert result(rooms, "ul.db_expired_contacts", "location") == 1
    assert fault(rooms, "ul.db_users", "aliases") == 500
    assert fault(rooms, "ul.db_users", "location", "x") == -32602
    assert result(rooms, "ul.flush") == "Ok. Changes to be written now: 3"
    assert fault(rooms, "ul.flush", "now") == -32602
    rooms.counted = ()
    assert "there is no store" in ask(rooms, "ul.db_users")["error"]["message"]
    rooms.counted = None
    assert ask(rooms, "ul.db_users")["error"] == {"code": 500, "message": "location.db: disk full"}


def test_a_long_dump_lets_others_have_their_turn() -> None:
    rooms = RoomsTwin([binding(f"u{number}") for number in range(1200)])
    request = b'{"jsonrpc":"2.0","method":"ul.dump","params":[],"id":1}'
    pieces = list(Rpc(methods_for(rooms)).pieces(request))
    assert pieces.count(b"") == 2


def test_text_from_the_wire_that_is_no_utf8_is_shown_and_found_again() -> None:
    odd = b"sip:a\xe9@h".decode("utf-8", "surrogateescape")
    rooms = RoomsTwin([binding(contact=odd, user_agent="\x1b[2J\udcff")])
    shown = result(rooms, "ul.lookup", "alice")["Contacts"][0]["Contact"]
    assert (shown["Address"], shown["User-Agent"]) == (odd, "\x1b[2J\udcff")
    result(rooms, "ul.rm_contact", "alice", shown["Address"])
    assert [one.contact for one in rooms.removed] == [odd]

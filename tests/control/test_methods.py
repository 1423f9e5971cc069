"""What the methods answer, in Kamailio's words."""

import json
from typing import Any

from rooms_twin import NOW, SESSION, WALL_OFFSET, RoomsTwin, binding, dialog

from edgesip.control.methods import methods_for
from edgesip.control.rpc import Rpc
from edgesip.signal.dialog.state import DialogState


def ask(rooms: RoomsTwin, method: str, *params: Any) -> Any:
    request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1}
    answer = Rpc(methods_for(rooms)).handle(json.dumps(request).encode())
    assert answer is not None
    return json.loads(answer)


def result(rooms: RoomsTwin, method: str, *params: Any) -> Any:
    answer = ask(rooms, method, *params)
    assert "error" not in answer, answer
    return answer["result"]


def fault(rooms: RoomsTwin, method: str, *params: Any) -> int:
    code = ask(rooms, method, *params)["error"]["code"]
    assert isinstance(code, int)
    return code


def test_a_dialog_is_listed_with_kamailios_fields() -> None:
    wall = int(NOW + WALL_OFFSET)
    assert result(RoomsTwin(dialogs=[dialog()]), "dlg.list") == [
        {
            "h_entry": 12,
            "h_id": 34,
            "call-id": "c1@phone",
            "from_uri": "sip:alice@edge",
            "to_uri": "sip:bob@edge",
            "state": 4,
            "start_ts": wall - 10,
            "init_ts": wall - 12,
            "end_ts": 0,
            "duration": 10,
            "timeout": wall + 43190,
            "lifetime": 43200,
            "ended_by": "",
            "variables": {},
            "caller": {
                "tag": "a",
                "contact": "sip:alice@192.168.1.10",
                "cseq": 7,
                "route_set": "<sip:p1;lr>",
                "socket": "udp:192.0.2.1:5060",
            },
            "callee": {
                "tag": "b",
                "contact": "sip:bob@192.168.1.10",
                "cseq": 0,
                "route_set": "",
                "socket": "udp:192.0.2.1:5060",
            },
        }
    ]


def test_an_ended_dialog_is_listed_with_its_length() -> None:
    ended = result(RoomsTwin(dialogs=[dialog(DialogState.DELETED)]), "dlg.list")[0]
    assert (ended["state"], ended["duration"]) == (5, 6)


def test_briefing_shows_what_its_letters_ask_for() -> None:
    rooms = RoomsTwin(dialogs=[dialog()])
    usual = result(rooms, "dlg.briefing")[0]
    assert usual == {
        "h_entry": 12,
        "h_id": 34,
        "from_uri": "sip:alice@edge",
        "to_uri": "sip:bob@edge",
        "call-id": "c1@phone",
        "from_tag": "a",
        "to_tag": "b",
    }
    assert set(result(rooms, "dlg.briefing", "sc")[0]) == {"h_entry", "h_id", "state", "call-id"}


def test_living_dialogs_are_counted() -> None:
    states = [DialogState.EARLY, DialogState.CONFIRMED, DialogState.CONFIRMED, DialogState.DELETED]
    counted = result(RoomsTwin(dialogs=map(dialog, states)), "dlg.stats_active")
    assert counted == {"starting": 0, "connecting": 1, "answering": 0, "ongoing": 2, "all": 3}


def test_media_is_shown_as_the_relay_tells_it() -> None:
    assert result(RoomsTwin(), "rtp.list") == [SESSION]
    assert result(RoomsTwin(), "rtp.ports") == {"total": 100, "leased": 4, "resting": 2, "free": 94}


def test_statistics_have_kamailios_names() -> None:
    rooms = RoomsTwin([binding()])
    everything = result(rooms, "stats.get_statistics", "all")
    assert "tmx:inuse_transactions = 5" in everything
    assert "usrloc:location-contacts = 1" in everything
    assert everything == sorted(everything) == result(rooms, "stats.get_statistics")
    assert result(rooms, "stats.get_statistics", "core:") == ["core:rcv_requests = 9"]
    assert result(rooms, "stats.get_statistics", "tmx:inuse_transactions") == ["tmx:inuse_transactions = 5"]
    assert result(rooms, "stats.get_statistics", "rcv_requests", "registered_users") == [
        "core:rcv_requests = 9",
        "usrloc:registered_users = 1",
    ]
    assert result(rooms, "stats.fetch", "core:") == {"core.rcv_requests": "9"}
    assert result(rooms, "stats.fetchn", "core:") == {"core.rcv_requests": 9}
    assert fault(rooms, "stats.get_statistics", "nothing") == 404
    assert fault(rooms, "stats.get_statistics", "cor:") == 404


def test_transactions_have_their_own_summary() -> None:
    assert result(RoomsTwin(), "tm.stats") == {"current": 5, "waiting": 3, "2xx": 40}


def test_uptime_and_version() -> None:
    up = result(RoomsTwin(), "core.uptime")
    assert up["uptime"] == 90
    assert set(up) == {"now", "up_since", "uptime"}
    assert result(RoomsTwin(), "core.version").startswith("edgesip ")


def test_every_method_has_help() -> None:
    rooms = RoomsTwin()
    for name in result(rooms, "system.listMethods"):
        assert len(result(rooms, "system.methodHelp", name)) > 10, name

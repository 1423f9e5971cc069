"""Files that allow and deny, line by line, as Kamailio's permissions reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesip import profile
from edgesip.app import provision
from edgesip.control.guard import Clocks, Files, methods_for
from edgesip.control.rpc import RpcFault
from edgesip.guarding import pairs_of
from edgesip.places import ConfigError
from edgesip.script import Call
from edgesip.signal.guard.allowing import Pair, rules_of
from edgesip.testing import Stage, rooms_for

ALLOW = """
# the boss calls everywhere
"^sip:boss@" : ALL
ALL EXCEPT "^sip:guest", "^sip:lobby" : \\
    "^sip:0[1-9]"    # inland
"""
DENY = 'ALL : "^sip:00", "^sip:0" EXCEPT "^sip:0800"\n'
CALLS = Pair(rules_of(ALLOW), rules_of(DENY))


@pytest.mark.parametrize(
    ("who", "whom", "may"),
    [
        ("sip:boss@here", "sip:0049@x", True),
        ("sip:BOSS@here", "sip:0049@x", True),
        ("sip:alice@here", "sip:0049@x", False),
        ("sip:alice@here", "sip:0301@x", True),
        ("sip:guest7@here", "sip:0301@x", False),
        ("sip:lobby@here", "sip:0301@x", False),
        ("sip:guest7@here", "sip:0800123@x", True),
        ("sip:guest7@here", "sip:bob@x", True),
    ],
)
def test_what_is_allowed_may_be_what_is_denied_may_not_and_the_rest_may(
    who: str, whom: str, may: bool
) -> None:
    assert CALLS.allows(who, whom) is may


def test_files_that_are_not_there_allow_everything() -> None:
    assert Pair().allows("sip:a@b", "sip:c@d")
    assert rules_of("") == rules_of("# nothing\n\n") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ALL : ALL\nsip:a : ALL", "line 2: must be"),
        ('"a" "b" : ALL', "line 1: must be"),
        ("ALL", "line 1: must be"),
        ('"(" : ALL', "line 1: .* is no pattern"),
        ("ALL : \\", "there is no more"),
    ],
)
def test_a_line_that_is_none_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rules_of(text)


def test_a_hash_inside_quotes_is_part_of_a_pattern() -> None:
    (rule,) = rules_of('"#31#" : ALL # a remark')
    assert rule.fits("sip:#31#0301@x", "sip:a@b")
    assert not rule.fits("sip:31@x", "sip:a@b")


def call(method: str, uri: str, **more: str) -> Call:
    rooms = rooms_for(["alice"])
    rooms.guard.permissions.pairs = {"permissions": CALLS, "phones": Pair((), rules_of('ALL : "@10[.]"'))}
    return Stage(rooms).call(method, uri, **more)  # type: ignore[arg-type]


def test_scripts_ask_of_calls_registrations_and_any_uri() -> None:
    one = call("INVITE", "sip:0049@203.0.113.1")
    assert not one.allow_routing()
    assert one.allow_uri("permissions", "sip:0301@x")
    assert one.allow_uri("phones", "sip:a@192.0.2.1")
    assert call("REGISTER", "sip:203.0.113.1", contact="<sip:a@192.0.2.9>").allow_register("phones")
    assert not call("REGISTER", "sip:203.0.113.1", contact="<sip:a@10.0.0.9>").allow_register("phones")
    assert call("REGISTER", "sip:203.0.113.1", contact="*").allow_register("phones")
    with pytest.raises(ValueError, match="rule_files"):
        one.allow_routing("nothing")


def test_operators_ask_too() -> None:
    rooms = rooms_for(["alice"])
    rooms.guard.permissions.pairs = {"calls": CALLS}
    files = Files(lambda: None, lambda: None, lambda: 5.0)
    clocks = Clocks(lambda: 0.0, lambda: 0.0)
    methods = {one.name: one for one in methods_for(rooms.guard, files, clocks, lambda *line: None)}
    test, allow = methods["permissions.testUri"].call, methods["permissions.allowUri"].call
    assert test(["calls", "sip:boss@here", "sip:0049@x"]) == "Allowed"
    assert test(["calls", "sip:alice@here", "sip:0049@x"]) == "Denied"
    assert allow(["calls", "sip:0049@x"]) == "Denied"
    with pytest.raises(RpcFault, match="rule_files"):
        allow(["nothing", "sip:a@b"])


def test_the_files_lie_beside_the_profile_and_bad_ones_end_the_start(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(profile.find("nat-sbc").read_text())
    (tmp_path / "nat_sbc.py").write_text((profile.find("nat-sbc").parent / "nat_sbc.py").read_text())
    (tmp_path / "calls.deny").write_text(DENY)
    wanted = ("permissions.rule_files=calls,other",)
    load = profile.load(str(mine), default_state_dir=tmp_path, sets=wanted)
    found = pairs_of(load)
    assert not found["calls"].allows("sip:a@b", "sip:0049@x")
    assert found["other"] == Pair()
    (tmp_path / "other.allow").write_text("anybody : anywhere\n")
    with pytest.raises(ConfigError, match=r"other\.allow: cannot be used: line 1"):
        provision(load)
    with pytest.raises(ConfigError, match="letters, digits"):
        profile.load(str(mine), default_state_dir=tmp_path, sets=("permissions.rule_files=../etc/x",))

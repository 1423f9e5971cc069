"""Which stored contact a REGISTER speaks of (location.md §1.4), and whether it may change it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_usrloc import FLOW, binding

from edgesip.address import Addr
from edgesip.signal.location.matching import Claim, Standing, match, standing
from edgesip.signal.location.usrloc import Binding

HOME = FLOW.remote.host
AWAY = "192.0.2.99"


def row(ruid: str = "a", **more: object) -> Binding:
    return binding(ruid, **({"instance": "", "reg_id": 0, "contact": "sip:alice@10.0.0.2"} | more))  # type: ignore[arg-type]


def claim(**more: object) -> Claim:
    values: dict[str, object] = {
        "contact": "sip:alice@10.0.0.2",
        "instance": "",
        "reg_id": 0,
        "call_id": "c1",
        "cseq": 2,
        "path": "",
        "host": HOME,
        "nated": False,
    }
    return Claim(**(values | more))  # type: ignore[arg-type]


def found(one: Claim, mode: int, *rows: Binding) -> str:
    match_ = match(one, rows, mode)
    return match_.ruid if match_ is not None else ""


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_an_instance_with_its_reg_id_is_found_whatever_else_changed(mode: int) -> None:
    rows = (row("a", instance="urn:1", reg_id=1), row("b", instance="urn:1", reg_id=2))
    moved = claim(instance="urn:1", reg_id=2, contact="sip:alice@172.16.0.9", call_id="c2", host=AWAY)
    assert found(moved, mode, *rows) == "b"
    assert found(claim(instance="urn:2", reg_id=2), mode, *rows) == ""


@pytest.mark.parametrize(
    ("mode", "changed", "expected"),
    [
        (0, {}, "a"),
        (0, {"call_id": "c2"}, "a"),
        (0, {"path": "<sip:p>"}, "a"),
        (0, {"contact": "sip:alice@10.0.0.3"}, ""),
        (1, {}, "a"),
        (1, {"call_id": "c2"}, ""),
        (1, {"contact": "sip:alice@10.0.0.3"}, ""),
        (2, {"path": "<sip:p;lr>", "call_id": "c2"}, "a"),
        (2, {"path": "<sip:q;lr>"}, ""),
        (2, {"contact": "sip:alice@10.0.0.3", "path": "<sip:p;lr>"}, ""),
        (2, {"call_id": "c2"}, "a"),
        (3, {"contact": "sip:alice@10.0.0.3"}, "a"),
        (3, {"call_id": "c2"}, ""),
    ],
)
def test_each_mode_looks_at_its_own_things(mode: int, changed: dict[str, object], expected: str) -> None:
    assert found(claim(**changed), mode, row(path="<sip:p;lr>")) == expected


@pytest.mark.parametrize("mode", [0, 2])
def test_two_houses_may_have_the_same_private_contact(mode: int) -> None:
    here = row(nated=True)
    assert found(claim(nated=True, call_id="c2"), mode, here) == "a"
    assert found(claim(nated=True, host=AWAY), mode, here) == "a"
    assert found(claim(nated=True, host=AWAY, call_id="c2"), mode, here) == ""
    assert found(claim(nated=False, host=AWAY, call_id="c2"), mode, here) == "a"
    there = replace(here, ruid="b", flow=FLOW._replace(remote=Addr(AWAY, 5060)))
    assert found(claim(nated=True, host=AWAY, call_id="c2"), mode, here, there) == "b"


@pytest.mark.parametrize(
    ("changed", "later", "expected"),
    [
        ({"cseq": 6}, 1.0, Standing.NEWER),
        ({"cseq": 5}, 19.9, Standing.REPEATED),
        ({"cseq": 5}, 20.0, Standing.STALE),
        ({"cseq": 4}, 1.0, Standing.STALE),
        ({"cseq": 4, "call_id": "c2"}, 1.0, Standing.NEWER),
        ({"cseq": 5, "call_id": "c2"}, 1.0, Standing.NEWER),
        ({"cseq": 4, "instance": "urn:1"}, 1.0, Standing.NEWER),
        ({"cseq": 5, "instance": "urn:1"}, 1.0, Standing.REPEATED),
    ],
)
def test_only_a_cseq_of_the_same_call_id_is_compared(
    changed: dict[str, object], later: float, expected: Standing
) -> None:
    here = row(cseq=5, last_modified=100.0)
    assert standing(claim(**changed), here, 100.0 + later, 20.0) is expected

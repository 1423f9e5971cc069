"""JSON-RPC 2.0, by its rules and those of Kamailio."""

import json
from typing import Any

import pytest

from edgesip.control.rpc import PIECE, Method, Rpc, RpcFault, text


def _fail(params: list[Any]) -> Any:
    raise RpcFault(404, "not here")


def _break(params: list[Any]) -> Any:
    raise KeyError("secret detail")


RPC = Rpc(
    [
        Method("t.echo", lambda params: params, "Say it again."),
        Method("t.text", lambda params: text(params, 0, "WHAT"), ""),
        Method("t.count", lambda params: (number for number in range(params[0])), ""),
        Method("t.fail", _fail, ""),
        Method("t.break", _break, ""),
    ]
)


def ask(request: Any) -> Any:
    answer = RPC.handle(request if isinstance(request, bytes) else json.dumps(request).encode())
    return None if answer is None else json.loads(answer)


def call(method: str, *params: Any) -> Any:
    return ask({"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1})


def test_a_call_is_answered_with_its_id() -> None:
    request = {"jsonrpc": "2.0", "method": "t.echo", "params": [1, "two"], "id": "x"}
    assert ask(request) == {"jsonrpc": "2.0", "id": "x", "result": [1, "two"]}


def test_params_may_be_left_out_or_named_and_then_their_order_counts() -> None:
    assert ask({"jsonrpc": "2.0", "method": "t.echo", "id": 1})["result"] == []
    named = {"jsonrpc": "2.0", "method": "t.echo", "params": {"z": 1, "a": 2}, "id": 1}
    assert ask(named)["result"] == [1, 2]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"{", -32700),
        (b"\xff\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"1", -32600),
        (b"[]", -32600),
        ({"method": "t.echo", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "method": 5, "id": 1}, -32600),
        ({"jsonrpc": "2.0", "method": "t.echo", "params": 5, "id": 1}, -32600),
        ({"jsonrpc": "2.0", "method": "t.nothing", "id": 1}, -32601),
        ({"jsonrpc": "2.0", "method": "t.text", "id": 1}, -32602),
        ({"jsonrpc": "2.0", "method": "t.text", "params": [None], "id": 1}, -32602),
        (b'{"jsonrpc": "2.0", "method": "t.text", "params": ["\\ud800"], "id": 1}', -32602),
        ({"jsonrpc": "2.0", "method": "t.fail", "id": 1}, 404),
    ],
)
def test_faults_have_their_codes(request_: Any, code: int) -> None:
    assert ask(request_)["error"]["code"] == code


def test_an_error_of_ours_tells_nothing_of_its_inside() -> None:
    error = call("t.break")["error"]
    assert error["code"] == -32603
    assert "secret" not in error["message"]


def test_a_number_where_a_text_is_wanted_is_its_digits() -> None:
    assert call("t.text", 100)["result"] == "100"


def test_notifications_are_not_answered() -> None:
    assert ask({"jsonrpc": "2.0", "method": "t.echo"}) is None
    assert ask({"jsonrpc": "2.0", "method": "t.fail"}) is None
    assert ask([{"jsonrpc": "2.0", "method": "t.echo"}]) is None


def test_a_batch_is_answered_as_one() -> None:
    answers = ask(
        [
            {"jsonrpc": "2.0", "method": "t.echo", "params": [1], "id": 1},
            {"jsonrpc": "2.0", "method": "t.echo", "params": [2]},
            7,
            {"jsonrpc": "2.0", "method": "t.count", "params": [2], "id": 3},
        ]
    )
    assert [(one["id"], one.get("result")) for one in answers] == [(1, [1]), (None, None), (3, [0, 1])]


def test_a_long_result_comes_in_pieces_that_make_one_document() -> None:
    request = json.dumps({"jsonrpc": "2.0", "method": "t.count", "params": [50_000], "id": 1}).encode()
    pieces = [piece for piece in RPC.pieces(request) if isinstance(piece, bytes)]
    assert len(pieces) > 3
    assert all(len(piece) < 2 * PIECE for piece in pieces)
    assert json.loads(b"".join(pieces))["result"] == list(range(50_000))
    assert call("t.count", 0)["result"] == []


def test_text_that_is_no_utf8_goes_both_ways() -> None:
    odd = b"caf\xe9\x1b".decode("utf-8", "surrogateescape")
    assert call("t.echo", odd)["result"] == [odd]
    assert call("t.echo", 2**70)["result"] == [2**70]


def test_methods_are_listed_and_explained() -> None:
    assert call("system.listMethods")["result"] == sorted(
        ["system.listMethods", "system.methodHelp", "t.break", "t.count", "t.echo", "t.fail", "t.text"]
    )
    assert call("system.methodHelp", "t.echo")["result"] == "Say it again."
    assert call("system.methodHelp", "nope")["error"]["code"] == 404


def test_half_a_request_is_an_error_wherever_it_is_cut() -> None:
    request = b'{"jsonrpc":"2.0","method":"t.echo","params":[[[]],{}],"id":[1]}'
    for cut in range(len(request)):
        assert ask(request[:cut])["error"]["code"] == -32700
    assert ask(request) == {"jsonrpc": "2.0", "id": None, "result": [[[]], {}]}

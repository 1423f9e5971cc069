"""tm's and sl's methods: transactions seen, ended, answered, and requests sent by order.

Reads the texts that operators type, and asks the signalling service. Knows no socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgesip.control.rpc import INVALID_PARAMS, Method, RpcFault, text
from edgesip.signal.decision import Reply
from edgesip.signal.net.service import SignalService
from edgesip.signal.proxy.fork import Fork
from edgesip.signal.wire.grammar import ParseError, is_token
from edgesip.signal.wire.message import Response
from edgesip.signal.wire.uri import parse_uri

Field = tuple[str, str]


def methods_for(service: SignalService, clock: Callable[[], float]) -> list[Method]:
    """The methods over one service; `clock` gives monotonic seconds."""
    asked = _Questions(service, clock)
    return [
        Method("sl.stats", asked.sl_stats, "Answers sent without a transaction, by status."),
        Method("tm.list", asked.listed, "Requests that are being answered, or were a moment ago."),
        Method("tm.cancel", asked.cancel, "tm.cancel CALL-ID CSEQ: give up a call that is not answered yet."),
        Method(
            "tm.reply_callid",
            asked.reply,
            "tm.reply_callid CODE REASON CALL-ID CSEQ TOTAG HEADERS [BODY]: answer a pending "
            "request, 300-699; '.' for no TOTAG or HEADERS.",
        ),
        Method(
            "tm.t_uac_start",
            asked.start,
            "tm.t_uac_start METHOD RURI NEXTHOP SOCKET HEADERS [BODY]: send a request; "
            "'.' for NEXTHOP and SOCKET.",
        ),
        Method(
            "tm.t_uac_wait",
            asked.wait,
            "tm.t_uac_wait METHOD RURI NEXTHOP SOCKET HEADERS [BODY]: send a request and tell its answer.",
        ),
    ]


class _Questions:
    """One method each; parameters as a list, the result as JSON values."""

    def __init__(self, service: SignalService, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._under_way: set[asyncio.Task[Response | None]] = set()

    def sl_stats(self, params: list[Any]) -> Mapping[str, int]:
        counters = self._service.core.counters
        found = {name.removeprefix("sl:"): value for name, value in counters.items() if name[:3] == "sl:"}
        return {name.removesuffix("_replies"): value for name, value in found.items()}

    def listed(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        now = self._clock()
        for tx in list(self._service.core.transactions.servers()):
            headers, fork = tx.request.headers, tx.owner
            yield {
                "method": tx.request.method,
                "from": headers.get("From") or "",
                "to": headers.get("To") or "",
                "callid": headers.call_id,
                "cseq": headers.cseq.number,
                "uas_request": "yes",
                "outgoings": len(fork.branches) if isinstance(fork, Fork) else 0,
                "status": tx.status,
                "state": tx.state.name.lower(),
                "lifetime": round(now - tx.began, 1),
            }

    def cancel(self, params: list[Any]) -> str:
        call_id, cseq = text(params, 0, "CALL-ID"), _number(params, 1, "CSEQ")
        if not self._service.core.orders.cancel(call_id, cseq, self._clock()):
            raise RpcFault(404, "No such pending request")
        self._service.step(self._service.core.news())
        return "Ok. Cancelled"

    def reply(self, params: list[Any]) -> str:
        code, reason = _number(params, 0, "CODE"), text(params, 1, "REASON")
        if not 300 <= code <= 699:
            raise RpcFault(INVALID_PARAMS, "Invalid params: CODE must be 300 to 699")
        call_id, cseq = text(params, 2, "CALL-ID"), _number(params, 3, "CSEQ")
        tag = _or_none(text(params, 4, "TOTAG"))
        if (tag and not is_token(tag)) or not reason.isprintable():
            raise RpcFault(INVALID_PARAMS, "Invalid params: TOTAG must be a token, REASON one line")
        headers = _fields(text(params, 5, "HEADERS"))
        order = Reply(code, reason, headers)
        if not self._service.core.orders.reply(call_id, cseq, order, tag, _body(params, 6), self._clock()):
            raise RpcFault(404, "No such pending request")
        self._service.step(self._service.core.news())
        return "Ok. Answered"

    def start(self, params: list[Any]) -> str:
        self._begun(params)
        return "Ok. Sent"

    def wait(self, params: list[Any]) -> asyncio.Future[dict[str, Any]]:
        return asyncio.ensure_future(_told(self._begun(params)))

    def _begun(self, params: list[Any]) -> asyncio.Task[Response | None]:
        method, uri = text(params, 0, "METHOD"), text(params, 1, "RURI")
        next_hop = _or_none(text(params, 2, "NEXTHOP"))
        if _or_none(text(params, 3, "SOCKET")):
            raise RpcFault(INVALID_PARAMS, "Invalid params: SOCKET must be '.': the next hop decides it")
        headers = _fields(text(params, 4, "HEADERS"))
        if not is_token(method) or method in ("ACK", "CANCEL"):
            raise RpcFault(INVALID_PARAMS, f"Invalid params: METHOD {method!r} cannot be sent")
        for one in filter(None, (uri, next_hop)):
            try:
                parse_uri(one)
            except ParseError as error:
                raise RpcFault(INVALID_PARAMS, f"Invalid params: {one}: {error.reason}") from None
        work = self._service.request(method, uri, headers, _body(params, 5), next_hop)
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task


async def _told(task: asyncio.Task[Response | None]) -> dict[str, Any]:
    response = await task
    if response is None:
        raise RpcFault(478, "Unresolvable destination")
    return {
        "code": response.status,
        "reason": response.reason,
        "headers": [f"{name}: {value}" for name, value in response.headers.fields],
        "body": response.body.decode("utf-8", "replace"),
    }


def _or_none(value: str) -> str:
    return "" if value == "." else value


def _number(params: list[Any], index: int, name: str) -> int:
    value = text(params, index, name)
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} must be a number")
    return int(value)


def _body(params: list[Any], index: int) -> bytes:
    return text(params, index, "BODY").encode("utf-8", "surrogateescape") if len(params) > index else b""


def _fields(lines: str) -> tuple[Field, ...]:
    r"""Header lines, apart by CRLF or by the four characters `\r\n`; `.` for none."""
    found = []
    for line in _or_none(lines).replace("\\r\\n", "\r\n").split("\r\n"):
        name, colon, value = line.partition(":")
        if not line:
            continue
        if not colon or not is_token(name.strip()) or not value.isprintable():
            raise RpcFault(INVALID_PARAMS, f"Invalid params: {line!r} is no header line")
        found.append((name.strip(), value.strip()))
    return tuple(found)

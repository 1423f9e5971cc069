"""JSON-RPC 2.0: a table of methods, octets in, octets out. Knows neither sockets nor what the methods do.

A method gets its parameters as a list and returns the result, or raises `RpcFault`. One that returns an
iterator has its items encoded one by one, so that a long list never stops the loop for long; `Encoded` is the
same for what is no list. One that returns a future is waited for by whoever takes the pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import structlog

from edgesip.store import codec

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

PIECE = 64 * 1024
"""Octets of a streamed result that are handed over at a time, at least."""

Piece = bytes | asyncio.Future[Any]
"""Octets to write, or a future to wait for before the next piece is asked for."""

PAUSE = None
"""An item of an iterator that is no item: it has looked long enough, others have their turn."""

_log = structlog.get_logger("edgesip.control")


class Encoded(NamedTuple):
    """A result in pieces that are JSON when they are joined; `PAUSE` may stand between two."""

    pieces: Iterator[bytes | None]


class RpcFault(Exception):
    """The answer is an error: `code` as in JSON-RPC, or like a SIP status (404) where a command says so."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Method(NamedTuple):
    """One method: its name, what it does with a list of parameters, one sentence of help."""

    name: str
    call: Callable[[list[Any]], Any]
    help: str


class Rpc:
    """The methods by name, and what becomes of a request."""

    def __init__(self, methods: list[Method]) -> None:
        own = [
            Method("system.listMethods", self._list_methods, "Names of all methods."),
            Method("system.methodHelp", self._method_help, "system.methodHelp NAME: what a method does."),
        ]
        self._methods = {method.name: method for method in sorted([*methods, *own])}

    def handle(self, data: bytes) -> bytes | None:
        """The whole answer to one request or batch; None when none is due (notifications)."""
        return b"".join(piece for piece in self.pieces(data) if isinstance(piece, bytes)) or None

    def pieces(self, data: bytes) -> Iterator[Piece]:
        """The same in pieces, each made when it is asked for; nothing at all when no answer is due."""
        try:
            request = codec.loads(data)
        except ValueError:
            yield _error(PARSE_ERROR, "Parse error", None)
            return
        if not isinstance(request, list):
            yield from self._answer(request)
            return
        if not request:
            yield _error(INVALID_REQUEST, "Invalid request: an empty batch", None)
            return
        opened = False
        for one in request:
            first = True
            for piece in self._answer(one):
                if not isinstance(piece, bytes):
                    yield piece
                    continue
                if first:
                    yield b"," if opened else b"["
                    first, opened = False, True
                yield piece
        if opened:
            yield b"]"

    def _answer(self, request: Any) -> Iterator[Piece]:
        ident = request.get("id") if isinstance(request, dict) else None
        if isinstance(ident, bool) or not isinstance(ident, str | int | float | None):
            ident = None
        try:
            result = self._result(request)
            if isinstance(result, asyncio.Future):
                yield result
                result = _outcome(result)
        except RpcFault as fault:
            if _is_notification(request):
                return
            yield _error(fault.code, fault.message, ident)
            return
        if _is_notification(request):
            return
        head = b'{"jsonrpc":"2.0","id":' + codec.dumps(ident) + b',"result":'
        if isinstance(result, Encoded):
            yield from _gathered(head, result.pieces)
        elif isinstance(result, Iterator):
            yield from _gathered(head, _listed(result))
        else:
            yield head + codec.dumps(result) + b"}"

    def _result(self, request: Any) -> Any:
        if not isinstance(request, dict):
            raise RpcFault(INVALID_REQUEST, "Invalid request: not an object")
        name, params = request.get("method"), request.get("params", [])
        if request.get("jsonrpc") != "2.0" or not isinstance(name, str):
            raise RpcFault(INVALID_REQUEST, 'Invalid request: needs "jsonrpc":"2.0" and a method')
        if isinstance(params, dict):
            params = list(params.values())  # as in Kamailio: names are ignored, the order counts
        if not isinstance(params, list):
            raise RpcFault(INVALID_REQUEST, "Invalid request: params must be an array or an object")
        method = self._methods.get(name)
        if method is None:
            raise RpcFault(METHOD_NOT_FOUND, f"Method not found: {name}")
        try:
            return method.call(params)
        except RpcFault:
            raise
        except Exception:
            _log.exception("rpc method failed", method=name)
            raise RpcFault(INTERNAL_ERROR, "Internal error; the log has it") from None

    def _list_methods(self, params: list[Any]) -> list[str]:
        return list(self._methods)

    def _method_help(self, params: list[Any]) -> str:
        name = text(params, 0, "NAME")
        if name not in self._methods:
            raise RpcFault(404, f"method not found: {name}")
        return self._methods[name].help


def text(params: list[Any], index: int, name: str) -> str:
    """A parameter that must be there; a number is taken as its digits (`+4930` typed without `s:`)."""
    if index >= len(params):
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} is missing")
    value = params[index]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} must be a text")
    try:
        str(value).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character: no octets that a message could have held
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} is not Unicode text") from None
    return str(value)


def _outcome(future: asyncio.Future[Any]) -> Any:
    """What became of a future that was waited for."""
    try:
        return future.result()
    except RpcFault:
        raise
    except (Exception, asyncio.CancelledError):
        _log.exception("rpc method failed")
        raise RpcFault(INTERNAL_ERROR, "Internal error; the log has it") from None


def _is_notification(request: Any) -> bool:
    return isinstance(request, dict) and "id" not in request and isinstance(request.get("method"), str)


def _error(code: int, message: str, ident: Any) -> bytes:
    return codec.dumps({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": ident})


def _listed(items: Iterator[Any]) -> Iterator[bytes | None]:
    """The items as a JSON list, each made when it is asked for."""
    yield b"["
    comma = b""
    for item in items:
        if item is PAUSE:
            yield PAUSE
            continue
        yield comma + codec.dumps(item)
        comma = b","
    yield b"]"


def _gathered(head: bytes, pieces: Iterator[bytes | None]) -> Iterator[bytes]:
    """The same octets in pieces of a sensible size, empty ones where others shall have their turn."""
    parts, size = [head], 0
    for data in pieces:
        if data is None:
            yield b""
            continue
        parts.append(data)
        size += len(data)
        if size >= PIECE:
            yield b"".join(parts)
            parts, size = [], 0
    parts.append(b"}")
    yield b"".join(parts)

"""What tests of the command line share: calling it as the shell does, a server that says what we like."""

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edgesip.cli.main import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Terminal:
    """`terminal("ul", "lookup", "alice")` is `edgesip ul lookup alice`, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        before, sys.argv = sys.argv, ["edgesip", *map(str, arguments)]
        self._capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            sys.argv = before
        return Outcome(code, *self._capsys.readouterr())


class Fault(NamedTuple):
    code: int
    message: str


@contextlib.contextmanager
def answering(path: Path, result: Any) -> Iterator[list[Any]]:
    """A server at `path` that gives every question this result (a `Fault`, or bytes as they are).

    Yields the list of questions asked so far, as [method, *params].
    """
    asked: list[Any] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                line = lines.readline()
                if not line:
                    continue
                request = json.loads(line)
                asked.append([request["method"], *request["params"]])
                connection.sendall(_answer(request["id"], result))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _answer(ident: Any, result: Any) -> bytes:
    if isinstance(result, bytes):
        return result
    content = {"error": result._asdict()} if isinstance(result, Fault) else {"result": result}
    return json.dumps({"jsonrpc": "2.0", "id": ident, **content}).encode() + b"\n"

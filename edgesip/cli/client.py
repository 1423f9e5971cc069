"""One question to a running server over its control socket. Standard library only: it must be quick."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgesip.cli.fail import FAILED, NOT_FOUND, UNREACHABLE, Fail

TIMEOUT = 10.0
"""Seconds of silence after which a server counts as not reachable."""


def ask(path: Path, method: str, *params: Any) -> Any:
    """The result of a method, or `Fail`: 4 without a server, 3 for what is not there, 1 for other faults."""
    request = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1})
    with _connected(path) as connection:
        connection.sendall(request.encode("ascii") + b"\n")
        data = _line(connection)
    try:
        answer = json.loads(data)
        fault = answer.get("error")
        if fault is None:
            return answer["result"]
        code, message = int(fault["code"]), str(fault["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Fail(FAILED, f"what answers at {path} is no edgesip") from None
    not_found = code in (404, -32601) or any(
        words in message.lower() for words in ("not found", "no contacts")
    )
    raise Fail(NOT_FOUND if not_found else FAILED, message)


def pid_behind(path: Path) -> int:
    """The process that opened a control socket, as the kernel knows it; `Fail` 4 when there is none."""
    with _connected(path) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    """A connection to the server; whatever goes wrong with it is `Fail` 4."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(str(path))
            yield connection
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise Fail(UNREACHABLE, f"no server answers at {path}; is it running there?") from None
        except PermissionError:
            raise Fail(UNREACHABLE, f"{path}: not permitted; ask as the server's user or as root") from None
        except TimeoutError:
            raise Fail(UNREACHABLE, f"the server at {path} says nothing for {TIMEOUT:.0f} s") from None
        except OSError as error:
            raise Fail(UNREACHABLE, f"{path}: {error.strerror}") from None


def _line(connection: socket.socket) -> bytes:
    parts = []
    while True:
        part = connection.recv(1 << 20)
        parts.append(part)
        if not part or part.endswith(b"\n"):
            break
    data = b"".join(parts)
    if not data:
        raise ConnectionRefusedError
    return data

"""The control socket: JSON-RPC on a unix stream socket, one JSON document a line. Knows no methods.

Mode 0660: who may open it may do everything. A socket left behind by a dead server is cleared away, a
living one is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path

import structlog

from edgesip.control.rpc import INVALID_REQUEST, Rpc
from edgesip.places import ConfigError
from edgesip.store import codec

MODE = 0o660
LINE_MAX = 1024 * 1024
"""Octets of one request at most."""
CONNECTIONS_MAX = 64
IDLE = 300.0
"""Seconds a connection may be silent, or take no answer, before it is closed."""

_log = structlog.get_logger("edgesip.control")


class ControlServer:
    """Answers on one socket from `start` to `close`."""

    def __init__(self, rpc: Rpc, path: Path) -> None:
        self._rpc = rpc
        self._path = path
        self._server: asyncio.Server | None = None
        self._inode: int | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the socket, or raise `ConfigError` when it cannot be or another server answers on it."""
        opened = listener(self._path)
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(self._client, sock=opened, limit=LINE_MAX)

    async def close(self) -> None:
        """Close the socket and every connection, and clear the path if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= CONNECTIONS_MAX:
            _log.warning("control connection refused", open=len(self._clients))
            writer.close()
            return
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # the other side is gone, or has been silent for too long: nobody is left to tell
        except asyncio.CancelledError:
            if self._server is not None:
                raise
        except Exception:
            _log.exception("control connection failed")
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        more = True
        while more:
            try:
                line = await asyncio.wait_for(reader.readuntil(b"\n"), IDLE)
            except asyncio.IncompleteReadError as end:  # the last line may go without its newline
                line, more = end.partial, False
            except asyncio.LimitOverrunError:
                fault = {"code": INVALID_REQUEST, "message": f"Invalid request: longer than {LINE_MAX} bytes"}
                writer.write(codec.dumps({"jsonrpc": "2.0", "error": fault, "id": None}) + b"\n")
                await asyncio.wait_for(writer.drain(), IDLE)
                return
            if not line.strip():
                continue
            answered = False
            for piece in self._rpc.pieces(line):
                if not isinstance(piece, bytes):
                    await asyncio.wait((piece,))
                    continue
                writer.write(piece)
                answered = True
                await asyncio.wait_for(writer.drain(), IDLE)
                await asyncio.sleep(0)  # packets and requests have their turn between two pieces
            if answered:
                writer.write(b"\n")


def listener(path: Path) -> socket.socket:
    """A unix stream socket bound to the path, with its mode from the first moment. Raises `ConfigError`."""
    _clear(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o777 & ~MODE)
    try:
        opened.bind(str(path))
    except OSError as error:
        opened.close()
        raise ConfigError(f"{path}: the control socket cannot be opened: {error.strerror}") from None
    finally:
        os.umask(mask)
    opened.setblocking(False)
    return opened


def _clear(path: Path) -> None:
    """Remove the socket of a server that is gone; `ConfigError` when one is there or it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: the control socket cannot be opened: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path}: is in the place of the control socket and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ConfigError(f"{path}: the control socket cannot be opened: {error.strerror}") from None
    raise ConfigError(f"{path}: another server answers here; give this one another --state-dir or --socket")

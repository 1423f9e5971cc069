"""Asking STUN servers where they see this host: a question to all of them at once, a few seconds at most.

Blocks while it waits, so a running loop does it in a thread. What the answers mean is `nat.public`'s to say.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from edgesip.address import Addr, bracketed
from edgesip.signal.nat.public import Heard, Public, Undecided, judged, way_out
from edgesip.signal.nat.stun import read_answer, request
from edgesip.signal.net.links import route

INTERNET = "198.41.0.4"
"""An address that only the default route leads to (a root name server); nothing is sent to it."""
REPEAT = (0.0, 0.5, 1.5)
"""Seconds at which the question is asked, in case it gets lost (RFC 8489 §6.2.1 begins with 500 ms)."""
PATIENCE = 3.5
_LARGEST = 1500

Server = tuple[str, int]


def look(listens: Sequence[str], servers: Sequence[Server]) -> Public:
    """The public address of a host that listens on these addresses. Raises `Undecided`.

    The servers are asked only when the local address is private. Blocks for `PATIENCE`, and while their names
    are looked up.
    """
    try:
        out = route(INTERNET)
    except OSError:
        out = ""
    local = way_out(listens, out)
    try:
        return judged(local, ())
    except Undecided:
        if not servers:
            raise
    return judged(local, ask(servers, local))


def ask(servers: Sequence[Server], local: str, patience: float = PATIENCE) -> list[Heard]:
    """What each server says of packets from `local`, an IPv4 address; in the order given."""
    with ThreadPoolExecutor(max_workers=len(servers)) as pool:
        found = list(pool.map(_resolved, servers))
    heard: dict[int, Heard] = {}
    waiting: dict[Addr, tuple[int, bytes]] = {}
    for index, (server, where) in enumerate(zip(servers, found, strict=True)):
        if isinstance(where, Addr):
            waiting[where] = (index, secrets.token_bytes(12))
        else:
            heard[index] = Heard(_told(server), "", where)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind((local, 0))
            _converse(sock, waiting, servers, heard, patience)
    except OSError as error:
        for index, _ in waiting.values():
            heard.setdefault(index, Heard(_told(servers[index]), "", error.strerror or str(error)))
    for index, server in enumerate(servers):
        heard.setdefault(index, Heard(_told(server), "", f"no answer within {patience:g} s"))
    return [heard[index] for index in range(len(servers))]


def _converse(
    sock: socket.socket,
    waiting: dict[Addr, tuple[int, bytes]],
    servers: Sequence[Server],
    heard: dict[int, Heard],
    patience: float,
) -> None:
    start = time.monotonic()
    times = [start + moment for moment in REPEAT]
    while waiting and (now := time.monotonic()) < start + patience:
        if times and now >= times[0]:
            times.pop(0)
            for where, (index, transaction) in list(waiting.items()):
                try:
                    sock.sendto(request(transaction), where)
                except OSError as error:
                    heard[index] = Heard(_told(servers[index]), "", error.strerror or str(error))
                    del waiting[where]
        until = min([start + patience, *times[:1]])
        if not select.select([sock], [], [], max(0.0, until - time.monotonic()))[0]:
            continue
        try:
            data, source = sock.recvfrom(_LARGEST)
        except OSError:  # the ICMP error of an earlier packet: the others may still answer
            continue
        asked = waiting.get(Addr(source[0], source[1]))
        answer = read_answer(data, asked[1]) if asked is not None else None
        if asked is None or answer is None:
            continue
        del waiting[Addr(source[0], source[1])]
        seen = answer.mapped.host if answer.mapped is not None else ""
        name = _told(servers[asked[0]])
        heard[asked[0]] = Heard(name, seen, "" if seen else f"{answer.error} {answer.reason}".lstrip("0 "))


def _resolved(server: Server) -> Addr | str:
    """Where a server is, or why that is not known."""
    try:
        found = socket.getaddrinfo(*server, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return f"its name cannot be resolved ({getattr(error, 'strerror', None) or error})"
    return Addr(*found[0][4][:2])


def _told(server: Server) -> str:
    return f"{bracketed(server[0])}:{server[1]}"

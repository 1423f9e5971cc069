"""Very many contacts: a store full of them, and how long a look-up takes once they are loaded.

`contacts.py DATABASE LOOKUPS TURNS` loads the store into a table inside one process, and prints JSON:
seconds, memory, and percentiles of the times of single look-ups. Run with the package to be measured in
PYTHONPATH.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from edgesip.address import Addr, Flow
from edgesip.lasting import load_bindings
from edgesip.signal.location.binding import Binding
from edgesip.signal.location.usrloc import Usrloc
from edgesip.store.api import Write
from edgesip.store.sqlite import SqliteStore

GROUP = 10_000
PAGE = 4096
_MIX = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
_AGENTS = (
    "Yealink SIP-T46S 66.85.0.5",
    "snomD785/10.1.73.16",
    "Grandstream GXP2170 1.0.11.64",
    "baresip v1.0.0",
)
_METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "NOTIFY", "SUBSCRIBE", "REFER", "INFO", "MESSAGE")


def aor_of(number: int) -> str:
    """The name of a user."""
    return f"u{number:07d}"


def binding(number: int, local: Addr, expires: float, now: float) -> Binding:
    """The contact of user `number`: a phone behind a NAT of its own; `expires` and `now` are wall time."""
    mixed = number * _MIX & _MASK
    remote = Addr(f"198.{18 + (number >> 16) % 2}.{number >> 8 & 255}.{number & 255}", 1024 + number % 60_000)
    inside = f"192.168.{number % 250}.{2 + number % 199}"
    return Binding(
        aor=aor_of(number),
        contact=f"sip:{aor_of(number)}@{inside}:5060;transport=udp",
        expires=expires,
        q=-1.0,
        call_id=f"{mixed:016x}@{inside}",
        cseq=300 + number % 900,
        received=f"sip:{remote}",
        flow=Flow("udp", local, remote),
        user_agent=_AGENTS[number % len(_AGENTS)],
        nated=True,
        instance=f"urn:uuid:{mixed >> 32:08x}-0000-1000-8000-{mixed & 0xFFFFFFFFFFFF:012x}",
        reg_id=1,
        ruid=f"uloc-{mixed:016x}",
        methods=_METHODS,
        last_modified=now - number % 3000,
    )


def fill(database: Path, numbers: Iterable[int], local: Addr, now: float, expiries: Sequence[float]) -> None:
    """Write the contacts of these users; their expiries are taken in turn."""
    store = SqliteStore(database)
    group: list[Write] = []
    for number in sorted(numbers, key=lambda one: one * _MIX & _MASK):
        one = binding(number, local, expiries[number % len(expiries)], now)
        group.append(Write(None, ("location", one.ruid), one.record(0.0)))
        if len(group) == GROUP:
            store.commit(group)
            group = []
    store.commit(group)
    store.checkpoint()
    store.close()


def resident() -> int:
    """Octets of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def main(database: Path, lookups: int, turns: int) -> None:
    """Load, then look up users at random, one by one."""
    local, offset = Addr("127.0.0.1", 5060), time.time() - time.monotonic()
    store, table = SqliteStore(database), Usrloc()
    empty, begin = resident(), time.monotonic()
    load_bindings(store, table, [("udp", local)], offset, lambda level, event, fields: None)
    seconds, octets = time.monotonic() - begin, resident() - empty
    users = table.counters["usrloc:location-users"]
    dice, now = Random(1), time.monotonic()
    found: list[dict[str, float]] = []
    for _ in range(turns):
        names = [aor_of(dice.randrange(users)) for _ in range(lookups)]
        times = []
        for name in names:
            start = time.perf_counter_ns()
            table.lookup(name, now)
            times.append(time.perf_counter_ns() - start)
        times.sort()
        found.append({"p50": times[lookups // 2] / 1000, "p99": times[lookups * 99 // 100] / 1000})
    print(json.dumps({"seconds": seconds, "each": octets / len(table), "turns": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

"""What outlives the process, read at start and kept in order meanwhile: bindings, users, the store's log.

Knows the store and the rooms that fill it, no more of the profile than it is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.store.api import StoreError
from edgesip.store.sqlite import SqliteStore
from edgesip.store.subscribers import SqliteSubscribers

CHECKPOINT = 5.0
"""Seconds between two looks whether the store's log has grown."""

Log = Callable[[str, str, dict[str, Any]], None]
Listens = Sequence[tuple[str, Addr]]


def load_bindings(store: SqliteStore, usrloc: Usrloc, listens: Listens, wall_offset: float, log: Log) -> None:
    """Put the bindings that were stored where they were."""
    bindings: list[Binding] = []
    bad = 0
    for _, record in store.load("location"):
        try:
            binding = Binding.from_record(record, wall_offset)
        except (KeyError, TypeError, ValueError):
            bad += 1
            continue
        if binding.flow.transport == "udp":  # a connection does not outlive the process (db_clean_tcp)
            bindings.append(_rehomed(binding, listens))
    count, bad = usrloc.load(bindings), bad + store.skipped
    if count or bad:
        log("warning" if bad else "info", "bindings loaded", {"contacts": count, "unreadable": bad})


def _rehomed(binding: Binding, listens: Listens) -> Binding:
    """The binding with a local end that we have: the listener it came by may be gone."""
    transport, local, remote, _ = binding.flow
    if (transport, local) in listens:
        return binding
    fit = [addr for kind, addr in listens if kind == transport and addr.family == local.family]
    same = [addr for addr in fit if addr.host == local.host] or fit
    return replace(binding, flow=Flow(transport, same[0], remote)) if same else binding


def warn_realms(subscribers: SqliteSubscribers, realm: str, log: Log) -> None:
    """Say who cannot log in any more because the realm is another one than that of their password."""
    for other, count in subscribers.realms().items():
        if other != realm:
            log(
                "warning",
                "users of another realm cannot log in",
                {"realm": other, "users": count, "auth.realm": realm, "do": "edgesip subscriber passwd"},
            )


async def checkpoints(store: SqliteStore, log: Log) -> None:
    """Fold the store's log into the store, in a thread, whenever it is due; for ever."""
    while True:
        await asyncio.sleep(CHECKPOINT)
        if store.checkpoint_due:
            try:
                await asyncio.to_thread(store.checkpoint)
            except StoreError as error:
                log("error", "checkpoint failed", {"why": str(error)})

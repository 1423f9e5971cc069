"""What outlives the process, read at start and kept in order meanwhile: bindings, users, the store's log.

Knows the store and the rooms that fill it, no more of the profile than it is given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from edgesip.address import Addr, Flow
from edgesip.signal.location.ledger import DbMode
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.store.api import StoreError, Users, Write
from edgesip.store.sqlite import SqliteStore

_GROUP = 1000
CHECKPOINT = 5.0
"""Seconds between two looks whether the store's log has grown."""

Log = Callable[[str, str, dict[str, Any]], None]
Listens = Sequence[tuple[str, Addr]]


class LoadRules(NamedTuple):
    """`db_mode`, `db_load` and `db_clean_tcp` of `[usrloc]`."""

    db_mode: int = 1
    db_load: bool = True
    db_clean_tcp: bool = True


def load_bindings(
    store: SqliteStore,
    usrloc: Usrloc,
    listens: Listens,
    wall_offset: float,
    log: Log,
    rules: LoadRules = LoadRules(),  # noqa: B008 - a value
) -> None:
    """Put the bindings that were stored where they were, one by one: there may be a million."""
    if not rules.db_load and rules.db_mode != DbMode.READ_ONLY:
        return
    loading = _Loading(store, usrloc, listens, wall_offset, rules.db_clean_tcp)
    begin = time.monotonic()
    count = usrloc.load(loading.bindings())
    if loading.lost and rules.db_mode != DbMode.READ_ONLY:
        _forget(store, loading.lost, log)
    bad = loading.bad + store.skipped
    if count or bad:
        took = round(time.monotonic() - begin, 1)
        fields = {"contacts": count, "unreadable": bad, "seconds": took}
        log("warning" if bad else "info", "bindings loaded", fields)


class _Loading:
    """The bindings of a store; `lost` are those whose connection is gone, `bad` those that are none."""

    def __init__(
        self, store: SqliteStore, usrloc: Usrloc, listens: Listens, wall_offset: float, clean_tcp: bool
    ) -> None:
        self._store = store
        self._usrloc = usrloc
        self._listens = listens
        self._wall_offset = wall_offset
        self._clean_tcp = clean_tcp
        self.lost: list[str] = []
        self.bad = 0

    def bindings(self) -> Iterator[Binding]:
        for key, record in self._store.load("location"):
            try:
                binding = Binding.from_record(record, self._wall_offset)
            except (KeyError, TypeError, ValueError):
                self.bad += 1
                continue
            if binding.flow.transport == "udp":
                yield _rehomed(binding, self._listens)
            elif self._clean_tcp and not binding.path:
                self.lost.append(key)
                self._usrloc.mourn(binding)
            else:
                yield binding


def _forget(store: SqliteStore, ruids: Sequence[str], log: Log) -> None:
    try:
        for at in range(0, len(ruids), _GROUP):
            store.commit([Write(None, ("location", ruid), None) for ruid in ruids[at : at + _GROUP]])
    except StoreError as error:
        log("error", "store failed", {"why": str(error), "writes": len(ruids)})


def _rehomed(binding: Binding, listens: Listens) -> Binding:
    flow = rehomed(binding.flow, listens)
    return binding if flow is binding.flow else replace(binding, flow=flow)


def rehomed(flow: Flow, listens: Listens) -> Flow:
    """A flow of a process before us, by a local end that we have: the listener it came by may be gone."""
    transport, local, remote, peer = flow
    if (transport, local) in listens:
        return flow
    fit = [addr for kind, addr in listens if kind == transport and addr.family == local.family]
    same = [addr for addr in fit if addr.host == local.host] or fit
    return Flow(transport, same[0], remote, peer) if same else flow


def warn_users(subscribers: Users, realm: str, algorithms: Sequence[str], log: Log) -> None:
    """Say who cannot log in: the realm is another one than that of their password, or nothing is kept of it
    by an algorithm that is asked for.
    """
    for algorithm in algorithms:
        lacking = subscribers.lacking(algorithm)
        if lacking:
            fields = {"algorithm": algorithm, "users": lacking, "do": "edgesip subscriber passwd"}
            log("warning", "users without a hash", fields)
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

"""A dictionary in many small ones, so that it never stops everything to grow.

A dictionary of a million entries is laid out anew now and then, all at once, which takes most of a tenth of a
second. Knows nothing of what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

SHARDS = 1024

K = TypeVar("K")
V = TypeVar("V")


class Shards(Generic[K, V]):
    """Entries by key; `of` is the small dictionary that a key has its place in."""

    __slots__ = ("_shards",)

    def __init__(self) -> None:
        self._shards: list[dict[K, V]] = [{} for _ in range(SHARDS)]

    def of(self, key: K) -> dict[K, V]:
        """Where this key is, or would be."""
        return self._shards[hash(key) % SHARDS]

    def __len__(self) -> int:
        return sum([len(shard) for shard in self._shards])

    def __iter__(self) -> Iterator[K]:
        """The keys, as they are when the turn of each small dictionary comes."""
        for shard in self._shards:
            yield from list(shard)

"""The DNS cache: answers by question, bounded in time and memory. Sans-IO.

Holds Kamailio's rules of `dns_cache_*`; what DNS is and who asks it, it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgesip.signal.proxy.hops import Answer, Naptr, Question, Record

FAILURE_TTL: Final = 5.0
"""Seconds for which nobody is asked again what nobody answered (RFC 9520 §3.2: 1 s to 5 min)."""

ENTRY_OCTETS: Final = 560
RECORD_OCTETS: Final = 240
"""What an entry and a record take in memory, besides their texts: measured, rounded up."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Times in seconds, `mem` in octets; False for `use_cache` remembers nothing."""

    use_cache: bool = True
    min_ttl: int = 0
    max_ttl: int = 2**31 - 1
    negative_ttl: int = 30
    mem: int = 500 * 1024
    gc_interval: int = 120
    del_nonexp: bool = True


class Entry(NamedTuple):
    """One answer as it is kept."""

    answer: Answer
    octets: int
    last_used: float


class DnsCache:
    """Answers, the least recently used first."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._entries: dict[Question, Entry] = {}
        self._used = 0
        self._next_gc = 0.0
        self.counters: dict[str, int] = {
            "dns:dns_req_cnt": 0,
            "dns:dc_hits_cnt": 0,
            "dns:dc_neg_hits_cnt": 0,
            "dns:dc_lru_cnt": 0,
        }

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used(self) -> int:
        """Octets in use."""
        return self._used

    @property
    def max(self) -> int:
        """Octets that may be in use."""
        return self._settings.mem

    def get(self, question: Question, now: float) -> Answer | None:
        """The answer that is still good, if there is one."""
        self.counters["dns:dns_req_cnt"] += 1
        entry = self._entries.get(question)
        if entry is None or entry.answer.expires <= now:
            return None
        self._entries.pop(question)
        self._entries[question] = Entry(entry.answer, entry.octets, now)
        self.counters["dns:dc_hits_cnt" if entry.answer.records else "dns:dc_neg_hits_cnt"] += 1
        return entry.answer

    def put(self, question: Question, records: tuple[Record, ...], ttl: float, now: float) -> Answer:
        """Keep what DNS said for its TTL within our bounds; without records: that there is nothing."""
        settings = self._settings
        if records:
            ttl = min(max(ttl, settings.min_ttl), settings.max_ttl)
        else:
            ttl = min(ttl, settings.negative_ttl)
        return self._keep(question, Answer(records, now + ttl), now)

    def put_failed(self, question: Question, now: float) -> Answer:
        """Keep for a moment that nobody answered."""
        ttl = min(FAILURE_TTL, self._settings.negative_ttl)
        return self._keep(question, Answer((), now + ttl, True), now)

    def clear(self) -> int:
        """Forget everything; how many entries that were."""
        count = len(self._entries)
        self._entries.clear()
        self._used = 0
        return count

    def delete(self, question: Question) -> bool:
        """Forget one entry; False when there is none."""
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._used -= entry.octets
        return entry is not None

    def entries(self, now: float) -> Iterator[tuple[Question, Entry]]:
        """Everything that is still good, the most recently used last: a snapshot."""
        return iter([pair for pair in self._entries.items() if pair[1].answer.expires > now])

    def _keep(self, question: Question, answer: Answer, now: float) -> Answer:
        self.delete(question)
        octets = _size(question, answer)
        if not self._settings.use_cache or answer.expires <= now or octets > self.max:
            return answer
        if now >= self._next_gc or self._used + octets > self.max:
            self._sweep(now)
            self._next_gc = now + self._settings.gc_interval
        while self._used + octets > self.max:
            if not self._settings.del_nonexp:
                return answer
            self.delete(next(iter(self._entries)))
            self.counters["dns:dc_lru_cnt"] += 1
        self._entries[question] = Entry(answer, octets, now)
        self._used += octets
        return answer

    def _sweep(self, now: float) -> None:
        for question in [one for one, entry in self._entries.items() if entry.answer.expires <= now]:
            self.delete(question)


def _size(question: Question, answer: Answer) -> int:
    """About what an entry takes in memory."""
    octets = ENTRY_OCTETS + len(question.name)
    for record in answer.records:
        octets += RECORD_OCTETS
        if isinstance(record, Naptr):
            octets += RECORD_OCTETS + len(record.regexp) + len(record.replacement)
    return octets

"""The DNS cache and the blocklist: what is remembered, for how long, and in how much memory."""

from __future__ import annotations

import gc
import tracemalloc

from edgesip.address import Addr
from edgesip.signal.proxy.blocklist import Blocklist, BlocklistSettings
from edgesip.signal.proxy.dns_cache import FAILURE_TTL, CacheSettings, DnsCache
from edgesip.signal.proxy.hops import Answer, Host, Naptr, Question, Srv

NAME = Question("trunk.example", "A")
RECORDS = (Host("192.0.2.1"),)


def test_an_answer_lives_as_long_as_its_ttl() -> None:
    cache = DnsCache(CacheSettings())
    assert cache.get(NAME, 100.0) is None
    assert cache.put(NAME, RECORDS, 30, 100.0) == Answer(RECORDS, 130.0)
    assert cache.get(NAME, 129.9) == Answer(RECORDS, 130.0)
    assert cache.get(NAME, 130.0) is None
    assert cache.counters["dns:dc_hits_cnt"] == 1
    assert cache.counters["dns:dns_req_cnt"] == 3


def test_ttls_have_bounds() -> None:
    cache = DnsCache(CacheSettings(min_ttl=10, max_ttl=600, negative_ttl=30))
    assert cache.put(NAME, RECORDS, 1, 0.0).expires == 10.0
    assert cache.put(NAME, RECORDS, 86400, 0.0).expires == 600.0
    assert cache.put(NAME, (), 86400, 0.0).expires == 30.0
    assert cache.put(NAME, (), 4, 0.0).expires == 4.0


def test_a_ttl_of_zero_is_used_once_and_not_kept() -> None:
    cache = DnsCache(CacheSettings())
    assert cache.put(NAME, RECORDS, 0, 50.0).records == RECORDS
    assert cache.get(NAME, 50.0) is None
    assert len(cache) == 0


def test_what_does_not_exist_is_remembered_and_what_nobody_answered_only_for_a_moment() -> None:
    cache = DnsCache(CacheSettings())
    cache.put(NAME, (), 3600, 0.0)
    answer = cache.get(NAME, 29.0)
    assert answer is not None
    assert not answer.failed
    cache.put_failed(NAME, 100.0)
    answer = cache.get(NAME, 100.0 + FAILURE_TTL - 0.1)
    assert answer is not None
    assert answer.failed
    assert cache.get(NAME, 100.0 + FAILURE_TTL) is None
    assert cache.counters["dns:dc_neg_hits_cnt"] == 2
    cache = DnsCache(CacheSettings(negative_ttl=0))
    cache.put_failed(NAME, 0.0)
    cache.put(NAME, (), 3600, 0.0)
    assert cache.get(NAME, 0.0) is None


def test_no_cache_keeps_nothing() -> None:
    cache = DnsCache(CacheSettings(use_cache=False))
    assert cache.put(NAME, RECORDS, 60, 0.0).records == RECORDS
    assert cache.get(NAME, 0.0) is None


def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    cache = DnsCache(CacheSettings(mem=64 * 1024))
    for number in range(1000):
        cache.put(Question(f"host-{number}.example", "A"), RECORDS, 3600, float(number))
        assert cache.get(Question("host-0.example", "A"), float(number)) is not None
        assert cache.used <= cache.max
    assert cache.get(Question("host-1.example", "A"), 1000.0) is None
    assert cache.counters["dns:dc_lru_cnt"] > 500
    assert cache.clear() > 50
    assert cache.used == 0


def test_without_del_nonexp_a_full_cache_takes_nothing_new_until_something_expires() -> None:
    cache = DnsCache(CacheSettings(mem=8 * 1024, del_nonexp=False))
    for number in range(100):
        cache.put(Question(f"host-{number}.example", "A"), RECORDS, 60, 0.0)
    full = len(cache)
    assert cache.get(Question("host-0.example", "A"), 1.0) is not None
    assert cache.get(Question("host-99.example", "A"), 1.0) is None
    cache.put(NAME, RECORDS, 60, 61.0)
    assert cache.get(NAME, 61.0) is not None
    assert len(cache) == 1 < full


def test_the_octets_that_are_counted_are_not_fewer_than_those_that_are_used() -> None:
    cache, blocked = DnsCache(CacheSettings(mem=10**7)), Blocklist(BlocklistSettings(mem=10**7))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1000):
        name = f"host-{number}.example"
        cache.put(
            Question(name, "A"), (Host(f"10.0.0.{number}"), Host(f"10.0.1.{number}")), 60, float(number)
        )
        cache.put(Question(name, "SRV"), (Srv(number, number, number, f"target-{number}.example"),), 60, 0.5)
        cache.put(
            Question(name, "NAPTR"), (Naptr(10, 10, "s", "SIP+D2U", f"!{number}!", f"_sip.{name}"),), 60, 0.5
        )
    used = tracemalloc.get_traced_memory()[0] - before
    assert used <= cache.used
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1000):
        blocked.add("udp", Addr(f"10.0.0.{number}", 5060 + number), float(number), "timeout")
    listed = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert listed <= blocked.used


# -- the blocklist

DEAD = Addr("192.0.2.9", 5060)


def test_a_dead_destination_is_left_out_for_a_while() -> None:
    blocked = Blocklist(BlocklistSettings())
    assert blocked.find("udp", DEAD, 0.0) is None
    blocked.add("udp", DEAD, 0.0, "timeout")
    entry = blocked.find("udp", DEAD, 59.9)
    assert entry is not None
    assert entry.why == "timeout"
    assert blocked.find("tcp", DEAD, 1.0) is None
    assert blocked.find("udp", Addr("192.0.2.9", 5061), 1.0) is None
    assert blocked.find("udp", DEAD, 60.0) is None
    blocked.add("udp", DEAD, 100.0, "503", 7.0)
    assert blocked.find("udp", DEAD, 106.9) is not None
    assert blocked.find("udp", DEAD, 107.0) is None
    assert blocked.counters["dst_blocklist:bkl_hit_cnt"] == 2


def test_an_operators_entry_stays_and_needs_no_switch() -> None:
    blocked = Blocklist(BlocklistSettings(use=False))
    blocked.add("udp", DEAD, 0.0, "timeout")
    assert len(blocked) == 0
    blocked.order("udp", DEAD, 0.0)
    blocked.add("udp", DEAD, 1.0, "timeout", 1.0)
    entry = blocked.find("udp", DEAD, 1e9)
    assert entry is not None
    assert entry.ordered
    assert [one[:2] for one in blocked.entries(5.0)] == [("udp", DEAD)]
    assert blocked.clear() == 1
    assert blocked.find("udp", DEAD, 5.0) is None


def test_the_list_is_bounded() -> None:
    blocked = Blocklist(BlocklistSettings(mem=20 * 1024))
    blocked.order("tcp", DEAD, 0.0)
    for number in range(500):
        blocked.add("udp", Addr("192.0.2.1", 5000 + number), float(number) / 100, "refused")
        assert blocked.used <= blocked.max
    assert blocked.find("tcp", DEAD, 5.0) is not None
    assert blocked.find("udp", Addr("192.0.2.1", 5499), 5.0) is not None
    assert blocked.find("udp", Addr("192.0.2.1", 5000), 5.0) is None

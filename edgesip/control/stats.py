"""Statistics: the counters of all rooms under Kamailio's names, `group:name`, read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgesip.control.rpc import RpcFault


def select(counters: Mapping[str, int], wanted: list[str]) -> dict[str, int]:
    """The statistics asked for, sorted: `all`, `group:`, `group:name` or a bare name; none asks for all.

    `RpcFault` 404 when a question matches nothing.
    """
    found: dict[str, int] = {}
    for question in wanted or ["all"]:
        matches = _matcher(question)
        some = {name: value for name, value in counters.items() if matches(name)}
        if not some:
            raise RpcFault(404, f"statistic not found: {question}")
        found |= some
    return dict(sorted(found.items()))


def _matcher(question: str) -> Callable[[str], bool]:
    if question == "all":
        return lambda name: True
    if question.endswith(":"):
        return lambda name: name.startswith(question)
    if ":" in question:
        return lambda name: name == question
    return lambda name: name.partition(":")[2] == question


def tm_stats(counters: Mapping[str, int]) -> dict[str, int]:
    """The answer of `tm.stats` from the group `tmx`: Kamailio's names there, as far as we count them."""
    inuse, active = counters.get("tmx:inuse_transactions"), counters.get("tmx:active_transactions")
    answer: dict[str, int] = {}
    if inuse is not None:
        answer["current"] = inuse
    if inuse is not None and active is not None:
        answer["waiting"] = inuse - active
    for name, ours in _TM_NAMES.items():
        if ours in counters:
            answer[name] = counters[ours]
    return answer


_TM_NAMES = {
    "total": "tmx:UAS_transactions",
    "total_local": "tmx:UAC_transactions",
    "rpl_received": "tmx:rpl_received",
    "rpl_generated": "tmx:rpl_generated",
    "rpl_sent": "tmx:rpl_sent",
    **{f"{digit}xx": f"tmx:{digit}xx_transactions" for digit in range(2, 7)},
}

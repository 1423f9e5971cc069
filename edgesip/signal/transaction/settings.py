"""The `[tm]` section as the rooms of signalling use it: times in seconds, words read. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class TmSettings:
    """Kamailio's parameters of `tm`. Times are seconds here (the profile has milliseconds).

    `failover_codes` and `failover_classes` are `failover_reply_codes` taken apart, `blst_503` are
    `blst_503_def_timeout`, `_min` and `_max`; `max_branches` is the core's.
    """

    fr_timer: float = 30.0
    fr_inv_timer: float = 185.0
    wt_timer: float = 5.0
    max_inv_lifetime: float = 600.0
    max_noninv_lifetime: float = 32.0
    retr_timer1: float = 0.5
    retr_timer2: float = 4.0
    restart_fr_on_each_reply: bool = True
    auto_inv_100: bool = True
    auto_inv_100_reason: str = "trying -- your call is important to us"
    aggregate_challenges: bool = True
    cancel_b_method: int = 1
    unmatched_cancel: int = 0
    failure_reply_mode: int = 3
    faked_reply_prio: int = 0
    local_cancel_reason: bool = True
    e2e_cancel_reason: bool = True
    remap_503_500: bool = True
    disable_6xx_block: bool = False
    failover_codes: frozenset[int] = frozenset()
    failover_classes: frozenset[int] = frozenset()
    reply_408_code: int = 408
    reply_408_reason: str = "Request Timeout"
    default_code: int = 500
    default_reason: str = "Server Internal Error"
    blst_503: tuple[float, float, float] | None = None
    max_branches: int = 12

    def with_own(self, changes: Sequence[tuple[str, float]]) -> TmSettings:
        """These settings with some of one transaction's own, by name."""
        own: dict[str, Any] = dict(changes)
        return replace(self, **own)

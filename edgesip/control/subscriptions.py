"""The method `dlg.subscriptions`: who is told of whom, beside Kamailio's `dlg.*` for calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgesip.control.rpc import Method
from edgesip.signal.dialog.subscriptions import End, Subscription, Subscriptions


def methods_for(table: Subscriptions, now: Callable[[], float], offset: Callable[[], float]) -> list[Method]:
    """The method; `now` is the monotonic clock, `offset` what the wall clock is ahead of it."""

    def listed(params: list[Any]) -> Iterator[dict[str, Any]]:
        moment, ahead = now(), offset()
        return (view(one, moment, ahead) for one in table)

    return [
        Method("dlg.subscriptions", listed, "Dialogs that a SUBSCRIBE or REFER opened, and who notifies.")
    ]


def view(one: Subscription, now: float, wall_offset: float) -> dict[str, Any]:
    """One entry of `dlg.subscriptions`."""
    return {
        "call-id": one.call_id,
        "method": one.method,
        "event": one.event,
        "from_uri": one.from_uri,
        "ruri": one.ruri,
        "init_ts": round(one.init + wall_offset),
        "expires": max(0, round(one.until - now)),
        "subscriber": _end(one.tag, one.near),
        "notifiers": [_end(tag, end) for tag, end in one.ends.items()],
    }


def _end(tag: str, end: End) -> dict[str, Any]:
    return {"tag": tag, "address": f"{end.flow.transport}:{end.flow.remote}", "nat": end.nated}

"""Subscriptions as records: what a store keeps of them, so that a NOTIFY finds its way after a restart.

Only those that somebody has answered have one. Knows no store. Times are monotonic seconds; records carry
wall time.
"""

from __future__ import annotations

from typing import Any

from edgesip.address import Addr, Flow
from edgesip.signal.dialog.subscriptions import LONGEST, MOST_ENDS, MOST_PACKAGES, End, Subscription

VERSION = 1


def name_of(key: tuple[str, str]) -> str:
    """The primary key of a record: neither a Call-ID nor a tag has a space (RFC 3261 §25.1)."""
    return f"{key[0]} {key[1]}"


def record_of(one: Subscription, wall_offset: float) -> dict[str, Any]:
    """A subscription as a JSON object; `wall_offset` is wall time minus monotonic time."""
    return {
        "version": VERSION,
        "call_id": one.call_id,
        "tag": one.tag,
        "method": one.method,
        "event": one.event,
        "from_uri": one.from_uri,
        "ruri": one.ruri,
        "init": one.init + wall_offset,
        "wanted": one.wanted,
        "sent": list(one.sent),
        "near": _end_record(one.near, wall_offset),
        "ends": {tag: _end_record(end, wall_offset) for tag, end in one.ends.items()},
    }


def _end_record(end: End, wall_offset: float) -> dict[str, Any]:
    flow = end.flow
    record: dict[str, Any] = {
        "flow": [flow.transport, *flow.local, *flow.remote],
        "peer": flow.peer,
        "nated": end.nated,
        "ruid": end.ruid,
        "sure": end.sure,
        "until": end.own + wall_offset if end.own else 0.0,
    }
    if end.others is not None:
        record["others"] = {package: until + wall_offset for package, until in end.others.items()}
    return record


def subscription_of(record: dict[str, Any], wall_offset: float, now: float) -> Subscription:
    """The subscription that a record describes, its times re-based; ValueError when it describes none."""
    try:
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']!r}")
        near = _end_of(record["near"], wall_offset, now)
        one = Subscription(str(record["call_id"]), str(record["tag"]), near, now)
        one.method, one.event = str(record["method"]), str(record["event"])
        one.from_uri, one.ruri = str(record["from_uri"]), str(record["ruri"])
        one.init = float(record["init"]) - wall_offset
        one.wanted = int(record["wanted"])
        one.sent = tuple([str(host) for host in record["sent"]])
        for tag, end in list(record["ends"].items())[:MOST_ENDS]:
            one.ends[str(tag)] = _end_of(end, wall_offset, now)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"not the record of a subscription: {error!r}") from error
    return one


def _end_of(record: dict[str, Any], wall_offset: float, now: float) -> End:
    transport, local, local_port, remote, remote_port = record["flow"]
    flow = Flow(
        str(transport),
        Addr(str(local), int(local_port)),
        Addr(str(remote), int(remote_port)),
        str(record["peer"]),
    )
    end = End(flow, bool(record["nated"]), str(record["ruid"]), bool(record["sure"]))
    latest = now + LONGEST
    until = float(record["until"])
    end.own = min(until - wall_offset, latest) if until else 0.0
    others = record.get("others")
    if others is not None:
        known = list(others.items())[:MOST_PACKAGES]
        end.others = {str(package): min(float(at) - wall_offset, latest) for package, at in known}
    return end

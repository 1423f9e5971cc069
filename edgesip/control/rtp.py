"""The relay's methods: a call's media shown, ended, blocked; what was counted; who gets new calls.

Reads what operators type and asks the relay's desk. Names and faults of `rtpproxy.*` are Kamailio's. Knows no
socket, and nothing of signalling: a call whose media is ended goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgesip.control.rpc import INVALID_PARAMS, Method, RpcFault, text
from edgesip.relay.core import RelayCore
from edgesip.relay.past import REASONS

SIDES = {"caller": ("caller",), "callee": ("callee",), "both": ("caller", "callee")}
USUAL = "relay"
"""What the usual interface, which has no name, is called by `rtpproxy.list` and `enable`."""
DROPPED = [
    "src_mismatch",
    "invalid",
    "stray",
    "muted",
    "covered",
    "no_target",
    "unproven",
    "blocked",
    "banned",
]
CARRIED = ("kernel", "userspace", "slow")
_NUMBERS = ("sessions_total", "zero_packet_streams", "one_way_sessions", "packets", "octets", "relatch")


def methods_for(core: RelayCore | None, clock: Callable[[], float]) -> list[Method]:
    """The methods over a relay, None where it is off; `clock` gives monotonic seconds."""
    asked = _Questions(core, clock)
    return [
        Method(
            "rtp.show",
            asked.show,
            "rtp.show CALL-ID: everything about a call's media, up to 30 s after its end too.",
        ),
        Method(
            "rtp.destroy",
            asked.destroy,
            "rtp.destroy CALL-ID: end the media of a call; signalling goes on, a new offer gets new ports.",
        ),
        Method(
            "rtp.block",
            asked.block,
            "rtp.block CALL-ID [caller|callee|both]: drop what a side sends; both, unless one is named.",
        ),
        Method(
            "rtp.unblock", asked.unblock, "rtp.unblock CALL-ID [caller|callee|both]: let it through again."
        ),
        Method("rtp.stats", asked.stats, "What the relay has counted since the start, in groups."),
        Method(
            "rtpproxy.list",
            asked.list_,
            "The interfaces that calls get their media ports on, and whether they take new ones.",
        ),
        Method(
            "rtpproxy.enable",
            asked.enable,
            "rtpproxy.enable URL|all 0|1: 0: new calls are refused with 503, running ones go on; 1: taken.",
        ),
    ]


class _Questions:
    """One method each; parameters as a list, the result as JSON values."""

    def __init__(self, core: RelayCore | None, clock: Callable[[], float]) -> None:
        self._found = core
        self._clock = clock

    @property
    def _core(self) -> RelayCore:
        if self._found is None:
            raise RpcFault(500, "the relay is off: relay.enabled is false")
        return self._found

    def show(self, params: list[Any]) -> list[dict[str, Any]]:
        call_id = text(params, 0, "CALL-ID")
        return self._core.desk.show(call_id, self._clock()) or _unknown(call_id)

    def destroy(self, params: list[Any]) -> str:
        call_id = text(params, 0, "CALL-ID")
        if not self._core.destroy(call_id, self._clock()):
            _unknown(call_id)
        return "Ok. Its media is over"

    def block(self, params: list[Any]) -> str:
        self._blocked(params, True)
        return "Ok. Blocked"

    def unblock(self, params: list[Any]) -> str:
        self._blocked(params, False)
        return "Ok. Goes through"

    def _blocked(self, params: list[Any], wanted: bool) -> None:
        call_id = text(params, 0, "CALL-ID")
        side = text(params, 1, "SIDE") if len(params) > 1 else "both"
        if side not in SIDES:
            raise RpcFault(INVALID_PARAMS, f"Invalid params: {side!r} is none of {', '.join(SIDES)}")
        if not self._core.desk.block(call_id, SIDES[side], wanted):
            _unknown(call_id)

    def stats(self, params: list[Any]) -> dict[str, Any]:
        core = self._core
        ports = core.ports(self._clock())
        counted = {name[len("rtp:rtp_") :]: value for name, value in core.counters.items()}
        gauges = core.desk.gauges(ports)
        closed = {reason: counted[f"closed_sessions_{reason}"] for reason in REASONS}
        answered = sum(closed.values()) - closed["rejected"]
        return {
            "sessions": gauges["rtp:rtp_sessions"],
            "max_sessions": core.max_sessions,
            "takes_new_calls": core.has_room(),
            "mediastreams": {kind: gauges[f"rtp:rtp_mediastreams_{kind}"] for kind in CARRIED},
            "closed_sessions": closed,
            "call_duration": counted["call_duration"],
            "call_duration_avg": round(counted["call_duration"] / answered, 1) if answered else 0.0,
            **{name: counted[name] for name in _NUMBERS},
            "refused": counted["refused"],
            "dropped": {name: counted[name] for name in DROPPED},
            "ports": ports,
        }

    def list_(self, params: list[Any]) -> list[dict[str, Any]]:
        core = self._core
        return [
            {
                "setid": name or 0,
                "url": name or USUAL,
                "index": index,
                "disabled": int(name in core.drained),
                "weight": 1,
                "recheck": 0,
            }
            for index, name in enumerate(["", *sorted(core.interfaces)])
        ]

    def enable(self, params: list[Any]) -> str:
        if len(params) < 2:
            raise RpcFault(500, "Not enough parameters")
        core, url, word = self._core, text(params, 0, "URL"), text(params, 1, "0|1")
        if word not in ("0", "1"):
            raise RpcFault(INVALID_PARAMS, f"Invalid params: {word!r} is neither 0 nor 1")
        names = {USUAL: "", **{name: name for name in core.interfaces}}
        if url != "all" and url not in names:
            raise RpcFault(404, "RTPProxy not found")
        meant = frozenset(names.values() if url == "all" else (names[url],))
        core.drained = core.drained - meant if word == "1" else core.drained | meant
        return "Ok. Takes new calls" if word == "1" else "Ok. Takes no new calls"


def _unknown(call_id: str) -> list[dict[str, Any]]:
    raise RpcFault(404, f"call not found: no media session of {call_id}")

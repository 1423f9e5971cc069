"""The relay's methods for prompts: what there is, and playing it into a call.

Reads what operators type and asks the relay's core. Knows no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgesip.control.rpc import INVALID_PARAMS, Method, RpcFault, text
from edgesip.relay.core import RelayCore
from edgesip.relay.shelf import Shelf

SIDES = {"caller": ("caller",), "callee": ("callee",), "both": ("caller", "callee")}


def methods_for(core: RelayCore | None, shelf: Shelf, clock: Callable[[], float]) -> list[Method]:
    """The methods over a relay (None where it is off) and its shelf; `clock` gives monotonic seconds."""
    asked = _Questions(core, shelf, clock)
    return [
        Method(
            "rtp.play",
            asked.play,
            "rtp.play CALL-ID PROMPT [caller|callee|both [COUNT]]: play a prompt into a call, to both "
            "sides unless one is named, once or COUNT times, -1 until it is stopped.",
        ),
        Method(
            "rtp.stop",
            asked.stop,
            "rtp.stop CALL-ID [caller|callee|both]: end what plays there; the call goes on.",
        ),
        Method("rtp.prompts", asked.prompts, "The prompts that can be played, and in which codecs."),
    ]


class _Questions:
    """One method each; parameters as a list, the result as JSON values."""

    def __init__(self, core: RelayCore | None, shelf: Shelf, clock: Callable[[], float]) -> None:
        self._core = core
        self._shelf = shelf
        self._clock = clock

    def play(self, params: list[Any]) -> str:
        call_id, name, sides = text(params, 0, "CALL-ID"), text(params, 1, "PROMPT"), _sides(params, 2)
        count = _count(params, 3)
        self._each(call_id, sides, name, count)
        return "Ok. Playing" if count else "Ok. Stopped"

    def stop(self, params: list[Any]) -> str:
        self._each(text(params, 0, "CALL-ID"), _sides(params, 1), "", 0)
        return "Ok. Stopped"

    def prompts(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        for entry in self._shelf.entries():
            yield {
                "name": entry.name,
                "seconds": entry.seconds,
                "codecs": list(entry.codecs),
                "directory": str(entry.directory),
            }

    def _each(self, call_id: str, sides: tuple[str, ...], name: str, count: int) -> None:
        """Done when one of the sides could be served; else the first reason why not."""
        if self._core is None:
            raise RpcFault(500, "the relay is off: relay.enabled is false")
        now = self._clock()
        why = [one for side in sides for one in self._core.play_to(call_id, side, name, count, now)]
        if not why:
            raise RpcFault(404, f"call not found: no media session of {call_id}")
        if all(why):
            raise RpcFault(404 if why[0].startswith("there is no prompt") else 500, why[0])


def _sides(params: list[Any], index: int) -> tuple[str, ...]:
    word = text(params, index, "SIDE") if len(params) > index else "both"
    if word not in SIDES:
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {word!r} is none of {', '.join(SIDES)}")
    return SIDES[word]


def _count(params: list[Any], index: int) -> int:
    word = text(params, index, "COUNT") if len(params) > index else "1"
    try:
        count = int(word)
    except ValueError:
        count = -2
    if not -1 <= count <= 1_000_000:
        raise RpcFault(INVALID_PARAMS, f"Invalid params: COUNT {word!r}: -1 for ever, 0 to stop, or a number")
    return count

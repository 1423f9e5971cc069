"""`call.why`: the verdicts about a call's media, for those who ask by Call-ID. Judges nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgesip.control.rpc import Method, RpcFault, text


def methods_for(why: Callable[[str], list[dict[str, Any]]]) -> list[Method]:
    """The one method; `why` gets the beginning of a Call-ID and gives a record for each call."""

    def ask(params: list[Any]) -> list[dict[str, Any]]:
        call = text(params, 0, "CALL-ID")
        found = why(call) if call else []
        if not found:
            raise RpcFault(404, f"call not found: {call}")
        return found

    help_ = "call.why CALL-ID: what is wrong with its audio, a verdict for each side; also after its end."
    return [Method("call.why", ask, help_)]

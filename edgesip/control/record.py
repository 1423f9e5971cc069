"""`rtp.record`: a call is recorded, or no longer, and what is recorded now."""

from __future__ import annotations

from typing import Any

from edgesip.control.rpc import Method, RpcFault, text
from edgesip.relay.record import KINDS, WAV
from edgesip.relay.recorder import Recorder, RecordError

STOP = "stop"
_NOT_FOUND, _REFUSED = 404, 500


def methods_for(recorder: Recorder) -> list[Method]:
    """The one method over a recorder."""

    def record(params: list[Any]) -> list[dict[str, Any]]:
        """Whatever it does, it answers the recordings that it is about."""
        if not params:
            return recorder.show()
        call_id = text(params, 0, "CALLID")
        word = text(params, 1, "wav|pcap|stop") if len(params) > 1 else WAV
        if word not in (*KINDS, STOP):
            raise RpcFault(_REFUSED, f"rtp.record CALLID wav|pcap|stop, not {word!r}")
        try:
            return recorder.stop(call_id) if word == STOP else recorder.start(call_id, word)
        except RecordError as error:
            raise RpcFault(_NOT_FOUND if error.missing else _REFUSED, str(error)) from None

    help_ = (
        "rtp.record [CALLID [wav|pcap|stop]]: record a call, or no longer; without a call, what is recorded."
    )
    return [Method("rtp.record", record, help_)]

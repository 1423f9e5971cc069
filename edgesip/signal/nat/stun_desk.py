"""Who asks by STUN on a port of SIP: answered, counted, and noted as alive where a phone is registered.

Holds counters alone. It refuses to know the octets of STUN (`stun`) and how an answer is sent.
"""

from __future__ import annotations

from dataclasses import replace

from edgesip.address import Flow
from edgesip.signal.guard.echo import Echo
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.stun import SUCCESS, answer_to, kind_of

_FRESH = 1.0  # seconds in which another keepalive over the same flow is no news
_PHONES = 16  # contacts of one flow that its keepalive speaks for; a front proxy's says nothing of its phones


class StunDesk:
    """STUN of one server; `enabled` is `[stun] enabled`: without it nobody is answered.

    `echo` says whether a stranger may be answered at this length: his address may be forged.
    """

    def __init__(self, usrloc: Usrloc, learning: Learning, echo: Echo) -> None:
        self._usrloc = usrloc
        self._learning = learning
        self._echo = echo
        self.enabled = True
        self.counters: dict[str, int] = {
            "stun:answered": 0,
            "stun:refused": 0,
            "stun:dropped": 0,
            "stun:keepalives": 0,
        }

    def receive(self, data: bytes, flow: Flow, now: float) -> bytes | None:
        """What is answered to octets that begin with none of SIP's: 0 to 3 (RFC 8489 §6.3); None: nothing.

        Whatever it is, four zero octets too: a flow that a phone is registered over is alive.
        """
        self._alive(flow, now)
        self._learning.came(flow, now)
        answer = answer_to(data, flow.remote) if self.enabled else None
        if answer is not None:
            self._echo.asked(len(data), now)
            answer = answer if self._echo.allows(flow, len(answer)) else None
        if answer is None:
            self.counters["stun:dropped"] += 1
        elif kind_of(answer) == SUCCESS:
            self.counters["stun:answered"] += 1
        else:
            self.counters["stun:refused"] += 1
        return answer

    def _alive(self, flow: Flow, now: float) -> None:
        one = self._usrloc.one_by_flow(flow) if self._usrloc.occupied(flow) else None
        if one is None or one.last_keepalive > now - _FRESH:
            return
        self.counters["stun:keepalives"] += 1
        found = self._usrloc.by_flow(flow)
        for binding in found if len(found) <= _PHONES else [one]:
            self._usrloc.put(replace(binding, last_keepalive=now))

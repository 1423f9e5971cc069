"""The four transaction machines of RFC 3261 §17, with RFC 6026, as tables.

A row is (state, event) -> (next state, actions, section). An event that has no row is ignored in that
state. The tables know no message, no clock and no socket: `layer` performs the actions.

Timers D, I, J, K, L and M, which only keep a finished transaction around to absorb retransmissions, are
one: `WAIT`, `tm.wt_timer` long. Timers A, E and G are `RETRANSMIT`, B and F are `FR` (`tm.fr_timer`), and
C is `FR_INV` (`tm.fr_inv_timer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final, NamedTuple


class State(IntEnum):
    """Where a transaction stands; CALLING is the INVITE client's TRYING. Integers, for their cheap hash."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    TERMINATED = auto()


class On(IntEnum):
    """What can happen to a transaction."""

    PROVISIONAL = auto()  # 1xx
    SUCCESS = auto()  # 2xx
    FAILURE = auto()  # 3xx-6xx
    REQUEST = auto()  # request again
    ACK = auto()  # ACK
    CANCELLED = auto()  # we sent CANCEL
    RETRANSMIT = auto()  # timer A, E or G
    FR = auto()  # timer B or F
    FR_INV = auto()  # timer C
    WAIT = auto()  # timer D, I, J, K, L or M


class Do(IntEnum):
    """What `layer` does about it."""

    SEND = auto()  # send the request or response
    RESEND = auto()  # send the last one again
    ACK = auto()  # acknowledge the failure response, hop by hop
    TELL = auto()  # hand it to the proxy
    TIMEOUT = auto()  # tell the proxy that no answer came
    RETRANSMIT = auto()  # arm the retransmission timer, T1 at first, then doubled
    SLOW = auto()  # retransmit every T2 from now on
    QUIET = auto()  # stop retransmitting
    FR = auto()  # arm the final response timer
    NO_FR = auto()  # stop the final response timer
    FR_INV = auto()  # arm timer C
    NO_FR_INV = auto()  # stop timer C
    WAIT = auto()  # arm the wait timer
    END = auto()  # forget the transaction


class Row(NamedTuple):
    """The next state, what to do on the way, and where the standard says so."""

    state: State
    do: tuple[Do, ...]
    section: str


Table = Mapping[tuple[State, On], Row]

_S, _D = State, Do

INVITE_CLIENT: Final[Table] = {
    (_S.CALLING, On.RETRANSMIT): Row(_S.CALLING, (_D.RESEND, _D.RETRANSMIT), "3261 §17.1.1.2"),
    (_S.CALLING, On.FR): Row(_S.TERMINATED, (_D.QUIET, _D.TIMEOUT, _D.END), "3261 §17.1.1.2"),
    (_S.CALLING, On.PROVISIONAL): Row(
        _S.PROCEEDING, (_D.QUIET, _D.NO_FR, _D.FR_INV, _D.TELL), "3261 §17.1.1.2, §16.7"
    ),
    (_S.CALLING, On.SUCCESS): Row(_S.ACCEPTED, (_D.QUIET, _D.NO_FR, _D.WAIT, _D.TELL), "6026 §7.2"),
    (_S.CALLING, On.FAILURE): Row(
        _S.COMPLETED, (_D.QUIET, _D.NO_FR, _D.ACK, _D.WAIT, _D.TELL), "3261 §17.1.1.2"
    ),
    (_S.PROCEEDING, On.PROVISIONAL): Row(_S.PROCEEDING, (_D.FR_INV, _D.TELL), "3261 §16.7 step 2"),
    (_S.PROCEEDING, On.FR_INV): Row(_S.PROCEEDING, (_D.TIMEOUT,), "3261 §16.8"),
    (_S.PROCEEDING, On.CANCELLED): Row(_S.PROCEEDING, (_D.NO_FR_INV, _D.FR), "3261 §9.1"),
    (_S.PROCEEDING, On.FR): Row(_S.TERMINATED, (_D.TIMEOUT, _D.END), "3261 §9.1"),
    (_S.PROCEEDING, On.SUCCESS): Row(_S.ACCEPTED, (_D.NO_FR, _D.NO_FR_INV, _D.WAIT, _D.TELL), "6026 §7.2"),
    (_S.PROCEEDING, On.FAILURE): Row(
        _S.COMPLETED, (_D.NO_FR, _D.NO_FR_INV, _D.ACK, _D.WAIT, _D.TELL), "3261 §17.1.1.2"
    ),
    (_S.ACCEPTED, On.SUCCESS): Row(_S.ACCEPTED, (_D.TELL,), "6026 §7.2"),
    (_S.ACCEPTED, On.WAIT): Row(_S.TERMINATED, (_D.END,), "6026 §7.2, timer M"),
    (_S.COMPLETED, On.FAILURE): Row(_S.COMPLETED, (_D.ACK,), "3261 §17.1.1.2"),
    (_S.COMPLETED, On.WAIT): Row(_S.TERMINATED, (_D.END,), "3261 §17.1.1.2, timer D"),
}

NON_INVITE_CLIENT: Final[Table] = {
    (_S.TRYING, On.RETRANSMIT): Row(_S.TRYING, (_D.RESEND, _D.RETRANSMIT), "3261 §17.1.2.2"),
    (_S.TRYING, On.FR): Row(_S.TERMINATED, (_D.QUIET, _D.TIMEOUT, _D.END), "3261 §17.1.2.2"),
    (_S.TRYING, On.PROVISIONAL): Row(_S.PROCEEDING, (_D.TELL,), "3261 §17.1.2.2"),
    (_S.TRYING, On.SUCCESS): Row(_S.COMPLETED, (_D.QUIET, _D.NO_FR, _D.WAIT, _D.TELL), "3261 §17.1.2.2"),
    (_S.TRYING, On.FAILURE): Row(_S.COMPLETED, (_D.QUIET, _D.NO_FR, _D.WAIT, _D.TELL), "3261 §17.1.2.2"),
    (_S.PROCEEDING, On.RETRANSMIT): Row(_S.PROCEEDING, (_D.RESEND, _D.SLOW), "3261 §17.1.2.2"),
    (_S.PROCEEDING, On.FR): Row(_S.TERMINATED, (_D.QUIET, _D.TIMEOUT, _D.END), "3261 §17.1.2.2"),
    (_S.PROCEEDING, On.PROVISIONAL): Row(_S.PROCEEDING, (_D.TELL,), "3261 §17.1.2.2"),
    (_S.PROCEEDING, On.SUCCESS): Row(_S.COMPLETED, (_D.QUIET, _D.NO_FR, _D.WAIT, _D.TELL), "3261 §17.1.2.2"),
    (_S.PROCEEDING, On.FAILURE): Row(_S.COMPLETED, (_D.QUIET, _D.NO_FR, _D.WAIT, _D.TELL), "3261 §17.1.2.2"),
    (_S.COMPLETED, On.WAIT): Row(_S.TERMINATED, (_D.END,), "3261 §17.1.2.2, timer K"),
}

INVITE_SERVER: Final[Table] = {
    (_S.PROCEEDING, On.REQUEST): Row(_S.PROCEEDING, (_D.RESEND,), "3261 §17.2.1"),
    (_S.PROCEEDING, On.PROVISIONAL): Row(_S.PROCEEDING, (_D.SEND,), "3261 §17.2.1"),
    (_S.PROCEEDING, On.SUCCESS): Row(_S.ACCEPTED, (_D.SEND, _D.WAIT), "6026 §7.1"),
    (_S.PROCEEDING, On.FAILURE): Row(
        _S.COMPLETED, (_D.SEND, _D.RETRANSMIT, _D.FR), "3261 §17.2.1, timers G and H"
    ),
    (_S.ACCEPTED, On.SUCCESS): Row(_S.ACCEPTED, (_D.SEND,), "6026 §7.1"),
    (_S.ACCEPTED, On.WAIT): Row(_S.TERMINATED, (_D.END,), "6026 §7.1, timer L"),
    (_S.COMPLETED, On.REQUEST): Row(_S.COMPLETED, (_D.RESEND,), "3261 §17.2.1"),
    (_S.COMPLETED, On.RETRANSMIT): Row(_S.COMPLETED, (_D.RESEND, _D.RETRANSMIT), "3261 §17.2.1"),
    (_S.COMPLETED, On.FR): Row(_S.TERMINATED, (_D.QUIET, _D.TIMEOUT, _D.END), "3261 §17.2.1"),
    (_S.COMPLETED, On.ACK): Row(_S.CONFIRMED, (_D.QUIET, _D.NO_FR, _D.WAIT), "3261 §17.2.1"),
    (_S.CONFIRMED, On.WAIT): Row(_S.TERMINATED, (_D.END,), "3261 §17.2.1, timer I"),
}

NON_INVITE_SERVER: Final[Table] = {
    (_S.TRYING, On.PROVISIONAL): Row(_S.PROCEEDING, (_D.SEND,), "3261 §17.2.2"),
    (_S.TRYING, On.SUCCESS): Row(_S.COMPLETED, (_D.SEND, _D.WAIT), "3261 §17.2.2"),
    (_S.TRYING, On.FAILURE): Row(_S.COMPLETED, (_D.SEND, _D.WAIT), "3261 §17.2.2"),
    (_S.TRYING, On.WAIT): Row(_S.TERMINATED, (_D.END,), "4320 §4.2"),
    (_S.PROCEEDING, On.WAIT): Row(_S.TERMINATED, (_D.END,), "4320 §4.2"),
    (_S.PROCEEDING, On.REQUEST): Row(_S.PROCEEDING, (_D.RESEND,), "3261 §17.2.2"),
    (_S.PROCEEDING, On.PROVISIONAL): Row(_S.PROCEEDING, (_D.SEND,), "3261 §17.2.2"),
    (_S.PROCEEDING, On.SUCCESS): Row(_S.COMPLETED, (_D.SEND, _D.WAIT), "3261 §17.2.2"),
    (_S.PROCEEDING, On.FAILURE): Row(_S.COMPLETED, (_D.SEND, _D.WAIT), "3261 §17.2.2"),
    (_S.COMPLETED, On.REQUEST): Row(_S.COMPLETED, (_D.RESEND,), "3261 §17.2.2"),
    (_S.COMPLETED, On.WAIT): Row(_S.TERMINATED, (_D.END,), "3261 §17.2.2, timer J"),
}


def event_of(status: int) -> On:
    """The event that a response of this status is."""
    if status < 200:
        return On.PROVISIONAL
    return On.SUCCESS if status < 300 else On.FAILURE

"""Requests that we make inside somebody's dialog: the BYE that ends a call from the middle, and its ACK.

Pure: from a dialog and a side to a request. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgesip.signal.dialog.state import Dialog, Leg, other
from edgesip.signal.proxy.forward import our_via
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.wire.headers import Field, Headers
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import without_headers


def bye_for(dialog: Dialog, side: str, branch: str, myself: Myself, reason: str) -> Request | None:
    """The BYE to one leg, as if the far end had sent it; None when that leg gave no way to reach it.

    CSeq is one above the last that the far end used (RFC 3261 §12.2.1.1); `reason` goes into a Reason
    header (RFC 3326).
    """
    number = dialog.leg(other(side)).cseq + 1
    why = (("Reason", f'SIP;cause=200;text="{reason}"'),)
    return _request("BYE", dialog, side, number, branch, myself, why)


def ack_for_answer(dialog: Dialog, side: str, number: int, branch: str, myself: Myself) -> Request | None:
    """The ACK of a 2xx that `side` gave to the INVITE of this CSeq number (§13.2.2.4)."""
    return _request("ACK", dialog, side, number, branch, myself)


def _request(
    method: str,
    dialog: Dialog,
    side: str,
    number: int,
    branch: str,
    myself: Myself,
    more: Sequence[Field] = (),
) -> Request | None:
    leg, far = dialog.leg(side), dialog.leg(other(side))
    if leg.flow is None or not leg.contact:
        return None
    fields = [
        ("Via", str(our_via(leg.flow, branch, myself))),
        ("Max-Forwards", "70"),
        *(("Route", route) for route in leg.routes),
        ("From", _with_tag(far)),
        ("To", _with_tag(leg)),
        ("Call-ID", dialog.call_id),
        ("CSeq", f"{number} {method}"),
        *more,
    ]
    return Request(method, without_headers(leg.contact), Headers(tuple(fields)), b"")


def _with_tag(leg: Leg) -> str:
    return leg.uri if ";tag=" in leg.uri.lower() else f"{leg.uri};tag={leg.tag}"

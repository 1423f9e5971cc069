"""Which stored contact a REGISTER speaks of, and whether it may change it (location.md §1.4).

Pure: the rows of one address of record in, one of them out. Knows neither the table nor the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from edgesip.signal.location.usrloc import Binding


class Standing(IntEnum):
    """What a REGISTER may do to the stored contact that it matches."""

    NEWER = 0
    """Take its place."""
    REPEATED = 1
    """Nothing: it is a copy of the request that made it, to be answered as it stands."""
    STALE = 2
    """Nothing: it is older. The registrar answers 400, "Invalid CSeq number"."""


class Claim:
    """A contact as a REGISTER names it, with what tells whose it is.

    `path` is the Path vector as one comma list, '' for none; `host` is the address the request came from,
    `nated` whether that is a NAT's.
    """

    __slots__ = ("call_id", "contact", "cseq", "host", "instance", "nated", "path", "reg_id")

    def __init__(
        self,
        contact: str,
        instance: str,
        reg_id: int,
        call_id: str,
        cseq: int,
        path: str,
        host: str,
        nated: bool,
    ) -> None:
        self.contact = contact
        self.instance = instance
        self.reg_id = reg_id
        self.call_id = call_id
        self.cseq = cseq
        self.path = path
        self.host = host
        self.nated = nated


def match(claim: Claim, rows: Iterable[Binding], matching_mode: int) -> Binding | None:
    """The row that the claim speaks of: by instance and reg-id where it has them, else by `matching_mode`.

    0 contact, 1 contact and Call-ID, 2 contact and Path (as 0 without a Path), 3 Call-ID alone. Behind NATs
    the same private contact may be another phone's in another house: in modes 0 and 2 the Call-ID, the
    public address, or the Path has to be the same as well.
    """
    for row in rows:
        if claim.instance:
            if row.instance == claim.instance and row.reg_id == claim.reg_id:
                return row
        elif matching_mode == 3:
            if row.call_id == claim.call_id:
                return row
        elif row.contact == claim.contact and _is_same(claim, row, matching_mode):
            return row
    return None


def standing(claim: Claim, row: Binding, now: float, cseq_delay: float) -> Standing:
    """What the claim may do to the row that it matched.

    Only a CSeq of the same Call-ID says anything. The same one again within `cseq_delay` seconds is a
    retransmission; later, or a lower one, is stale, unless the contact has an instance, which always speaks
    for its own.
    """
    if row.call_id != claim.call_id or claim.cseq > row.cseq:
        return Standing.NEWER
    if claim.cseq == row.cseq and row.last_modified + cseq_delay > now:
        return Standing.REPEATED
    return Standing.NEWER if claim.instance else Standing.STALE


def _is_same(claim: Claim, row: Binding, matching_mode: int) -> bool:
    if matching_mode == 1:
        return row.call_id == claim.call_id
    if matching_mode == 2 and claim.path:
        return row.path == claim.path
    known = row.call_id == claim.call_id or row.flow.remote.host == claim.host
    return known or not (row.nated and claim.nated)

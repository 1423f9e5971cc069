"""What is signed with the secret that outlives the process: flow tokens and temporary GRUUs.

One value, so that whoever needs both is given both. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edgesip.signal.location.gruu import Gruus
from edgesip.signal.location.outbound import FlowTokens


class Seals(NamedTuple):
    """Both, under one secret."""

    flows: FlowTokens
    gruus: Gruus


def seals_of(secret: bytes, entropy: Callable[[int], bytes]) -> Seals:
    """The seals under this secret."""
    return Seals(FlowTokens(secret), Gruus(secret, entropy))

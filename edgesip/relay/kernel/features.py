"""What an interface's driver can do with XDP, as the kernel says since Linux 6.3 (netdev family of netlink).

Holds the one question that matters here: whether frames can leave by it that come from XDP. A driver that
cannot loses them without a word. Refuses to know programs and flows.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Final

from edgesip.relay.kernel import netlink
from edgesip.relay.kernel.netlink import attribute, attributes

_GENERIC: Final = 16  # NETLINK_GENERIC
_CONTROL, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_GET_DEVICE, _IFINDEX, _FEATURES = 1, 1, 3
_SENDS: Final = 4  # NETDEV_XDP_ACT_NDO_XMIT
_HEAD: Final = struct.Struct("=BBxx")
_NUMBER: Final = struct.Struct("=I")


def sends(ifindex: int) -> bool | None:
    """Whether this interface sends what XDP redirects to it now; None where the kernel does not say."""
    with contextlib.closing(netlink.Questions(_GENERIC)) as kernel:
        try:
            asked = _HEAD.pack(_GET_FAMILY, 1) + attribute(_FAMILY_NAME, b"netdev\0")
            found = attributes(kernel.one(_CONTROL, asked).body, _HEAD.size)
            family = int.from_bytes(found[_FAMILY_ID], "little")
            asked = _HEAD.pack(_GET_DEVICE, 1) + attribute(_IFINDEX, _NUMBER.pack(ifindex))
            found = attributes(kernel.one(family, asked).body, _HEAD.size)
        except (OSError, KeyError):
            return None
    return bool(int.from_bytes(found.get(_FEATURES, b""), "little") & _SENDS)

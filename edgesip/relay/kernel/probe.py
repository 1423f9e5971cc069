"""Whether this process may have the kernel path, found out by trying.

A sentence says why not, and what an operator can do about it. Changes nothing that stays. Refuses to know
profiles and who asks.
"""

from __future__ import annotations

import struct
from typing import Final

from edgesip.address import Addr
from edgesip.relay.kernel.abi import KernelFlow
from edgesip.relay.kernel.program import KernelError, Program

LOOPBACK: Final = 1
"""The index of `lo`, in every network namespace."""
_ROOM: Final = 16
_NEAR, _FAR, _BEYOND = Addr("127.0.0.1", 16384), Addr("127.0.0.1", 40000), Addr("127.0.0.1", 40002)
_REDIRECTED: Final = 7  # TC_ACT_REDIRECT


def refusal(attach: bool = True) -> str:
    """ "" when the program loads, is let to an interface (`lo`, for a moment), and forwards a packet that is
    made up for it; else why not, as a sentence. Without `attach` no interface sees it.
    """
    try:
        program = Program.load(_ROOM, None)
    except KernelError as error:
        return str(error)
    try:
        if attach:
            program.attach(LOOPBACK)
            program.detach(LOOPBACK)
        program.put(KernelFlow(_NEAR, _FAR, _NEAR, _BEYOND, LOOPBACK))
        verdict = program.run(_frame(), LOOPBACK)[0]
        if verdict != _REDIRECTED:
            return f"this kernel runs the program otherwise than it should (verdict {verdict})"
    except (KernelError, OSError) as error:
        return str(error)
    finally:
        program.remove()
    return ""


def _frame() -> bytes:
    """RTP from `_FAR` to `_NEAR` in Ethernet; its UDP has no checksum."""
    rtp = struct.pack("!BBHII", 0x80, 0, 1, 160, 1) + bytes(160)
    udp = struct.pack("!HHHH", _FAR.port, _NEAR.port, 8 + len(rtp), 0) + rtp
    ends = bytes((127, 0, 0, 1)) * 2
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + ends
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", 0xFFFF & ~(total + (total >> 16))) + ends
    return bytes(12) + b"\x08\x00" + head + udp

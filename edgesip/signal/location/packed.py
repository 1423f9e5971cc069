"""A binding as octets: what the table keeps of one that nobody has touched for a while.

A fixed head, then all texts in one; a third of the memory of the value, and nothing for the garbage
collector to look at. Knows no table.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from edgesip.address import Addr, Flow
from edgesip.signal.location.binding import Binding

# expires roundtrip last_keepalive last_modified, hash of the flow, cflags, nated, UDP: what a glance needs;
# then q, cseq reg_id flags, ports
_HEAD = struct.Struct("<4d2q??d3q2H")
_GLANCE = struct.Struct("<d8x2d2q??")
_BETWEEN = "\0"
_KEEPALIVE = struct.Struct("<dd")
_KEEPALIVE_AT = 8
_EXPIRES = struct.Struct("<d")
_UNHEARD = -1.0


def pack(binding: Binding) -> bytes | None:
    """The octets of a binding; None for one that does not fit: its texts hold NUL."""
    transport, local, remote, peer = binding.flow
    methods = ",".join(binding.methods)
    texts = (
        transport,
        local.host,
        remote.host,
        peer,
        binding.aor,
        binding.contact,
        binding.call_id,
        binding.received,
        binding.user_agent,
        binding.instance,
        binding.path,
        methods,
    )
    text = _BETWEEN.join(texts)
    if text.count(_BETWEEN) != len(texts) - 1 or binding.methods != _methods(methods):
        return None
    try:
        head = _HEAD.pack(
            binding.expires,
            _UNHEARD if binding.roundtrip is None else binding.roundtrip,
            binding.last_keepalive,
            binding.last_modified,
            hash(binding.flow),
            binding.cflags,
            binding.nated,
            transport == "udp",
            binding.q,
            binding.cseq,
            binding.reg_id,
            binding.flags,
            local.port,
            remote.port,
        )
    except struct.error:
        return None
    return head + text.encode("utf-8", "surrogatepass")


def unpack(ruid: str, data: bytes) -> Binding:
    """The binding that `pack` took; its ruid is not among the octets."""
    (
        expires,
        roundtrip,
        last_keepalive,
        last_modified,
        _,
        cflags,
        nated,
        _,
        q,
        cseq,
        reg_id,
        flags,
        local_port,
        remote_port,
    ) = _HEAD.unpack_from(data)
    texts = data[_HEAD.size :].decode("utf-8", "surrogatepass").split(_BETWEEN)
    transport, local, remote, peer, aor, contact, call_id, received, agent, instance, path, methods = texts
    return Binding(
        aor,
        contact,
        expires,
        q,
        call_id,
        cseq,
        received,
        Flow(transport, Addr(local, local_port), Addr(remote, remote_port), peer),
        agent,
        nated,
        instance,
        reg_id,
        ruid,
        _methods(methods),
        path,
        last_modified,
        last_keepalive,
        None if roundtrip == _UNHEARD else roundtrip,
        flags,
        cflags,
    )


def expires_of(data: bytes) -> float:
    """When a packed binding is over."""
    expires: float = _EXPIRES.unpack_from(data)[0]
    return expires


def with_keepalive(data: bytes, last_keepalive: float, roundtrip: float) -> bytes:
    """The same packed binding, heard of at `last_keepalive`."""
    end = _KEEPALIVE_AT + _KEEPALIVE.size
    return data[:_KEEPALIVE_AT] + _KEEPALIVE.pack(roundtrip, last_keepalive) + data[end:]


def glance(data: bytes) -> tuple[float, float, float, int, int, bool, bool]:
    """Of a packed binding: expires, last_keepalive, last_modified, the hash of its flow (that of this
    process), cflags, nated, whether the flow is UDP.
    """
    seen: tuple[float, float, float, int, int, bool, bool] = _GLANCE.unpack_from(data)
    return seen


@lru_cache(maxsize=1024)
def _methods(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()

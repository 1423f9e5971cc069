"""The kernel program where this machine lets us load it; elsewhere the test is skipped with the reason."""

from __future__ import annotations

import errno

import pytest

from edgesip.relay.kernel.bpf import BpfError
from edgesip.relay.kernel.program import KernelError, Program


def load(flows: int = 100) -> Program:
    """A program of the test's own, not pinned. What is not for want of rights is no reason to skip."""
    try:
        return Program.load(flows)
    except KernelError as error:
        if isinstance(error.__cause__, BpfError) and error.__cause__.errno in (errno.EPERM, errno.ENOSYS):
            pytest.skip(str(error))
        raise

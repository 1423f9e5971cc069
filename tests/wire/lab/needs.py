"""What the wire tests need from this machine, and the reason to skip them where it is missing."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

_PROGRAMS = {
    "baresip": "baresip",
    "sipp": "sip-tester",
    "nft": "nftables",
    "tcpdump": "tcpdump",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "linphonec": "linphone-cli",
    "dnsmasq": "dnsmasq-base",
    "kamailio": "kamailio",
}


@functools.cache
def missing() -> str | None:
    """Why the lab cannot be built here, None when it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = sorted(
        package for program, package in _PROGRAMS.items() if not shutil.which(program, path=path)
    )
    if packages:
        return f"wire tests need the Debian packages {' '.join(packages)}"
    if os.geteuid() != 0:
        return "wire tests make network namespaces and need root"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        return "this machine does not let root make network namespaces"
    return None

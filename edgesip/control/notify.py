"""What the service manager is told: sd_notify(3) over the socket that it names in NOTIFY_SOCKET.

Without that variable nobody asked, and nothing is said. Knows nothing of what a server is or does.
"""

from __future__ import annotations

import os
import socket

from edgesip.control import log


def notify(*assignments: str) -> None:
    """Tell the service manager, if there is one: `READY=1`, `STOPPING=1`, `STATUS=one line`.

    A manager that cannot be told is no reason to stop serving: the log says why, once for each attempt.
    """
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    message = "\n".join(one.replace("\n", " ") for one in assignments)
    address = os.fsencode(place)
    if address.startswith(b"@"):  # the abstract namespace of Linux
        address = b"\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1.0)
            sender.sendto(message.encode("utf-8", "surrogateescape"), address)
    except OSError as error:
        write = log.writer("edgesip")
        write("warning", "service manager cannot be told", {"socket": place, "why": str(error)})

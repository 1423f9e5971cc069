"""A flood of requests from forged sources, bounded in rate and time; run as a program inside a namespace.

`flood.py TARGET METHOD RATE SECONDS SOURCES`: each request of a user of its own, from one of so many
addresses of 198.18.0.0/15, which the namespace holds as local ones; SOURCES 0 is the machine's own address.
RATE 0 is as fast as it can. Prints how many it sent.
"""

from __future__ import annotations

import itertools
import socket
import struct
import sys
import time

NETWORK = "198.18.0.0/15"
FIRST = 0xC6120000
BURST = 16
IP_PKTINFO = 8  # not in Python 3.11
_REQUEST = (
    "{method} sip:{user}@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {source}:5060;rport;branch=z9hG4bK{number}\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:{user}@{target}>;tag={number}\r\nTo: <sip:{user}@{target}>\r\n"
    "Call-ID: {number}@{source}\r\nCSeq: 1 {method}\r\nContact: <sip:{user}@{source}:5060>\r\n"
    "Expires: 3600\r\n"
    "User-Agent: Desk 3000 1.2.3.4\r\nAllow: INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO\r\n"
    "Supported: path, replaces\r\nContent-Length: 0\r\n\r\n"
)


def main(target: str, method: str, rate: float, seconds: float, sources: int) -> int:
    """Send until the time is over; how many left."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 5060))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    begin = time.monotonic()
    end = begin + seconds
    numbers = itertools.count()
    sent = 0
    while time.monotonic() < end:
        for number in itertools.islice(numbers, BURST):
            # a multiplier that is odd walks through all of them
            at = FIRST + number * 7919 % sources if sources else 0
            source = socket.inet_ntoa(struct.pack("!I", at))
            text = _REQUEST.format(
                method=method, user=f"u{number}", target=target, source=source, number=number
            )
            ancillary = []
            if sources:
                info = struct.pack("=I4s4s", 0, socket.inet_aton(source), bytes(4))
                ancillary = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
            sock.sendmsg([text.encode()], ancillary, 0, (target, 5060))
            sent += 1
        if rate:
            time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
    return sent


if __name__ == "__main__":
    where, what, *rest = sys.argv[1:]
    print("sent", main(where, what, float(rest[0]), float(rest[1]), int(rest[2])), flush=True)

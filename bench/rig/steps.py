"""Times the steps of a message inside one process: `steps.py COUNT`, JSON on stdout: step to microseconds.

Each message has a branch, tags and a Call-ID of its own, so that no cache knows it already. CPU time, no
sockets. Run with the package to be measured in PYTHONPATH.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.script.sanity import sanity_fault
from edgesip.signal.guard.guard import Guard, GuardSettings
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.nat.detect import nat_uac_test
from edgesip.signal.nat.repair import set_contact_alias
from edgesip.signal.proxy.forward import (
    Copy,
    check_request,
    copy_for,
    preprocess,
    read_all,
    strip_via,
    with_source,
)
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.transaction.hop import server_key
from edgesip.signal.wire.message import parse

INVITE = (
    "INVITE sip:bob@192.0.2.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 10.0.0.2:5070;rport;branch=z9hG4bK-{n}-1-0\r\n"
    'From: "alice" <sip:alice@192.0.2.1>;tag={n}a\r\nTo: <sip:bob@192.0.2.1>\r\nCall-ID: {n}@10.0.0.2\r\n'
    "CSeq: 1 INVITE\r\nContact: <sip:alice@10.0.0.2:5070>\r\nMax-Forwards: 70\r\nUser-Agent: bench\r\n"
    "Allow: INVITE, ACK, BYE, CANCEL\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
)
OK = (
    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;rport=5060;branch=z9hG4bK{n:016x}.0\r\n"
    "Via: SIP/2.0/UDP 10.0.0.2:5070;rport=40000;received=198.51.100.2;branch=z9hG4bK-{n}-1-0\r\n"
    "Record-Route: <sip:192.0.2.1:5060;lr;ftag={n}a;did={n:x}.1>\r\n"
    'From: "alice" <sip:alice@192.0.2.1>;tag={n}a\r\nTo: <sip:bob@192.0.2.1>;tag={n}b\r\n'
    "Call-ID: {n}@10.0.0.2\r\nCSeq: 1 INVITE\r\nContact: <sip:bob@10.0.0.3:5070>\r\n"
    "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
)
HERE = Addr("192.0.2.1", 5060)
ALICE = Flow("udp", HERE, Addr("198.51.100.2", 40000))
BOB = Flow("udp", HERE, Addr("198.51.100.3", 40000))


def each(work: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """CPU time of `work` for one item, microseconds."""
    begin = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - begin) / len(items) * 1e6


def main(count: int) -> None:
    """Take the steps one after the other."""
    gc.set_threshold(5000, 1 << 30, 1 << 30)
    invites = [INVITE.format(n=number).encode() for number in range(count)]
    answers = [OK.format(n=number).encode() for number in range(count)]
    myself = Myself((("udp", HERE),))
    copy = Copy("sip:bob@10.0.0.3:5070", "z9hG4bK1.0", BOB, True, ALICE, "1.2")
    took = {
        "parse an INVITE": each(parse, invites),
        "parse a 200": each(parse, answers),
    }
    requests, responses = [parse(one) for one in invites], [parse(one) for one in answers]
    took["read all that a 200 is routed by"] = each(lambda one: read_all(one.headers), responses)
    took["check a request (16.3)"] = each(check_request, requests)
    took["key of its transaction"] = each(server_key, requests)
    took["received and rport"] = each(lambda one: with_source(one, ALICE.remote), requests)
    sourced = [with_source(one, ALICE.remote) for one in requests]
    took["our Routes off (16.4)"] = each(lambda one: preprocess(one, myself), sourced)
    took["nat_uac_test(19)"] = each(lambda one: nat_uac_test(19, one, ALICE), sourced)
    took["set_contact_alias"] = each(lambda one: set_contact_alias(one.headers, ALICE.remote, "udp"), sourced)
    took["copy of a request (16.6)"] = each(lambda one: copy_for(one, copy, myself), sourced)
    took["write it"] = each(bytes, sourced)
    took["our Via off a 200 (16.7)"] = each(strip_via, responses)
    guard = Guard(GuardSettings(), Usrloc())
    took["count a request (pike)"] = each(lambda one: guard.pike.check("198.51.100.9", 1.0), requests)
    took["sanity_check(17895)"] = each(lambda one: sanity_fault(one, 17895, 7), sourced)
    guard.bans.add(ALICE.remote.host, "", 300.0, 0.0)
    took["who is banned"] = each(lambda one: guard.bans.refuses(one, ALICE, 1.0), invites)
    took["who is not, while others are"] = each(lambda one: guard.bans.refuses(one, BOB, 1.0), invites)
    print(json.dumps(took))


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""A flood of REGISTERs by SIPp: each registers, is challenged, and registers again with credentials.

SIPp keeps a fixed number of them under way, so the server always has the next one waiting.
"""

from __future__ import annotations

from lab.network import SERVER, Host, Network
from lab.process import Process

_SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="registrations">
  <send retrans="500"><![CDATA[
REGISTER sip:[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:{user}@[remote_ip]>;tag=[call_number]
To: <sip:{user}@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:{user}@[local_ip]:[local_port]>
Expires: 600
Content-Length: 0

]]></send>
  <recv response="401" auth="true"/>
  <send retrans="500"><![CDATA[
REGISTER sip:[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:{user}@[remote_ip]>;tag=[call_number]
To: <sip:{user}@[remote_ip]>
Call-ID: [call_id]
CSeq: 2 REGISTER
Contact: <sip:{user}@[local_ip]:[local_port]>
Expires: 600
[authentication username={user} password={password}]
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""


def flood_registers(network: Network, host: Host, user: str, password: str, seconds: int) -> Process:
    """Start it; it ends by itself after `seconds` at the latest."""
    scenario = network.directory / "registrations.xml"
    scenario.write_text(_SCENARIO.format(user=user, password=password))
    return network.start(
        host,
        "sipp",
        *(
            "nice",
            "-n",
            "5",
            "sipp",
            f"{SERVER}:5060",
            "-sf",
            str(scenario),
            "-i",
            host.address,
            "-p",
            "5060",
        ),
        *("-r", "20000", "-l", "100", "-timeout", str(seconds), "-nostdin"),
    )

"""Calls at a fixed rate by SIPp, from a host through the server and back to it: INVITE to BYE, with SDP."""

from __future__ import annotations

from lab.network import SERVER, Host, Network
from lab.process import Process

CALLEE_PORT = 5080
"""Where bob's phone is, and has to have registered from."""
_SDP = """v=0
o=soak 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 40000 RTP/AVP 0
a=rtpmap:0 PCMU/8000"""

_REPLY = """[last_Via:]
[last_From:]
[last_To:];tag=[pid]-[call_number]
[last_Call-ID:]
[last_CSeq:]
[last_Record-Route:]
Contact: <sip:bob@[local_ip]:[local_port]>"""

_REQUEST = """Via: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:alice@[remote_ip]>;tag=[pid]-[call_number]
Call-ID: [call_id]
Contact: <sip:alice@[local_ip]:[local_port]>"""

_ANSWERS = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="answers">
  <recv request="INVITE"/>
  <label id="ring"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
{_REPLY}
Content-Length: 0

]]></send>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
{_REPLY}
Content-Type: application/sdp
Content-Length: [len]

{_SDP}
]]></send>
  <recv request="INVITE" optional="true" next="ring"/>
  <recv request="ACK" optional="true"/>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
  <timewait milliseconds="4000"/>
</scenario>
"""

_CALLS = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="calls">
  <send retrans="500"><![CDATA[
INVITE sip:bob@[remote_ip] SIP/2.0
{_REQUEST}
To: <sip:bob@[remote_ip]>
CSeq: 1 INVITE
Content-Type: application/sdp
Content-Length: [len]

{_SDP}
]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
{_REQUEST}
To: <sip:bob@[remote_ip]>[peer_tag_param]
CSeq: 1 ACK
[routes]
Content-Length: 0

]]></send>
  <pause milliseconds="100"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
{_REQUEST}
To: <sip:bob@[remote_ip]>[peer_tag_param]
CSeq: 2 BYE
[routes]
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""


def answers(network: Network, host: Host) -> Process:
    """Bob's phone, for as long as the test takes."""
    file = network.directory / "soak-answers.xml"
    file.write_text(_ANSWERS)
    where = ("-i", host.address, "-p", str(CALLEE_PORT), "-nostdin")
    return network.start(host, "sipp-answers", "sipp", "-sf", str(file), *where)


def calls(network: Network, host: Host, rate: int, count: int) -> Process:
    """Start `count` calls to bob, `rate` of them a second, or fewer where the server takes more than half a
    second for each.
    """
    file = network.directory / "soak-calls.xml"
    file.write_text(_CALLS)
    where = (f"{SERVER}:5060", "-sf", str(file), "-i", host.address, "-p", "5060", "-nostdin")
    how = ("-r", str(rate), "-l", str(rate // 2), "-m", str(count))
    return network.start(host, "sipp-calls", "sipp", *where, *how)

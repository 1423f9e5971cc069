"""A provider's server played by SIPp: it answers with early media, or calls without an offer.

Its media is a `Stream` on the same host; SIPp only names it in its SDP.
"""

from __future__ import annotations

from lab.network import SERVER, Host, Network
from lab.process import Process

_SDP = """v=0
o=upstream 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio {media} RTP/AVP 0
a=rtpmap:0 PCMU/8000"""

_REPLY = """[last_Via:]
[last_From:]
[last_To:];tag=up[call_number]
[last_Call-ID:]
[last_CSeq:]
[last_Record-Route:]
Contact: <sip:[local_ip]:[local_port]>"""

_ANSWERS = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="early media">
  <recv request="INVITE" rrs="true"/>
  <send><![CDATA[
SIP/2.0 183 Session Progress
{_REPLY}
Content-Type: application/sdp
Content-Length: [len]

{_SDP}
]]></send>
  <pause milliseconds="{{early}}"/>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
{_REPLY}
Content-Type: application/sdp
Content-Length: [len]

{_SDP}
]]></send>
  <recv request="ACK"/>
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
</scenario>
"""

_CALLS = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="late offer">
  <send retrans="500"><![CDATA[
INVITE sip:{{user}}@[remote_ip] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:5550100@[local_ip]>;tag=up[call_number]
To: <sip:{{user}}@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:5550100@[local_ip]:[local_port]>
Content-Length: 0

]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
[routes]
From: <sip:5550100@[local_ip]>;tag=up[call_number]
To: <sip:{{user}}@[remote_ip]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Type: application/sdp
Content-Length: [len]

{_SDP}
]]></send>
  <pause milliseconds="{{talk}}"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
[routes]
From: <sip:5550100@[local_ip]>;tag=up[call_number]
To: <sip:{{user}}@[remote_ip]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""


def _start(network: Network, host: Host, scenario: str, *options: str) -> Process:
    file = network.directory / f"upstream-{host.name}.xml"
    file.write_text(scenario)
    where = ("-i", host.address, "-p", "5060", "-m", "1", "-nostdin", "-timeout", "60")
    return network.start(host, f"sipp-{host.name}", "sipp", *options, "-sf", str(file), *where)


def answers(network: Network, host: Host, media: int, early: float) -> Process:
    """It takes one call: 183 with an answer at once, 200 after `early` s; its media port is `media`."""
    return _start(network, host, _ANSWERS.format(media=media, early=round(early * 1000)))


def calls(network: Network, host: Host, user: str, media: int, talk: float) -> Process:
    """It calls `user` without an offer, answers in its ACK, and hangs up `talk` s later."""
    scenario = _CALLS.format(media=media, user=user, talk=round(talk * 1000))
    return _start(network, host, scenario, f"{SERVER}:5060")

"""Calls of SIPp with media in them: one side plays a file, the other returns what it hears."""

from __future__ import annotations

from lab.network import SERVER, Host, Network
from lab.process import Process
from lab.tones import encode_ulaw, tone

_CALL = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="calls with media">
  <send retrans="500"><![CDATA[
INVITE sip:service@{callee}:5060 SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:sipp@[local_ip]>;tag=[call_number]
To: <sip:service@{callee}:5060>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:sipp@[local_ip]>;tag=[call_number]
To: <sip:service@{callee}:5060>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>
  <nop><action><exec rtp_stream="{file},-1,0"/></action></nop>
  <pause milliseconds="2000"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:sipp@[local_ip]>;tag=[call_number]
To: <sip:service@{callee}:5060>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""

_ANSWER = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="echo">
  <recv request="INVITE" rrs="true"/>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=echo[call_number]
[last_Call-ID:]
[last_CSeq:]
[last_Record-Route:]
Contact: <sip:[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=echo 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
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


def echo(network: Network, host: Host) -> Process:
    """It answers every call, and returns its media."""
    scenario = network.directory / "echo.xml"
    scenario.write_text(_ANSWER)
    where = ("-i", host.address, "-mi", host.address, "-p", "5060", "-nostdin", "-timeout", "120")
    return network.start(host, f"sipp-{host.name}", "sipp", "-sf", str(scenario), "-rtp_echo", *where)


def speaks(network: Network, host: Host, callee: Host, calls: int, rate: int) -> Process:
    """So many calls for the callee's host, so many a second; each says something for two seconds."""
    file, scenario = network.directory / "say.ulaw", network.directory / "speaks.xml"
    file.write_bytes(encode_ulaw(tone(440.0, 1.0)))
    scenario.write_text(_CALL.format(callee=callee.address, file=file))
    where = ("-i", host.address, "-mi", host.address, "-p", "5060", "-nostdin", "-timeout", "60")
    many = ("-m", str(calls), "-r", str(rate))
    return network.start(
        host, f"sipp-{host.name}", "sipp", f"{SERVER}:5060", "-sf", str(scenario), *where, *many
    )

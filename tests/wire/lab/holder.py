"""A caller made of SIPp: it calls, speaks a tone, holds by a null address (RFC 2543), resumes and hangs up.

What it says is an endless loop of PCMU that SIPp streams itself. Knows nothing of the server but its address.
"""

from __future__ import annotations

from lab.network import SERVER, Host, Network
from lab.process import Process
from lab.tones import encode_ulaw, tone

_HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:{user}@[remote_ip]>;tag=[call_number]
Call-ID: [call_id]
Contact: <sip:{user}@[local_ip]:[local_port]>
"""
_SDP = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 {version} IN IP4 [local_ip]
s=-
c=IN IP4 {address}
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
_FIRST = """
  <send retrans="500"><![CDATA[
INVITE sip:{callee}@[remote_ip] SIP/2.0
{head}To: <sip:{callee}@[remote_ip]>
CSeq: {cseq} INVITE
{more}{sdp}
]]></send>"""
_AGAIN = """
  <send retrans="500"><![CDATA[
INVITE [next_url] SIP/2.0
{head}To: [peer_tag_param_to]
CSeq: {cseq} INVITE
[routes]
{sdp}
]]></send>
  <recv response="100" optional="true"/>
  <recv response="200"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
{head}To: [peer_tag_param_to]
CSeq: {cseq} ACK
[routes]
Content-Length: 0

]]></send>"""


def _sdp(version: int, address: str) -> str:
    return _SDP.format(version=version, address=address)


def _scenario(user: str, password: str, callee: str, seconds: float, voice: str) -> str:
    head = _HEAD.format(user=user)
    to = f"<sip:{callee}@[remote_ip]>[peer_tag_param]"
    again = _AGAIN.replace("[peer_tag_param_to]", to)
    pause = f'\n  <pause milliseconds="{round(seconds * 1000)}"/>'
    challenged = _FIRST.format(head=head, callee=callee, cseq=1, more="", sdp=_sdp(1, "[local_ip]"))
    credentials = f"[authentication username={user} password={password}]\n"
    answered = _FIRST.format(head=head, callee=callee, cseq=2, more=credentials, sdp=_sdp(1, "[local_ip]"))
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="hold and resume">{challenged}
  <recv response="100" optional="true"/>
  <recv response="407" auth="true"/>
  <send><![CDATA[
ACK sip:{callee}@[remote_ip] SIP/2.0
{head}To: {to}
CSeq: 1 ACK
Content-Length: 0

]]></send>{answered}
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
{head}To: {to}
CSeq: 2 ACK
[routes]
Content-Length: 0

]]></send>
  <nop><action><exec rtp_stream="{voice},-1,0,PCMU/8000"/></action></nop>{pause}{
        again.format(head=head, cseq=3, sdp=_sdp(2, "0.0.0.0"))
    }{pause}{again.format(head=head, cseq=4, sdp=_sdp(3, "[local_ip]"))}{pause}
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
{head}To: {to}
CSeq: 5 BYE
[routes]
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""


def hold_and_resume(
    network: Network, host: Host, user: str, password: str, callee: str, seconds: float, frequency: float
) -> Process:
    """Start the call: so many seconds of talk, of hold, and of talk again; SIPp ends with it."""
    voice = network.directory / f"{user}.ulaw"
    voice.write_bytes(encode_ulaw(tone(frequency, 1.0)))
    scenario = network.directory / "holder.xml"
    scenario.write_text(_scenario(user, password, callee, seconds, str(voice)))
    arguments = ("sipp", f"{SERVER}:5060", "-sf", str(scenario), "-i", host.address, "-p", "5060")
    more = ("-m", "1", "-nostdin", "-timeout", "60", "-auth_uri", f"{callee}@{SERVER}")
    return network.start(host, f"sipp-{user}", *arguments, *more)

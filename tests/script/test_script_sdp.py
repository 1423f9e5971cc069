"""Scripts and SDP: what is taken out is neither sent nor relayed, in requests, branches and answers."""

from __future__ import annotations

from pathlib import Path

from talk import SDP, Talk

from edgesip.address import Addr
from edgesip.script import load

HEAD = "from edgesip.script import *\n\n"
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
)
RELAYED = b"a=offered-by:caller\r\n"


def talking(directory: Path, code: str) -> Talk:
    path = directory / "route.py"
    path.write_text(HEAD + code)
    return Talk(script=load(path))


def test_the_relay_is_offered_what_the_script_left(tmp_path: Path) -> None:
    talk = talking(
        tmp_path,
        "def request(call):\n"
        "    call.rtpproxy_manage()\n"
        "    assert call.sdp_with_active_media('video') and call.sdp_with_codecs_by_name('PCMU,opus')\n"
        "    assert call.sdp_keep_codecs_by_name('PCMA,telephone-event', 'audio')\n"
        "    assert call.sdp_remove_media('video') and not call.sdp_remove_media('video')\n"
        "    assert call.sdp_with_media('video'), 'reads see what came'\n"
        "    assert call.fmt('$sdp(m0:rtp:port) $sdp(c:ip)') == '4000 192.0.2.7'\n"
        "    return Forward(('sip:bob@198.51.100.77',))\n",
    )
    alice = talk.phone("alice", nat=True, at=Addr("198.51.100.9", 40009))
    talk >> alice.invite("bob", body=OFFER) << (alice, 100)
    sent = talk.request(Addr("198.51.100.77", 5060), "INVITE")
    assert sent.body.endswith(RELAYED), "the relay had the last word"
    assert b"m=audio 4000 RTP/AVP 8 101\r\n" in sent.body
    assert b"m=video 0 RTP/AVP 96\r\n" in sent.body
    assert b"H264" not in sent.body


def test_a_branch_may_be_offered_less_than_another(tmp_path: Path) -> None:
    talk = talking(
        tmp_path,
        "def request(call):\n"
        "    call.rtpproxy_manage()\n"
        "    return Forward(('sip:bob@198.51.100.77', 'sip:bob@198.51.100.78'))\n\n"
        "def branch(call):\n"
        "    if call.index == 1:\n"
        "        call.sdp_remove_codecs_by_id('0')\n",
    )
    alice = talk.phone("alice", nat=True, at=Addr("198.51.100.9", 40009))
    talk >> alice.invite("bob", body=OFFER) << (alice, 100)
    first = talk.request(Addr("198.51.100.77", 5060), "INVITE")
    second = talk.request(Addr("198.51.100.78", 5060), "INVITE")
    assert (b"RTP/AVP 0 8 101" in first.body, b"RTP/AVP 8 101" in second.body) == (True, True)
    assert first.body.endswith(RELAYED)
    assert second.body.endswith(RELAYED)


def test_the_relay_is_answered_what_the_script_left(tmp_path: Path) -> None:
    talk = talking(
        tmp_path,
        "def request(call):\n"
        "    call.rtpproxy_manage()\n"
        "    return Forward(('sip:bob@198.51.100.77',))\n\n"
        "def reply(call):\n"
        "    if call.sdp_content():\n"
        "        call.sdp_remove_codecs_by_name('PCMA')\n",
    )
    alice = talk.phone("alice", nat=True, at=Addr("198.51.100.9", 40009))
    bob = talk.phone("bob", at=Addr("198.51.100.77", 5060))
    talk >> alice.invite("bob", body=OFFER) << (alice, 100)
    invite = talk.request(bob.at, "INVITE")
    talk >> bob.reply(invite, 200, body=OFFER)
    answer = talk.response(alice, 200)
    assert b"m=audio 4000 RTP/AVP 0 101\r\n" in answer.body
    assert answer.body.endswith(b"a=answered-by:callee\r\n")
    assert SDP not in answer.body

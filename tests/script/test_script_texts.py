"""Texts with pseudo-variables: what each is, what may be done to it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from talk import SDP, Talk

from edgesip.address import Addr
from edgesip.script import (
    Call,
    ContactEvent,
    DialogEvent,
    FailureCall,
    FlowEvent,
    ReplyCall,
    ScriptError,
    load,
)
from edgesip.script.template import filled, pieces
from edgesip.script.transform import TRANSFORMATIONS, substitution, transformation
from edgesip.script.variables import FUNCTIONS, VARIABLES

KINDS = (Call, FailureCall, ReplyCall, DialogEvent, ContactEvent, FlowEvent)


class Thing:
    """Something with a user and a header."""

    from_user = "alice"
    to_user = ""
    from_uri = "sip:alice;tel=1@example.net:5070;transport=tcp;x=y"
    source_port = 5060
    dlg_lifetime = 1.25
    body = b"v=0\r\nc=IN IP4 192.0.2.1\r\n"

    def hdr(self, name: str) -> str:
        return {"Contact": '"Bob, too" <sip:bob@h;a=1>;expires=60;q=0.5'}.get(name, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$fU called", "alice called"),
        ("<$fU>$fU.", "<alice>alice."),
        ("costs $$5, $$fU", "costs $5, $fU"),
        ("$(fU)", "alice"),
        ("$(fU{s.toupper}{s.len})", "5"),
        ("$hdr(X-None)|", "|"),
        ("$(hdr(Contact){nameaddr.uri}{uri.user})", "bob"),
        ("$sp", "5060"),
        ("$DLG_lifetime", "1.250"),
        ("$(rb{line.sw,c=}{s.select,-1, })", "192.0.2.1"),
        ("$(fU{re.subst,/^(.)(.*)$/\\2-\\1/})", "lice-a"),
        ("$(fU{re.subst,/[a-c]{1,2}/x/g})", "xlixe"),
    ],
)
def test_texts_are_filled_in(text: str, expected: str) -> None:
    assert filled(text, Thing()) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("$xyz", "no variable $xyz"),
        ("$T_req($xyz)", "no variable $xyz"),
        ("10 $ more", "a variable has a name"),
        ("$", "a variable has a name"),
        ("$hdr", "wants an argument"),
        ("$hdr(X", "no ) at its end"),
        ("$(fU{s.nothing})", "no transformation {s.nothing}"),
        ("$(fU{s.len)", "no } at its end"),
        ("$(fU", "no ) after the variable"),
        ("$(fU{s.substr,1})", "wants 2 arguments"),
        ("$(fU{s.substr,a,b})", "must be a number"),
        ("$(fU{re.subst,abc})", "/pattern/replacement/flags"),
        ("$(fU{re.subst,/(/x/})", "unterminated"),
        ("$(fU{re.subst,/a/\\2/})", "invalid group reference"),
    ],
)
def test_what_does_not_exist_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        pieces(text)
    assert told in str(caught.value)


def test_a_variable_that_this_thing_has_not_is_told() -> None:
    with pytest.raises(ValueError, match=r"\$rs: not known here"):
        filled("$rs", Thing())


@pytest.mark.parametrize(
    ("how", "value", "expected"),
    [
        ("s.len", "äb", "3"),
        ("s.int", " 12ab", "12"),
        ("s.int", "ab", "0"),
        ("s.md5", "a", "0cc175b9c0f1b6a831c399e269772661"),
        ("s.sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("s.lower", "AbC", "abc"),
        ("s.upper", "AbC", "ABC"),
        ("s.tolower", "AbC", "abc"),
        ("s.toupper", "AbC", "ABC"),
        ("s.substr,1,2", "abcde", "bc"),
        ("s.substr,-2,0", "abcde", "de"),
        ("s.substr,-9,2", "abc", "ab"),
        ("s.select,1,-", "a-b-c", "b"),
        ("s.select,-1,-", "a-b-c", "c"),
        ("s.select,7,-", "a-b-c", ""),
        ("s.replace,a,xy", "banana", "bxynxynxy"),
        ("s.rm,an", "banana", "ba"),
        ("s.before,@", "a@b@c", "a"),
        ("s.after,@", "a@b@c", "b@c"),
        ("s.strip,2", "abc", "c"),
        ("s.striptail,2", "abc", "a"),
        ("s.striptail,9", "abc", ""),
        ("s.trim", " a ", "a"),
        ("s.ltrim", " a ", "a "),
        ("s.rtrim", " a ", " a"),
        ("s.count,a", "banana", "3"),
        ("s.numeric", "+49 (30) 1", "49301"),
        ("s.unquote", '"a\\"b"', 'a"b'),
        ("s.unbracket", "<sip:a@b>", "sip:a@b"),
        ("s.encode.hexa", "az", "617a"),
        ("s.decode.hexa", "617a", "az"),
        ("s.decode.hexa", "zz", ""),
        ("s.encode.base64", "az", "YXo="),
        ("s.decode.base64", "YXo=", "az"),
        ("s.decode.base64", "?", ""),
        ("s.escape.user", "a b@", "a%20b%40"),
        ("s.unescape.user", "a%20b", "a b"),
        ("s.escape.param", "a;b", "a%3Bb"),
        ("s.unescape.param", "a%3Bb", "a;b"),
        ("uri.user", "sip:a%20b@h", "a%20b"),
        ("uri.host", "sip:a@H.example:5070", "h.example"),
        ("uri.port", "sip:a@h:5070", "5070"),
        ("uri.port", "sip:a@h", ""),
        ("uri.scheme", "tel:+491", "tel"),
        ("uri.transport", "sip:a@h;transport=tcp", "tcp"),
        ("uri.param,x", "sip:a@h;x=1;y", "1"),
        ("uri.params", "sip:a@h;x=1;y", "x=1;y"),
        ("uri.headers", "sip:a@h?b=c", "b=c"),
        ("uri.saor", "sip:a@h:5070;x=1", "sip:a@h"),
        ("uri.host", "no uri", ""),
        ("nameaddr.name", '"A B" <sip:a@h>', "A B"),
        ("nameaddr.uri", '"A B" <sip:a@h>;x', "sip:a@h"),
        ("nameaddr.len", "<sip:a@h>", "9"),
        ("nameaddr.uri", "<<", ""),
        ("tobody.uri", "<sip:a@h>;tag=1", "sip:a@h"),
        ("tobody.tag", "<sip:a@h>;tag=1", "1"),
        ("tobody.user", "<sip:a@h>;tag=1", "a"),
        ("tobody.host", "<sip:a@h>;tag=1", "h"),
        ("tobody.display", "A <sip:a@h>;tag=1", "A"),
        ("param.value,B", "a=1;b=2", "2"),
        ("param.value,b,&", "a=1&b=2", "2"),
        ("param.value,b,", "a=1,b=2", "2"),
        ("param.value,c", "a=1;b=2", ""),
        ("param.valueat,-1", "a=1;b=2", "2"),
        ("param.name,0", "a=1;b=2", "a"),
        ("param.name,5", "a=1;b=2", ""),
        ("param.count", "a=1;b=2", "2"),
        ("line.count", "a\r\nb\r\n", "2"),
        ("line.at,1", "a\r\nb\r\n", "b"),
        ("line.sw,m=", "v=0\r\nm=audio 1\r\n", "m=audio 1"),
        ("re.subst,/a+/x/", "aabaa", "xbaa"),
        ("re.subst,/A/x/ig", "aba", "xbx"),
        ("re.subst,#/#-#", "a/b", "a-b"),
        ("re.subst,/\\//-/", "a/b", "a-b"),
    ],
)
def test_transformations(how: str, value: str, expected: str) -> None:
    assert transformation(how).of(value) == expected


def test_every_transformation_is_tested() -> None:
    marks = [mark for mark in test_transformations.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    tested = {case[0].partition(",")[0] for case in marks[0].args[1]}
    assert tested == set(TRANSFORMATIONS)


@pytest.mark.parametrize("text", ["", "/a/b", "aXbXcX", "/a/b/q", "/a/b/c/d"])
def test_what_is_no_substitution_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be /pattern/replacement/flags"):
        substitution(text)


def test_every_variable_is_an_attribute_of_something() -> None:
    for name in {*VARIABLES.values(), *FUNCTIONS.values()}:
        assert any(name in dir(kind) for kind in KINDS), name


# ---- in a script


def asked(directory: Path, text: str, **more: Any) -> str:
    """What `call.fmt(text)` of a request gives."""
    path = directory / "route.py"
    path.write_text(
        f"from edgesip.script import *\n\ndef request(call):\n    return Reply(299, call.fmt({text!r}))\n"
    )
    talk = Talk(script=load(path))
    alice = talk.phone("alice", nat=True, at=Addr("198.51.100.77", 40077))
    talk >> alice.invite("bob", call_id="the-call", **more)
    return talk.response(alice, 299).reason


ALL = [
    ("$ru|$rU|$rd|$rp|$rP|$rz", "sip:bob@203.0.113.1|bob|203.0.113.1|5060|udp|sip"),
    ("$ou|$oU|$du", "sip:bob@203.0.113.1|bob|"),
    ("$rm|$ci|$cs", "INVITE|the-call|1"),
    ("$fu|$fU|$fd|$ft|$fn", "sip:alice@203.0.113.1|alice|203.0.113.1|from-the-call|"),
    ("$tu|$tU|$td|$tt|$tn", "sip:bob@203.0.113.1|bob|203.0.113.1||"),
    ("$si|$sp|$proto|$pr|$Ri|$Rp", "198.51.100.77|40077|udp|udp|203.0.113.1|5060"),
    ("$su|$source_uri", "sip:198.51.100.77:40077|sip:198.51.100.77:40077"),
    ("$ct|$cT", "<sip:alice@192.168.1.10:5060>|application/sdp"),
    ("$cl", str(len(SDP))),
    ("$rr_count|$rr_top_count|$route_uri", "0|0|"),
    ("$au|$ar|$DLG_status|$DLG_lifetime|$dlg(callid)", "||||"),
    ("$ua|$ai|$pu|$di|$rt", "||||"),
    ("$hdr(max-forwards)|$hdrc(Via)|$hdrc(X)", "70|1|0"),
    ("<$keepalive.socket(sip:198.51.100.1:5060)>", "<>"),
    ("$(rb{s.substr,0,3})|$(mb{s.substr,0,6})", "v=0|INVITE"),
]


@pytest.mark.parametrize(("text", "expected"), ALL)
def test_what_a_request_tells_by_its_variables(tmp_path: Path, text: str, expected: str) -> None:
    assert asked(tmp_path, text) == expected


def test_identities_and_record_routes(tmp_path: Path) -> None:
    headers = [
        ("User-Agent", "phone/1"),
        ("P-Asserted-Identity", '"A" <sip:a@h>, <tel:+49>'),
        ("P-Preferred-Identity", "<sip:p@h>"),
        ("Diversion", "<sip:d@h>;reason=busy"),
        ("Refer-To", "<sip:r@h>"),
        ("Record-Route", "<sip:192.0.2.1;r2=on;lr>, <sip:192.0.2.2;r2=on;lr>"),
        ("Record-Route", "<sip:192.0.2.3;lr>"),
        ("Proxy-Authorization", 'Digest username="al", realm="r"'),
    ]
    text = "$ua|$ai|$pu|$di|$rt|$rr_count|$rr_top_count|$au|$ar"
    expected = "phone/1|sip:a@h|sip:p@h|sip:d@h|sip:r@h|3|2|al|r"
    assert asked(tmp_path, text, headers=headers) == expected


def test_a_variable_that_does_not_exist_is_found_when_the_script_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "route.py"
    path.write_text("def request(call):\n    log = 1\n    call.fmt('$fU to $tX')\n")
    with pytest.raises(ScriptError, match=r"line 3: there is no variable \$tX"):
        load(path)

"""`edgesip route test`: a message goes through a script, is told step by step, and goes nowhere."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from edgesip.address import Addr, Flow
from edgesip.cli.fail import Fail
from edgesip.cli.main import app
from edgesip.signal.location.usrloc import Binding
from edgesip.store.api import Write
from edgesip.store.sqlite import SqliteStore
from edgesip.store.subscribers import SqliteSubscribers

SDP = "".join(
    f"{line}\r\n"
    for line in (
        "v=0",
        "o=- 1 1 IN IP4 192.168.1.10",
        "s=-",
        "c=IN IP4 192.168.1.10",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0",
    )
)


def message(method: str = "INVITE", uri: str = "sip:bob@127.0.0.1", more: str = "", to_tag: str = "") -> str:
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK-1\r\n{more}"
        f"Max-Forwards: 70\r\nFrom: <sip:alice@127.0.0.1>;tag=1\r\nTo: <{uri}>{to_tag}\r\nCall-ID: abc\r\n"
        f"CSeq: 1 {method}\r\nContact: <sip:alice@192.168.1.10:5060>\r\nContent-Type: application/sdp\r\n"
        f"Content-Length: {len(SDP)}\r\n\r\n{SDP}"
    )


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def tried(state: Path, text: str, *more: str) -> Done:
    """The verb, in this process: it starts slowly and is asked often."""
    file = state.parent / "message.sip"
    file.write_text(text, newline="")
    words = ["route", "test", str(file), "--profile", "nat-sbc", "--state-dir", str(state)]
    words += ["--listen", "udp:127.0.0.1:5060", *more]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            typer.main.get_command(app).main(words, "edgesip", standalone_mode=False)
    except Fail as fail:
        return Done(fail.code, out.getvalue(), fail.message)
    return Done(0, out.getvalue(), "")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def as_json(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


BINDING = "bob=sip:bob@192.168.7.7:5060;received=198.51.100.9:41000"
FROM = ("--source", "udp:198.51.100.7:40000")


def test_every_step_the_decision_and_what_would_leave_are_told(state: Path) -> None:
    done = tried(state, message(), *FROM, "--as", "alice", "--binding", BINDING)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    for expected in (
        "is_foreign() -> False",
        "proxy_authenticate() -> None: alice is believed",
        "nat_uac_test(19) -> True (1: the Contact is private; 2: the Via is not the source; "
        "16: the source port is not the Via's)",
        "lookup() -> 1 binding: sip:bob@192.168.7.7:5060 at udp:198.51.100.9:41000",
        "set_contact_alias() -> True",
        "decision: Forward to sip:bob@192.168.7.7:5060",
        "rtpproxy_manage('f') -> 1",
        "wanted: rtpproxy_manage('f')",
        "would leave by udp:127.0.0.1:5060 to 198.51.100.9:41000:",
        "INVITE sip:bob@192.168.7.7:5060 SIP/2.0",
        "Contact: <sip:alice@192.168.1.10:5060;alias=198.51.100.7~40000~1>",
        "c=IN IP4 127.0.0.1",
    ):
        assert expected in lines
    assert not state.exists()


def test_the_state_directory_is_read_and_left_alone(state: Path) -> None:
    state.mkdir()
    users = SqliteSubscribers(state / "subscribers.db")
    users.add("carol", "secret", "edgesip")
    users.close()
    flow = Flow("udp", Addr("127.0.0.1", 5060), Addr("198.51.100.10", 5060))
    store = SqliteStore(state / "location.db")
    for user, left in (("bob", 600.0), ("dave", -1.0)):
        binding = Binding(
            user, f"sip:{user}@198.51.100.10", left, -1.0, "c", 1, "", flow, "", False, "", 0, user
        )
        store.commit([Write(None, ("location", user), binding.record(time.time()))])
    store.close()
    before = {file: file.read_bytes() for file in sorted(state.iterdir())}

    def decided(user: str) -> str:
        text = message(uri=f"sip:{user}@127.0.0.1")
        return str(as_json(tried(state, text, *FROM, "--as", "alice", "-o", "json"))["decision"])

    assert decided("bob") == "Forward to sip:bob@198.51.100.10"
    assert decided("carol") == "Reply 480"
    assert decided("dave") == "Reply 404"
    assert {file: file.read_bytes() for file in sorted(state.iterdir())} == before


def test_without_a_password_the_answer_is_a_challenge_and_the_way_on_is_told(state: Path) -> None:
    found = as_json(tried(state, message(), *FROM, "-o", "json"))
    assert found["decision"] == "Challenge 407"
    assert found["remarks"] == ["--as USER goes on as if the password had been right"]
    (sent,) = found["sent"]
    assert sent["to"] == "198.51.100.7:40000"
    assert sent["message"].startswith("SIP/2.0 407 ")


def test_the_source_is_what_the_via_says_when_nobody_says_more(state: Path) -> None:
    found = as_json(tried(state, message(), "-o", "json"))
    assert found["sent"][0]["to"] == "192.168.1.10:5060"
    done = tried(state, message().replace("192.168.1.10:5060;branch", "phone.example;branch"))
    assert done.returncode == 1
    assert "say by --source where it came from" in done.stderr


def test_a_foreign_domain_is_told_with_ours(state: Path) -> None:
    found = as_json(tried(state, message(uri="sip:bob@elsewhere.example"), *FROM, "-o", "json"))
    assert found["decision"] == "Reply 403 Not our domain"
    assert "127.0.0.1" in found["remarks"][0]


def test_a_name_is_not_looked_up_and_that_is_said(state: Path) -> None:
    more = ("--as", "alice", "--set", "upstream=sip:trunk.example", "-o", "json")
    found = as_json(tried(state, message(uri="sip:499@127.0.0.1"), *FROM, *more))
    assert found["decision"] == "Forward to sip:499@trunk.example"
    assert found["remarks"] == [
        "trunk.example is not looked up here, so no source is the upstream",
        "trunk.example is not looked up here: 192.0.2.1 stands for what DNS would say",
    ]
    assert found["sent"][-1]["to"] == "192.0.2.1:5060"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no message"),
        ("hello\r\n\r\n", "bad start line"),
        (message().replace("CSeq: 1 INVITE", "CSeq: 1 BYE"), "CSeq method is not the request's"),
        (message().replace("Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK-1\r\n", ""), "no Via"),
        (
            message().replace(f"Content-Length: {len(SDP)}", "Content-Length: 999"),
            f"{len(SDP)} octets follow",
        ),
    ],
)
def test_what_cannot_be_read_is_told(state: Path, text: str, told: str) -> None:
    done = tried(state, text, *FROM)
    assert done.returncode == 1
    assert told in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (message(to_tag=";tag=2"), "SIP/2.0 481 "),
        (message().replace("Max-Forwards: 70", "Max-Forwards: 0"), "SIP/2.0 483 "),
        (message("ACK"), "nothing would leave"),
        (message().replace("INVITE sip:bob@127.0.0.1 SIP/2.0", "SIP/2.0 200 OK"), "nothing would leave"),
    ],
)
def test_what_no_script_is_asked_about_says_so(state: Path, text: str, told: str) -> None:
    done = tried(state, text, *FROM)
    assert done.returncode == 0
    assert "no script is asked about this" in done.stdout
    assert told in done.stdout


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (("--source", "smoke:1.2.3.4"), 1, "is not TRANSPORT:ADDRESS"),
        (("--source", "tcp:1.2.3.4"), 1, "nothing listens for tcp"),
        (("--binding", "bob"), 1, "is not USER=URI"),
        (("--binding", "bob=nothing"), 1, "URI"),
        (("--set", "route=/nowhere.py"), 78, "there is no file /nowhere.py"),
    ],
)
def test_wishes_that_cannot_be_met(state: Path, more: tuple[str, ...], code: int, told: str) -> None:
    done = tried(state, message(), *more)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert told in done.stderr


def test_a_script_that_raises_is_told_with_its_line(state: Path, tmp_path: Path) -> None:
    script = tmp_path / "route.py"
    script.write_text("async def request(call):\n    call.append_hf('To', 'x')\n")
    found = as_json(tried(state, message(), *FROM, "--set", f"route={script}", "-o", "json"))
    assert found["fault"].startswith("ValueError: To is the proxy's to write (line 2 in request")
    assert found["decision"] == "Reply 500 Server Internal Error"
    assert found["steps"][-1]["answer"] == "raised ValueError: To is the proxy's to write"


def test_what_the_registrar_refuses_is_asked_about(state: Path, tmp_path: Path) -> None:
    text = message("REGISTER", "sip:127.0.0.1", "Expires: 10\r\n").replace("sip:bob@", "sip:")
    script = tmp_path / "route.py"
    head = "from edgesip.script import *\n\ndef request(call):\n    return Save()\n\n"
    script.write_text(head)
    more = (*FROM, "--set", f"route={script}", "-o", "json")
    found = as_json(tried(state, text.replace("To: <sip:127", "To: <sip:alice@127"), *more))
    assert found["decision"] == "Save"
    assert found["sent"][0]["message"].startswith("SIP/2.0 423 ")
    script.write_text(head + "async def save_failed(call):\n    return Reply(403, call.fmt('$rs'))\n")
    found = as_json(tried(state, text.replace("To: <sip:127", "To: <sip:alice@127"), *more))
    assert [step["asked"] for step in found["steps"]] == [
        "Save: refused, so save_failed(call)",
        "fmt('$rs')",
    ]
    assert found["decision"] == "Reply 403 423"
    assert found["sent"][0]["message"].startswith("SIP/2.0 403 423")

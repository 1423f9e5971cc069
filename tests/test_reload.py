"""A running server takes up a changed script and profile, and keeps the old ones when the new ones fail."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgesip import live, profile

SECONDS = 60.0
EDGESIP = [sys.executable, "-m", "edgesip.cli.main"]
ROUTE = "from edgesip.script import Reply\n\n\ndef request(call):\n    return Reply({})\n"


class House:
    """A server on loopback with a profile of its own."""

    def __init__(self, directory: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.state, self.log = directory / "state", directory / "log"
        self.toml, self.route = directory / "house.toml", directory / "route.py"
        self.write(201)
        self.toml.write_text(f'listen = ["udp:127.0.0.1:{self.port}"]\nroute = "route.py"\n')
        self.sink = self.log.open("w")
        words = ["run", "--profile", str(self.toml), "--state-dir", str(self.state)]
        self.server = subprocess.Popen([*EDGESIP, *words], stderr=self.sink, text=True)
        self.told("ready ")

    def write(self, status: object) -> None:
        self.route.write_text(ROUTE.format(status))

    def told(self, text: str) -> None:
        """Wait until the log has this text."""
        end = time.monotonic() + SECONDS
        while text not in self.log.read_text():
            assert self.server.poll() is None, self.log.read_text()
            assert time.monotonic() < end, f"no {text!r}: {self.log.read_text()}"
            time.sleep(0.05)

    def answer(self) -> str:
        """The status line that an OPTIONS gets."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.settimeout(SECONDS)
            phone.connect(("127.0.0.1", self.port))
            host, port = phone.getsockname()
            via = f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{port}"
            phone.send(
                f"OPTIONS sip:127.0.0.1:{self.port} SIP/2.0\r\nVia: {via}\r\n"
                f"From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: {port}{time.monotonic()}\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
            )
            return phone.recv(65536).decode().splitlines()[0]

    def reload(self, *more: str) -> subprocess.CompletedProcess[str]:
        words = [*EDGESIP, "reload", "--state-dir", str(self.state), *more]
        return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    try:
        yield found
        found.server.terminate()
        assert found.server.wait(SECONDS) == 0
    finally:
        found.server.kill()
        found.server.wait()
        found.sink.close()


def test_a_script_is_taken_up_and_a_bad_one_is_not(house: House) -> None:
    assert house.answer() == "SIP/2.0 201 Unknown"
    house.write(202)
    done = house.reload()
    assert (done.returncode, done.stderr) == (0, f"{house.route}: taken up\n")
    assert house.answer() == "SIP/2.0 202 Accepted"
    house.write("(")
    done = house.reload()
    assert done.returncode == 1
    assert f"{house.route}: " in done.stderr
    assert house.answer() == "SIP/2.0 202 Accepted"
    house.write("203, call.fmt('$nothing')")
    assert "line 5: there is no variable $nothing" in house.reload().stderr
    assert house.answer() == "SIP/2.0 202 Accepted"


def test_the_profile_is_read_anew_and_says_what_takes_a_restart(house: House) -> None:
    text = house.toml.read_text()
    house.toml.write_text(f"{text}[registrar]\nmax_contacts = 3\n[tm]\nwt_timer = 4000\n")
    done = house.reload("-o", "json")
    expected = {
        "route": str(house.route),
        "changed": [
            "registrar.max_contacts",
        ],
        "restart": ["tm.wt_timer"],
    }
    assert json.loads(done.stdout) == expected
    assert house.reload().stderr.splitlines()[1:] == ["takes a restart: tm.wt_timer"]
    house.toml.write_text(f"{text}[registrar]\nmax_contact = 3\n")
    done = house.reload()
    assert done.returncode == 1
    assert "did you mean registrar.max_contacts?" in done.stderr
    house.toml.write_text(text)
    assert house.reload().stderr.splitlines()[1:] == ["changed: registrar.max_contacts"]


def test_sighup_does_the_same_and_tells_the_log(house: House) -> None:
    house.write(204)
    house.server.send_signal(signal.SIGHUP)
    house.told("reloaded")
    assert house.answer() == "SIP/2.0 204 No Notification"
    house.write("(")
    house.server.send_signal(signal.SIGHUP)
    house.told("reload failed")
    assert house.answer() == "SIP/2.0 204 No Notification"


def test_a_reload_without_a_server_says_so(tmp_path: Path) -> None:
    words = [*EDGESIP, "reload", "--state-dir", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 4
    assert "no server answers" in done.stderr


def test_every_living_key_is_a_key_and_is_taken(tmp_path: Path) -> None:
    old = profile.load("nat-sbc", default_state_dir=tmp_path)
    other = tmp_path / "route.py"
    other.write_text(ROUTE.format(200))
    sets = [
        f"route={other}",
        "upstream_users=[0-9]",
        "auth.enabled=false",
        "auth.add_authinfo_hdr=true",
        "auth.algorithm=MD5,SHA-256",
        "auth.auth_checks_in_dlg=0",
        "auth.auth_checks_no_dlg=1",
        "auth.auth_checks_register=2",
        "auth.backoff_after=9",
        "auth.backoff_max=9",
        "auth.nc_array_size=99",
        "auth.nonce_auth_max_drift=9",
        "auth.nonce_count=true",
        "auth.nonce_expire=9",
        "auth.one_time_nonce=true",
        "auth.qop=auth-int",
        "auth.realm_prefix=sip.",
        "auth.use_domain=true",
        "usrloc.matching_mode=1",
        "usrloc.cseq_delay=21",
        "usrloc.handle_lost_tcp=false",
        "usrloc.close_expired_tcp=true",
        "registrar.default_expires=61",
        "registrar.min_expires=1",
        "registrar.max_expires=62",
        "registrar.use_expired_contacts=true",
        "registrar.lookup_filter_mode=3",
        "registrar.max_contacts=1",
        "registrar.default_expires_range=1",
        "registrar.expires_range=1",
        "registrar.min_expires_mode=0",
        "registrar.default_q=1",
        "registrar.retry_after=1",
        "registrar.contact_max_size=100",
        "registrar.received_param=seen",
        "registrar.sock_hdr_name=X-Sock",
        "registrar.method_filtering=true",
        "registrar.append_branches=false",
        "registrar.use_path=true",
        "registrar.path_mode=1",
        "registrar.path_use_received=true",
        "registrar.path_check_local=true",
        "registrar.gruu_enabled=false",
        "registrar.outbound_mode=2",
        "registrar.regid_mode=1",
        "registrar.flow_timer=60",
        "registrar.service_route=sip:edge.example.net;lr",
        "path.received_format=1",
        "path.received_name=seen",
        "path.enable_r2=false",
        "registrar.case_sensitive=true",
        "stun.enabled=false",
        "stun.servers=192.0.2.3",
        "usrloc.ka_mode=1",
        "usrloc.ka_interval=9",
        "usrloc.ka_randomize=9",
        "usrloc.ka_timeout=99",
        "usrloc.ka_method=INFO",
        "usrloc.ka_from=sip:a@example.net",
        "usrloc.ka_domain=example.net",
        "usrloc.ka_reply_codes=2,404",
        "usrloc.ka_loglevel=1",
        "nathelper.natping_interval=26",
        "nathelper.ping_nated_only=true",
        "nathelper.sipping_bflag=8",
        "nathelper.sipping_method=INFO",
        "nathelper.sipping_from=sip:a@example.net",
        "nathelper.natping_disable_bflag=9",
        "nathelper.keepalive_timeout=90",
        "nathelper.ignore_path=true",
        "nathelper.nat_addr_mode=0",
        "nathelper.nortpproxy_str=a=x",
        "nathelper.append_sdp_oldmediaip=false",
        "nathelper.alias_name=hole",
        "nat_traversal.keepalive_interval=31",
        "nat_traversal.keepalive_method=OPTIONS",
        "nat_traversal.keepalive_from=sip:a@example.net",
        "nat_traversal.keepalive_extra_headers=X-A: 1",
        "nat_traversal.contact_match=1",
        "nat_traversal.adaptive=false",
        "nat_traversal.adaptive_max_interval=99",
        "dialog.max_subscriptions=5",
        "dialog.max_user_subscriptions=2",
        "permissions.address=2 192.0.2.1",
        "permissions.address_file=addresses",
        "permissions.rule_files=calls",
        "permissions.trusted_file=trusted",
        "permissions.subnet_match_mode=1",
        "permissions.max_subnets=9",
        "permissions.reload_delta=9",
        "pike.sampling_time_unit=9",
        "pike.reqs_density_per_unit=9",
        "pike.remove_latency=9",
        "pike.pike_log_level=0",
        "ban.enabled=false",
        "ban.autoexpire=9",
        "ban.longest=99",
        "ban.failures=9",
        "ban.user_failures=9",
        "ban.window=9",
        "ban.size=999",
        "ban.scanners=scan",
        "rtpp.allow=192.0.2.0/24",
        "rtpp.notify=unix:/t",
        "rtpproxy.moh=hold",
        "rtpproxy.nortpproxy_str=a=mine:1",
        "rtpproxy.extra_id_pv=$fU",
        "rtpproxy.timeout_action=log",
        "rtpproxy.timeout_either=true",
        "relay.timeout=9",
        "relay.hold_timeout=99",
        "relay.final_timeout=999",
        "relay.record_dir=recorded",
        "relay.record_max_size=9",
        "relay.record_min_free=9",
        "tm.fr_timer=2000",
    ]
    text = profile.find("nat-sbc").read_text()
    text = text.replace("trusted = []", 'trusted = ["192.0.2.0/24"]')
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    new = profile.load(str(mine), default_state_dir=tmp_path, sets=sets)
    assert set(live.changed(old, new)) == {*live.LIVE, "registrar.case_sensitive", "tm.fr_timer"}
    left = live.changed(live.taken(old, new), new)
    assert left == ["registrar.case_sensitive", "tm.fr_timer"]

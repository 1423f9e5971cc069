"""What `edgesip doctor` makes of what it finds: facts in, one line out, with something to do."""

from __future__ import annotations

import errno

import pytest

from edgesip.doctor import files, host, network
from edgesip.doctor.finding import Finding, broken
from edgesip.doctor.network import Bound, Looked, Media
from edgesip.forms import networks
from edgesip.signal.nat.public import Public
from edgesip.signal.net.tls_files import Shown

NOW = 1_800_000_000.0
DAY = 86400.0
NAT = Public("203.0.113.5", "10.0.0.5", "seen by one and two")


def levels(*findings: Finding) -> list[str]:
    for one in findings:
        assert bool(one.do) == (one.level != "ok"), one  # whatever is wrong says what to do
    return [one.level for one in findings]


# -- listeners ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "pid", "level"),
    [
        (Bound("udp:192.0.2.1:5060"), 0, "ok"),
        (Bound("u", errno.EADDRINUSE, "held by edgesip (pid 77)"), 77, "ok"),
        (Bound("u", errno.EADDRINUSE, "held by another user's process (root can see which)"), 77, "ok"),
        (Bound("u", errno.EADDRINUSE, "held by baresip (pid 12)"), 77, "fail"),
        (Bound("u", errno.EADDRINUSE, "held by another user's process (root can see which)"), 0, "fail"),
        (Bound("u", errno.EACCES, "not permitted"), 0, "fail"),
        (Bound("u", errno.EADDRNOTAVAIL, "not an address of this host"), 0, "fail"),
        (Bound("u", errno.ENOBUFS, "no buffers"), 0, "fail"),
    ],
)
def test_a_port_that_cannot_be_had(bound: Bound, pid: int, level: str) -> None:
    assert levels(network.listener(bound, pid)) == [level]


# -- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "local", "level"),
    [
        ([], ["192.0.2.1", "10.0.0.5"], "ok"),
        ([], ["10.0.0.5"], "warn"),
        ([], ["127.0.0.1"], "warn"),
        (["203.0.113.5"], ["10.0.0.5"], "ok"),
        (["10.0.0.9"], ["10.0.0.5"], "warn"),
        (["10.0.0.5"], ["10.0.0.5"], "ok"),
    ],
)
def test_what_phones_are_told(named: list[str], local: list[str], level: str) -> None:
    assert levels(*network.addresses(named, local)) == [level]


@pytest.mark.parametrize(
    ("seen", "named", "auto", "level"),
    [
        (NAT, ["203.0.113.5"], False, "ok"),
        (NAT, ["203.0.113.5"], True, "ok"),
        (NAT, ["203.0.113.77"], False, "warn"),
        (NAT, ["2001:db8::1"], False, "warn"),
        (NAT, [], False, "warn"),
        (NAT._replace(remark="two: no answer"), ["203.0.113.5"], True, "warn"),
        ("the STUN servers disagree", [], True, "fail"),
        ("the STUN servers disagree", ["203.0.113.5"], False, "warn"),
    ],
)
def test_what_others_see(seen: Public | str, named: list[str], auto: bool, level: str) -> None:
    assert levels(network.public(seen, named, auto)) == [level]


# -- media ports -------------------------------------------------------------------------------------

EPHEMERAL = (32768, 60999)


@pytest.mark.parametrize(
    ("found", "running", "expected"),
    [
        (Media(16384, 32767, EPHEMERAL, (), (), 16), False, ["ok"]),
        (Media(16384, 32767, EPHEMERAL, (), (16384,), 16), False, ["warn"]),
        (Media(16384, 32767, EPHEMERAL, (), (16384,), 16), True, ["ok"]),
        (Media(16384, 16389, EPHEMERAL, (), (16384, 16386), 2), False, ["fail"]),
        (Media(30000, 40000, EPHEMERAL, (), (), 16), False, ["warn"]),
        (Media(30000, 40000, EPHEMERAL, ((32000, 41000),), (), 16), False, ["ok"]),
        (Media(30000, 40000, EPHEMERAL, ((32768, 39999),), (), 16), False, ["warn"]),
        (Media(30000, 40000, (0, -1), (), (), 16), False, ["ok"]),
    ],
)
def test_media_ports(found: Media, running: bool, expected: list[str]) -> None:
    assert levels(*network.media(found, running)) == expected


def test_the_overlap_is_what_shall_be_reserved() -> None:
    (finding,) = network.media(Media(30000, 40000, EPHEMERAL, (), (), 16), False)
    assert "ip_local_reserved_ports=32768-40000" in finding.do


# -- the firewall and its helper (threat 44) ---------------------------------------------------------

OPEN = "table inet t { chain i { type filter hook input priority 0; policy accept; } }"
SHUT = "table inet t { chain i {\n type filter hook input priority 0; policy drop;\n udp dport 5060 accept\n"


@pytest.mark.parametrize(
    ("ruleset", "level"),
    [
        (None, "ok"),
        ("", "ok"),
        (OPEN, "ok"),
        (SHUT, "warn"),
        (SHUT.replace("5060", "{ 5060, 16384-32767 }"), "ok"),
        (SHUT.replace("5060", "15060 accept; udp dport 16384-32767"), "warn"),
    ],
)
def test_a_firewall_that_never_heard_of_us(ruleset: str | None, level: str) -> None:
    assert levels(network.firewall(ruleset, ["5060", "16384-32767"])) == [level]


MODULES = "nf_nat_sip 20480 0 - Live 0x0\nnf_conntrack_sip 45056 1 nf_nat_sip, Live 0x0\n"


@pytest.mark.parametrize(
    ("modules", "builtin", "helper", "ruleset", "level"),
    [
        ("", False, "", None, "ok"),
        ("nf_conntrack 180224 1 nf_conntrack_sip_or_so, Live", False, "0", "", "ok"),
        (MODULES, True, "", None, "warn"),
        (MODULES, True, "0", OPEN, "warn"),
        ("", True, "0", None, "ok"),
        ("", True, "", None, "ok"),
        ("", True, "1", None, "warn"),
        ("", False, "", 'ct helper sip-5060 { type "sip" protocol udp; }', "warn"),
        ("", True, "", 'udp dport 5060 ct helper set "sip-5060"', "warn"),
        ("", False, "", 'ct helper ftp-standard { type "ftp" protocol tcp; }', "ok"),
    ],
)
def test_the_sip_helper_of_the_kernel(
    modules: str, builtin: bool, helper: str, ruleset: str | None, level: str
) -> None:
    assert levels(network.conntrack(modules, builtin, helper, ruleset)) == [level]


# -- names -------------------------------------------------------------------------------------------


def test_an_upstream_has_to_be_found() -> None:
    assert levels(network.upstream(Looked("sip:a", ("udp:192.0.2.7:5060",), False))) == ["ok"]
    assert levels(network.upstream(Looked("sip:a", (), True))) == ["fail"]
    assert levels(network.upstream(Looked("sip:a", (), False))) == ["fail"]


def test_a_domain_should_lead_here() -> None:
    ours = ["192.0.2.1", "2001:db8::1"]
    assert levels(network.domain(Looked("a", ("udp:192.0.2.1:5060",), False), ours)) == ["ok"]
    assert levels(network.domain(Looked("a", ("tls:[2001:db8::1]:5061",), True), ours)) == ["ok"]
    assert levels(network.domain(Looked("a", ("udp:192.0.2.9:5060",), False), ours)) == ["warn"]
    assert levels(network.domain(Looked("a", (), False), ours)) == ["warn"]
    assert levels(network.domain(Looked("a", (), True), ours)) == ["warn"]
    assert levels(network.servers(True, ["x"]), network.servers(False, [])) == ["ok", "fail"]


# -- the host ----------------------------------------------------------------------------------------


def test_open_files() -> None:
    assert levels(host.files(1 << 20, 16384, 32767, "it")) == ["ok"]
    assert levels(host.files(4096, 16384, 32767, "it")) == ["warn"]
    assert levels(host.files(4, 16384, 32767, "it")) == ["fail"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (host.Clock(NOW, True, 0.02, "tsc"), ["ok"]),
        (host.Clock(NOW, True, 3.0, "tsc"), ["warn"]),
        (host.Clock(NOW, False, 0.0, "kvm-clock"), ["warn"]),
        (host.Clock(NOW, None, 0.0, ""), ["ok"]),
        (host.Clock(86400.0, True, 0.0, "tsc"), ["fail"]),
        (host.Clock(NOW, True, 0.02, "hpet"), ["ok", "warn"]),
    ],
)
def test_the_clock(found: host.Clock, expected: list[str]) -> None:
    assert levels(*host.clock(found)) == expected


def test_buffers() -> None:
    assert levels(host.buffers(None, 100), host.buffers(100, 100), host.buffers(99, 100)) == [
        "ok",
        "ok",
        "warn",
    ]


# -- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begins", "ends", "chain", "expected"),
    [
        (-DAY, 90 * DAY, "", ["ok"]),
        (-DAY, 10 * DAY, "", ["warn"]),
        (-DAY, -1.0, "", ["fail"]),
        (DAY, 90 * DAY, "", ["fail"]),
        (-DAY, 90 * DAY, "self-signed certificate", ["warn"]),
        (-DAY, -1.0, "certificate has expired", ["fail"]),
    ],
)
def test_certificates(begins: float, ends: float, chain: str, expected: list[str]) -> None:
    shown = Shown("", "/etc/x.pem", ("sip.example.net",), "CA", "1", NOW + begins, NOW + ends)
    assert levels(*files.certificate(shown, NOW, chain)) == expected


def test_every_domain_has_a_certificate() -> None:
    shown = Shown("", "x", ("SIP.example.net", "*.example.org"), "CA", "1", 0.0, NOW)
    assert files.names([shown], ["sip.example.net", "a.example.org"]) == []
    assert levels(*files.names([shown], ["example.net"])) == ["warn"]


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (files.Disk("/s", "", 1 << 30, 1000), "ok"),
        (files.Disk("/s", "", 100 << 20, 1000), "warn"),
        (files.Disk("/s", "", 1 << 20, 1000), "fail"),
        (files.Disk("/s", "", 1 << 30, 0), "fail"),
        (files.Disk("/s", "", 1 << 30, -1), "ok"),
        (files.Disk("/s", "not writable", 1 << 30, 1000), "fail"),
    ],
)
def test_the_state_directory(found: files.Disk, level: str) -> None:
    assert levels(files.disk(found)) == [level]


def test_databases_users_and_the_server() -> None:
    found = [
        files.database(files.Database("f", trouble, rows), "w")
        for trouble, rows in (("", 3), ("", -1), ("x", 0))
    ]
    assert levels(*found) == ["ok", "ok", "fail"]
    assert levels(*files.users(3, 0, "r", True)) == ["ok"]
    assert levels(*files.users(3, 1, "r", True)) == ["fail"]
    assert levels(*files.users(0, 0, "r", True)) == ["warn"]
    assert levels(*files.users(3, 0, "r", False)) == ["warn"]
    [lacking] = files.hashes([("SHA-512-256", 2), ("MD5", 0)])
    assert levels(lacking) == ["warn"]
    assert "2 were stored without a hash by SHA-512-256" in lacking.text
    told = [files.server(answer, "edgesip 2", 7) for answer in ("", "edgesip 2", "edgesip 1")]
    assert levels(*told) == ["ok", "ok", "warn"]
    assert not broken(told)


# -- commands of others ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "error", "allow", "level"),
    [
        ("udp:127.0.0.1:22222", 0, "127.0.0.0/8,::1", "ok"),
        ("udp:[::1]:22222", 0, "192.0.2.0/24", "ok"),
        ("udp:192.0.2.1:22222", 0, "127.0.0.0/8,::1", "ok"),
        ("udp:192.0.2.1:22222", 0, "192.0.2.0/24", "warn"),
        ("udp:127.0.0.1:22222", errno.EADDRINUSE, "127.0.0.0/8", "fail"),
    ],
)
def test_commands_from_elsewhere_are_worth_a_word(listen: str, error: int, allow: str, level: str) -> None:
    found = network.commands(network.Bound(listen, error, "taken"), 0, networks(allow))
    assert (found.level, found.check) == (level, f"rtpp.listen {listen}")
    assert level != "warn" or "192.0.2.0/24" in found.text

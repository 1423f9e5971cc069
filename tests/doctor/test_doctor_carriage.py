"""What `edgesip doctor` says of who carries media, and of a firewall that it passes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesip.doctor import carriage, probe
from edgesip.doctor.finding import Finding
from edgesip.forms import PortRange
from edgesip.relay.kernel import bpffs

RANGE = [PortRange(16384, 32767)]
MAY_NOT = "the kernel path needs CAP_BPF and CAP_NET_ADMIN, which this process does not have"


def ruleset(rule: str, hook: str = "type filter hook input priority filter; policy accept;") -> str:
    return f"table inet filter {{\n\tchain one {{\n\t\t{hook}\n\t\t{rule}\n\t}}\n}}\n"


@pytest.mark.parametrize(
    ("wanted", "refusal", "inside", "server", "level", "told"),
    [
        ("user", "", False, None, "ok", "as relay.path says"),
        ("auto", "", True, None, "ok", "loopback alone"),
        ("auto", "", False, None, "ok", "the kernel carries what is settled"),
        ("kernel", "", True, None, "ok", "the kernel carries what is settled"),
        (
            "auto",
            MAY_NOT,
            False,
            None,
            "warn",
            "this process carries all media: the kernel path needs CAP_BPF",
        ),
        ("auto", MAY_NOT, False, False, "warn", "this process carries all media"),
        ("auto", MAY_NOT, False, True, "ok", "the running server may"),
        ("kernel", MAY_NOT, False, None, "fail", "the server does not start like this"),
        ("kernel", "this kernel has no bpf(2)", False, None, "fail", "no bpf(2)"),
    ],
)
def test_who_carries_media(
    wanted: str, refusal: str, inside: bool, server: bool | None, level: str, told: str
) -> None:
    found = carriage.path(wanted, refusal, inside, server)
    assert found.level == level
    assert told in found.text
    assert ("give the service" in found.do) == ("CAP_" in refusal and level != "ok")


@pytest.mark.parametrize(
    "rule",
    [
        "udp dport 16384-32767 limit rate over 1000/second drop",
        "ip saddr 198.51.100.0/24 udp dport { 5060, 20000-20010 } drop",
        "udp sport 20000 meta mark set 0x1",
        "udp dport 16384-32767 ip dscp set ef",
        "udp dport 30000 dnat to 10.0.0.1",
        "th dport 20000 reject",
    ],
)
def test_rules_for_media_ports_that_do_something_are_told(rule: str) -> None:
    [found] = carriage.bypassed(ruleset(rule), RANGE)
    assert found.level == "warn"
    assert rule[:20] in found.text


@pytest.mark.parametrize(
    "rule",
    [
        "udp dport 16384-32767 accept",
        "udp dport 16384-32767 counter packets 5 bytes 60 accept",
        "udp dport 5060 limit rate over 100/second drop",
        "tcp dport 20000 drop",
        "ct state invalid drop",
    ],
)
def test_rules_that_only_let_in_or_are_for_others_are_not(rule: str) -> None:
    assert list(carriage.bypassed(ruleset(rule), RANGE)) == []
    assert list(carriage.bypassed(None, RANGE)) == []


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ('oifname "eth0" masquerade', True),
        ("ip saddr 10.0.0.0/8 masquerade", True),
        ("ip saddr 10.0.0.5 oifname eth0 snat to 203.0.113.1", True),
        ('ip saddr 172.17.0.0/16 oifname != "docker0" counter packets 0 bytes 0 masquerade', False),
        ('ip saddr 172.17.0.0/16 oifname != "docker0" counter xt target "MASQUERADE"', False),
        ("ip saddr @clients masquerade", True),
        ("ip daddr 10.0.0.5 dnat to 10.0.0.6", False),
    ],
)
def test_masquerade_of_our_own_addresses_is_told(rule: str, told: bool) -> None:
    hook = "type nat hook postrouting priority srcnat; policy accept;"
    found: list[Finding] = list(carriage.rewritten(ruleset(rule, hook), ["10.0.0.5", "2001:db8::1"]))
    assert bool(found) == told
    assert list(carriage.rewritten(None, ["10.0.0.5"])) == []


def test_whether_media_outlives_the_server() -> None:
    assert carriage.pinned("/sys/fs/bpf/edgesip/x", "").level == "ok"
    assert carriage.pinned("", "no").level == "warn"


def test_a_process_without_capabilities_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROC", tmp_path)
    for pid, mask in ((1, 0), (2, 1 << 39 | 1 << 12), (3, 1 << 39), (4, 1 << 21 | 1 << 12)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "status").write_text(f"Name:\tedgesip\nCapEff:\t{mask:016x}\n")
    assert [probe.may_use_bpf(pid) for pid in (1, 2, 3, 4, 5)] == [False, True, False, True, False]


def test_two_servers_keep_apart_and_dots_are_no_part_of_a_name() -> None:
    names = {
        bpffs.name_of(Path(path)) for path in ("/var/lib/edgesip", "/var/lib/edge.sip", "/var/lib/edge-sip")
    }
    assert len(names) == 3
    assert not any("." in name or "/" in name for name in names)


def test_a_directory_is_no_bpffs(tmp_path: Path) -> None:
    assert not bpffs.is_bpffs(tmp_path)
    assert not bpffs.is_bpffs(tmp_path / "nothing")

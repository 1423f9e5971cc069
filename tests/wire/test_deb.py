"""The Debian package: built, installed in a bare Debian, used as the README says, and taken away again.

systemd is not what starts things here: the tests read the unit and do what it asks for.
"""

from __future__ import annotations

import itertools
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bare import Root, Unit, built_package, missing
from lab.calls import connect
from lab.network import SERVER, Host, Network
from lab.phone import Phone
from lab.process import Process, eventually

pytestmark = [pytest.mark.wire, pytest.mark.long]
TALK = 4.0
QUICK = 0.25  # seconds: what an answer on the command line may take, entering the root included

MakeRoot = Callable[[], Root]


@pytest.fixture(scope="module")
def package() -> Path:
    if reason := missing():
        pytest.skip(reason)
    return built_package()


@pytest.fixture(scope="module")
def make_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeRoot]:
    roots: list[Root] = []
    numbers = itertools.count(1)

    def make() -> Root:
        roots.append(Root(tmp_path_factory.getbasetemp() / f"debian{next(numbers)}"))
        return roots[-1]

    yield make
    for root in roots:
        root.remove()


@pytest.fixture(scope="module")
def root(package: Path, make_root: MakeRoot) -> Root:
    """A bare Debian with the package."""
    made = make_root()
    made.install(package)
    return made


class Service:
    """The unit's ExecStart, running as its user on a host of the lab."""

    def __init__(self, root: Root, network: Network, host: Host) -> None:
        self.unit = unit = Unit(root.directory / "lib/systemd/system/edgesip.service")
        self.root = root
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(20)
        self.manager.bind(str(root.directory / "run/notify"))
        (root.directory / "run/notify").chmod(0o777)
        directory = f"/run/{unit.settings['RuntimeDirectory']}"
        owner = ("-o", unit.settings["User"], "-g", unit.settings["Group"])
        root.run("install", "-d", *owner, "-m", unit.settings["RuntimeDirectoryMode"], directory)
        unit.around(root, "ExecStartPre")
        self.process: Process = network.start(host, "service", *unit.command(root))
        assert unit.settings["Type"] == "notify"
        self.told = self.manager.recv(4096).decode().splitlines()

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.root.run("edgesip", *arguments, "-o", "json"))

    def close(self) -> None:
        self.unit.around(self.root, "ExecStopPost")
        self.manager.close()
        (self.root.directory / "run/notify").unlink()


@pytest.fixture
def service(root: Root, network: Network) -> Iterator[Service]:
    started = Service(root, network, network.public_host("server", 1))
    yield started
    started.close()


def test_two_phones_behind_nats_call_each_other(root: Root, network: Network, service: Service) -> None:
    ready, status = service.told
    assert ready == "READY=1"
    assert status.startswith("STATUS=ready ")
    assert f"udp:{SERVER}:5060" in status
    alice, bob = (
        Phone(network, network.nat_host(user, number, nat), user, _added(root, user), frequency)
        for user, number, nat, frequency in (
            ("alice", 10, "port-restricted", 440.0),
            ("bob", 20, "symmetric", 1000.0),
        )
    )
    for phone in (alice, bob):
        phone.wait_registered()
    contact = service.ask("ul", "lookup", "alice")["Contacts"][0]["Contact"]
    assert contact["Received"] == "sip:203.0.113.10:5060"
    connect(alice, bob)
    assert len(service.ask("rtp", "list")) == 1
    time.sleep(TALK)
    alice.hangup()
    alice.wait_closed()
    bob.wait_closed()
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)
    eventually("released ports", lambda: service.ask("rtp", "ports")["leased"] == 0)

    root.run("edgesip", "stop")
    assert service.manager.recv(4096) == b"STOPPING=1"
    assert service.process.wait() == 0
    assert list((root.directory / "run/edgesip").iterdir()) == []
    assert "Traceback" not in service.process.text()


def _added(root: Root, user: str) -> str:
    """The password that `subscriber add` made up."""
    return root.run("edgesip", "subscriber", "add", user).strip()


def test_media_goes_on_when_the_service_dies_and_ends_with_the_package(
    package: Path, make_root: MakeRoot, network: Network
) -> None:
    root = make_root()
    root.install(package)
    root.mount_bpffs()
    host = network.public_host("server", 1)
    first = Service(root, network, host)
    assert " path=kernel " in first.told[1]
    alice, bob = (
        Phone(network, network.nat_host(user, number), user, _added(root, user), frequency)
        for user, number, frequency in (("alice", 10, 440.0), ("bob", 20, 1000.0))
    )
    for phone in (alice, bob):
        phone.wait_registered()
    connect(alice, bob)
    eventually(
        "the kernel", lambda: {leg["carried_by"] for leg in first.ask("rtp", "list")[0]["legs"]} == {"kernel"}
    )
    time.sleep(1.5)  # the call is in the store
    first.process.kill()
    first.close()
    assert len(list((root.bpffs / "edgesip").iterdir())) == 1
    time.sleep(TALK)
    second = Service(root, network, host)
    assert {leg["carried_by"] for leg in second.ask("rtp", "list")[0]["legs"]} == {"kernel"}
    alice.hangup()
    alice.wait_closed()
    bob.wait_closed()
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)
    root.run("edgesip", "stop")
    assert second.process.wait() == 0
    second.close()
    assert not (root.bpffs / "edgesip").exists()

    third = Service(root, network, host)
    third.process.kill()
    third.close()
    assert len(list((root.bpffs / "edgesip").iterdir())) == 1
    root.run("apt-get", "purge", "-y", "edgesip")
    assert not (root.bpffs / "edgesip").exists()
    assert root.named("edgesip") == []


def test_the_service_has_no_more_rights_than_its_unit_gives(service: Service) -> None:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    granted = 1 << 10 | 1 << 12 | 1 << 39  # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_BPF
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == granted, name
    assert fields["NoNewPrivs"] == "1"
    assert "0" not in fields["Uid"].split()
    assert "0" not in fields["Gid"].split()


def test_an_answer_costs_little(root: Root, service: Service) -> None:
    """In CPU time, because other tests may keep this machine's cores busy."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert root.attempt("edgesip", "ul", "lookup", "nobody").returncode == 3
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert service.process.is_running
    assert min(seconds() for _ in range(5)) < QUICK


def test_the_bundle_knows_its_profiles(root: Root) -> None:
    profiles = json.loads(root.run("edgesip", "profiles", "list", "-o", "json"))
    names = ("nat-sbc", "rtp-relay")
    assert [one["file"] for one in profiles] == [f"/etc/edgesip/profiles/{name}.toml" for name in names]
    for name in ("nat-sbc", "/etc/edgesip/edgesip.toml"):
        assert root.attempt("edgesip", "check", "--profile", name).stderr.endswith(": good\n")


def test_the_built_in_profiles_are_there_without_those_in_etc(root: Root) -> None:
    configured, aside = root.directory / "etc/edgesip/profiles", root.directory / "etc/edgesip/aside"
    configured.rename(aside)
    try:
        assert root.attempt("edgesip", "check", "--profile", "nat-sbc").stderr.endswith(": good\n")
    finally:
        aside.rename(configured)


def test_a_route_script_may_import_the_standard_library(root: Root) -> None:
    directory = root.directory / "srv"
    (directory / "own.toml").write_text('route = "own.py"\n')
    modules = "csv, ctypes, decimal, email.message, statistics, urllib.request, xml.etree.ElementTree"
    (directory / "own.py").write_text(
        f"import {modules}\n"
        "from edgesip.script import Call, Decision, Reply\n"
        "def request(call: Call) -> Decision:\n"
        "    return Reply(480)\n"
    )
    checked = root.attempt("edgesip", "check", "--profile", "/srv/own.toml")
    assert checked.stderr == "/srv/own.toml: good\n"


def test_the_bundle_starts_itself_in_the_background(root: Root, network: Network) -> None:
    place = ("--state-dir", "/srv/state")
    host = network.public_host("server", 1)

    def verb(*arguments: str) -> str:
        with host.namespace.inside():
            return root.run("edgesip", *arguments, *place)

    verb("start", "--profile", "nat-sbc")
    first = json.loads(verb("status", "-o", "json"))
    verb("restart")
    second = json.loads(verb("status", "-o", "json"))
    assert first["pid"] != second["pid"]
    verb("stop")
    assert root.attempt("edgesip", "status", *place).returncode == 4


def test_bash_completes_verbs_options_and_files(root: Root) -> None:
    def completed(*words: str) -> list[str]:
        line = (
            "shopt -u progcomp_alias; source /usr/share/bash-completion/completions/edgesip;"
            f" COMP_WORDS=(edgesip {' '.join(words)} ''); COMP_CWORD={len(words) + 1};"
            " _edgesip; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        return root.run("bash", "-c", line, cwd="/etc/edgesip").split()

    assert {"run", "subscriber", "ul", "rtp"} <= set(completed())
    verbs = ["show", "online", "lookup", "dump", "add", "rm", "rm-contact", "flush"]
    assert completed("ul") == verbs
    assert "--profile" in completed("run")
    assert completed("ul", "dump", "-o") == ["table", "json"]
    assert "edgesip.toml" in completed("check", "--profile")
    assert completed("subscriber", "add", "--realm") == []


def test_systemd_finds_the_unit_good_and_tight(package: Path, make_root: MakeRoot) -> None:
    made = make_root()
    made.run("apt-get", "update", "-qq")
    made.run("apt-get", "install", "-qq", "-y", "--no-install-recommends", "systemd")
    made.install(package)
    verified = made.attempt("systemd-analyze", "verify", "--man=no", "edgesip.service")
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    judged = made.attempt("systemd-analyze", "security", "--offline=yes", "--threshold=22", "edgesip.service")
    assert judged.returncode == 0, judged.stdout
    state = made.run("stat", "-c", "%U %G %a", "/run/edgesip", "/var/lib/edgesip")
    assert state == "edgesip edgesip 750\nedgesip edgesip 750\n"


def test_removal_keeps_what_the_operator_has_and_purge_leaves_nothing(
    package: Path, make_root: MakeRoot
) -> None:
    made = make_root()
    made.install(package)
    made.run("edgesip", "subscriber", "add", "alice")
    config = made.directory / "etc/edgesip/edgesip.toml"
    config.write_text(config.read_text() + '\n[auth]\nrealm = "example"\n')
    (made.directory / "etc/edgesip/profiles/own.toml").write_text('route = "nat_sbc.py"\n')

    made.run("apt-get", "remove", "-y", "edgesip")
    assert not made.attempt("edgesip", "--version").stdout
    made.install(package)
    assert [user["username"] for user in json.loads(made.run("edgesip", "subscriber", "list", "-o", "json"))]
    assert 'realm = "example"' in config.read_text()
    assert made.attempt("edgesip", "check", "--profile", "own").returncode == 0

    made.run("apt-get", "purge", "-y", "edgesip")
    assert made.named("edgesip") == []
    assert made.attempt("getent", "passwd", "edgesip").stdout == ""
    assert made.attempt("getent", "group", "edgesip").stdout == ""

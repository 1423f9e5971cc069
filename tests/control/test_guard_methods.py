"""The methods `ban.*`, `pike.*` and `permissions.*`, and the line that fail2ban reads."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from talk import Packet, Talk

from edgesip.control.guard import Clocks, Files, methods_for
from edgesip.control.log import Lines
from edgesip.control.rpc import Rpc, RpcFault
from edgesip.places import ConfigError
from edgesip.signal.guard.bans import BanSettings
from edgesip.signal.guard.guard import GuardSettings
from edgesip.signal.guard.permissions import address_row, trusted_row
from edgesip.signal.guard.pike import PikeSettings

JUNK = b"OPTIONS sip:203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9\r\nbad bad bad\r\n\r\n"
FILTER = Path(__file__).parents[2] / "packaging" / "fail2ban" / "filter.d-edgesip.conf"


class Desk:
    """A server's guard, and its methods as an operator calls them."""

    def __init__(self) -> None:
        settings = GuardSettings(PikeSettings(reqs_density_per_unit=5), BanSettings(failures=3))
        self.talk = Talk(guard=settings)
        self.lines: list[str] = []
        self.read = "2 192.0.2.7"
        files = Files(self._addresses, self._trusted, lambda: 5.0)
        clocks = Clocks(lambda: self.talk.now, lambda: 1_700_000_000.0)
        log = lambda level, event, fields: self.lines.append(event)  # noqa: E731
        self.methods = {one.name: one for one in methods_for(self.talk.guard, files, clocks, log)}

    def _addresses(self) -> None:
        if self.read == "broken":
            raise ConfigError("addresses:3: broken")
        permissions = self.talk.guard.permissions
        permissions.use([address_row(self.read)], permissions.trusted())

    def _trusted(self) -> None:
        permissions = self.talk.guard.permissions
        permissions.use(permissions.rows(), [trusted_row("192.0.2.1 any * * x")])

    def ask(self, name: str, *params: Any) -> Any:
        found = self.methods[name].call(list(params))
        return list(found) if name == "ban.list" else found


def test_who_is_banned_and_why() -> None:
    desk = Desk()
    scanner = desk.talk.phone("x")
    for _ in range(5):
        desk.talk >> Packet(scanner, JUNK)
    (ban,) = desk.ask("ban.list")
    assert ban | {"age": 0} == {
        "source": scanner.at.host,
        "user": "",
        "why": "malformed",
        "expires": 300,
        "age": 0,
        "times": 1,
        "dropped": 2,
    }
    why = desk.ask("ban.why", scanner.at.host)
    assert (why["banned_before"], len(why["bans"]), len(why["seen"])) == (1, 1, 3)
    assert why["seen"][0]["what"] == "malformed"
    assert why["seen"][0]["from"] == str(scanner.at)
    assert why["seen"][0]["time"] == 1_700_001_000.0
    assert desk.ask("ban.rm", scanner.at.host) == "Ok. 1 bans removed"
    assert desk.ask("ban.list") == []
    with pytest.raises(RpcFault, match="nothing is known"):
        desk.ask("ban.why", scanner.at.host)


def test_bans_by_order() -> None:
    desk = Desk()
    assert desk.ask("ban.add", "198.51.100.9", "60")["expires"] == 60
    assert desk.ask("ban.add", "2001:db8::1")["source"] == "2001:db8::/64"
    assert desk.ask("ban.add", "198.51.100.10", 60, "Alice")["user"] == "alice"
    assert len(desk.ask("ban.list")) == 3
    assert desk.ask("ban.rm", "198.51.100.10", "alice") == "Ok. 1 bans removed"
    assert desk.ask("ban.rm", "all") == "Ok. 2 bans removed"
    assert desk.lines == ["ban added"] * 3 + ["ban removed"] * 2
    for params in (("x",), ("198.51.100.9", "soon"), ("198.51.100.9", "0"), ()):
        with pytest.raises(RpcFault, match="Invalid params"):
            desk.ask("ban.add", *params)
    with pytest.raises(RpcFault, match="not banned"):
        desk.ask("ban.rm", "198.51.100.77")
    desk.talk.guard.permissions.use([address_row("1 198.51.100.9")], ())
    with pytest.raises(RpcFault, match="never banned"):
        desk.ask("ban.add", "198.51.100.9")


def test_pike_tells_who_is_hot() -> None:
    desk = Desk()
    for _ in range(7):
        desk.talk.guard.pike.check("192.0.2.1", desk.talk.now)
    found = desk.ask("pike.top")
    assert found == desk.ask("pike.list", "HOT")
    assert (found["max_hits"], found["number_of_rows"]) == (5, 1)
    assert found["list"] == [
        {"ip_addr": "192.0.2.1", "leaf_hits_prev": 0, "leaf_hits_curr": 7, "expires": 120, "status": "HOT"}
    ]
    with pytest.raises(RpcFault, match="one of ALL"):
        desk.ask("pike.top", "cold")


def test_rows_are_read_again_and_not_too_often() -> None:
    desk = Desk()
    assert desk.ask("permissions.addressReload") == "Reload OK"
    assert desk.ask("permissions.addressDump") == [{"group": 2, "ip": "192.0.2.7", "port": 0, "tag": ""}]
    with pytest.raises(RpcFault, match="less than 5 s"):
        desk.ask("permissions.addressReload")
    assert desk.ask("permissions.trustedReload") == "Reload OK", "another table"
    assert desk.ask("permissions.trustedDump")[0]["tag"] == "x"
    desk.talk.now += 6
    desk.read = "broken"
    with pytest.raises(RpcFault, match="addresses:3"):
        desk.ask("permissions.addressReload")
    desk.read = "3 10.0.0.0/8 0 5060 ten"
    assert desk.ask("permissions.addressReload") == "Reload OK", "a failure does not count"
    assert desk.ask("permissions.subnetDump") == [
        {"group": 3, "ip": "10.0.0.0", "mask": 8, "port": 5060, "tag": "ten"}
    ]
    assert desk.ask("permissions.domainDump") == []


def test_every_method_can_be_asked_without_anything_there() -> None:
    desk = Desk()
    rpc = Rpc(list(desk.methods.values()))
    for name in ("ban.list", "pike.top", "permissions.addressDump", "permissions.trustedDump"):
        answer = rpc.handle(b'{"jsonrpc":"2.0","id":1,"method":"%s"}' % name.encode())
        assert answer is not None
        assert b'"result"' in answer


# -- fail2ban --------------------------------------------------------------------------------------


def failregex() -> re.Pattern[str]:
    """The shipped filter's, with fail2ban's tag in Python's own words."""
    found = re.search(r"^failregex = (.*)$", FILTER.read_text(), re.MULTILINE)
    assert found is not None
    return re.compile(found[1].replace("<ADDR>", r"(?P<ip>[0-9a-fA-F:.]+)"))


def logged(talk: Talk) -> list[str]:
    stream = io.StringIO()
    lines = Lines(stream)
    for note in talk.notes:
        lines.line(note.level, note.event, dict(note.fields))
    return stream.getvalue().splitlines()


def test_fail2ban_reads_the_address_from_the_line_of_a_ban_and_from_no_other() -> None:
    desk = Desk()
    scanner = desk.talk.phone("x")
    liar = desk.talk.phone("liar")
    claim = "event='address banned' source='9.9.9.9' banned='9.9.9.9'"
    for _ in range(2):
        desk.talk >> liar.request("OPTIONS", "sip:elsewhere.example", from_=f'"{claim}" <sip:a@b>;tag=1')
    for _ in range(3):
        desk.talk >> Packet(scanner, JUNK)
    lines = logged(desk.talk)
    assert any("9.9.9.9" in line for line in lines), "the lie is in the log"
    lines.append(f"timestamp='2026-01-01T00:00:00.000Z' level='info' event='refused' caller=\"{claim}\"")
    for prefix in ("", "host edgesip[4711]: ", "host edgesip: "):
        found = [match["ip"] for line in lines if (match := failregex().search(prefix + line))]
        assert found == [scanner.at.host], prefix
    cut = [re.sub(r"^timestamp='[^']*'", "", line) for line in lines]  # as fail2ban does with files
    found = [match["ip"] for line in cut if (match := failregex().search(line))]
    assert found == [scanner.at.host]

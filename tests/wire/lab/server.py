"""The server under test: `edgesip run` in its own namespace, its command line, and what it left behind.

Speaks to it only as an operator does: argv, exit codes, `-o json`, the log.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.capture import Capture
from lab.ladder import ladder, streams
from lab.network import Host, Network, Router
from lab.process import Process, eventually
from lab.sip import bracketed

EDGESIP = str(Path(sys.executable).parent / "edgesip")
_SETTINGS = {"tm.wt_timer": "500"}
NOBODY = 65534
"""Debian's user and group without rights."""
_DELETED = 5  # the dialog state that may stay for `end_timeout`


class Verb(Exception):
    """A verb ended with another exit code than 0."""

    def __init__(self, arguments: Sequence[str], code: int, stderr: str) -> None:
        super().__init__(f"edgesip {' '.join(arguments)}: exit {code}: {stderr}")
        self.code = code
        self.stderr = stderr


class Server:
    """One edgesip with profile nat-sbc on `host`: UDP and TCP, IPv4 and IPv6; with a certificate TLS too.
    Without `sip` it listens where its profile says.

    `settings` are its `--set`s, `ignore` as in Capture, `descriptors` how many files it may open, `profile`
    another profile than nat-sbc, `without` a capability that it does not get; with `only` some, it runs as
    `nobody`. `lan` is a second network that it has an address in.
    """

    def __init__(
        self,
        network: Network,
        host: Host,
        settings: dict[str, str] | None = None,
        ignore: str = "",
        descriptors: int = 0,
        profile: str = "nat-sbc",
        sip: bool = True,
        without: str = "",
        only: str = "",
    ) -> None:
        self.network = network
        self._profile = profile
        self._sip = sip
        self.host = host
        self.settings = {**_SETTINGS, **(settings or {})}
        self._limit: tuple[str, ...] = ("prlimit", f"--nofile={descriptors}") if descriptors else ()
        if without:
            self._limit += ("setpriv", f"--bounding-set=-{without}", f"--inh-caps=-{without}")
        self.state = network.directory / f"state-{host.name}"
        self.state.mkdir()
        if only:
            network.directory.chmod(0o711)
            os.chown(self.state, NOBODY, NOBODY)
            self._limit += ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            self._limit += tuple(
                f"--{which}=-all,{only}" for which in ("inh-caps", "ambient-caps", "bounding-set")
            )
        self.capture = Capture(network, host, ignore)
        self.process: Process | None = None
        self.ready_line = ""
        self.lan: Router | None = None
        self._users: set[str] = set()

    def start(self) -> None:
        """Start it and wait for its `ready` line; the same state directory again after a crash."""
        settings = [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        log = self.network.directory / f"edgesip-{self.host.name}.log"
        seen = len(log.read_text(errors="replace")) if log.exists() else 0
        listens = () if not self._sip else ("--listen", ",".join(self._listens()))
        self.process = self.network.start(
            self.host,
            f"edgesip-{self.host.name}",
            *(*self._limit, EDGESIP, "run", "--profile", self._profile),
            *(*listens, "--state-dir", str(self.state), *settings),
        )
        self.ready_line = self.process.wait_for(r"^ready.*$", deadline=20.0, after=seen)[0]

    def _listens(self) -> list[str]:
        places = [bracketed(self.host.own(family)) for family in (4, 6)]
        found = [f"{transport}:{place}:5060" for transport in ("udp", "tcp") for place in places]
        if "tls.certificate" in self.settings:
            found += [f"tls:{place}:5061" for place in places]
        return found

    def crash(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()

    def verb(self, *arguments: str, stdin: str = "") -> str:
        """Run `edgesip ARGUMENTS --state-dir …`; its stdout. Verb when the exit code is not 0."""
        done = subprocess.run(
            [EDGESIP, *arguments, "--state-dir", str(self.state)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, "COLUMNS": "200"},
        )
        if done.returncode != 0:
            raise Verb(arguments, done.returncode, done.stderr)
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        """A verb's answer with `-o json`."""
        return json.loads(self.verb(*arguments, "-o", "json"))

    def add_user(self, name: str) -> str:
        """A subscriber, unless it is one already; the password."""
        password = f"pw-{name}"
        if name not in self._users:
            self.verb("subscriber", "add", name, "--password", password)
            self._users.add(name)
        return password

    def contacts(self, user: str) -> list[dict[str, Any]]:
        """`ul lookup`; nothing when it says not found (3)."""
        try:
            found = self.ask("ul", "lookup", user)
        except Verb as failed:
            if failed.code == 3:
                return []
            raise
        return [_unwrapped(contact) for contact in found["Contacts"]]

    def statistic(self, name: str) -> int:
        """One counter by Kamailio's name, `group:name`."""
        text = self.verb("stats", name, "-o", "json")
        found = re.search(rf"{re.escape(name)}\"?\s*[=:]\s*\"?(\d+)", text)
        assert found is not None, f"no {name} in {text}"
        return int(found[1])

    def leftovers(self) -> dict[str, object]:
        """What is still held for calls and transactions; empty when it is clean."""
        dialogs = [dialog for dialog in self.ask("dlg", "list") if int(dialog["state"]) < _DELETED]
        counts = {
            "leased ports": self.ask("rtp", "ports")["leased"],
            "transactions": self.statistic("tmx:inuse_transactions"),
            "dialogs": dialogs,
        }
        return {name: count for name, count in counts.items() if count}

    def assert_clean(self, deadline: float = 8.0) -> None:
        """No port, transaction or living dialog is left, and nothing was raised."""
        assert self.process is not None
        assert self.process.is_running, "the server has ended"
        left: dict[str, object] = {}

        def look() -> bool:
            nonlocal left
            left = self.leftovers()
            return not left

        try:
            eventually("a clean server", look, deadline, step=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: still there: {left}") from None
        assert "Traceback" not in self.process.text(), "a traceback in the server's log"

    def story(self) -> str:
        """Every call as `edgesip trace` tells it, or as its interface saw it; then the streams of media."""
        datagrams = self.capture.datagrams()
        try:
            told = self.verb("trace", "--call", "")
        except (Verb, subprocess.TimeoutExpired):
            told = ladder(datagrams, [self.host.own(family) for family in (4, 6)])
        return f"{told}\n{streams(datagrams)}"


def _unwrapped(contact: dict[str, Any]) -> dict[str, Any]:
    """Kamailio's own `ul.lookup` wraps each contact in {"Contact": {...}}."""
    inner = contact.get("Contact")
    return inner if isinstance(inner, dict) else contact

"""A baresip on a host: a telephone we did not write, driven over its ctrl_tcp port.

It plays a tone instead of a microphone and records what it decodes. Knows nothing of the server but
its address.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.network import SERVER, Host, Network
from lab.process import eventually
from lab.sip import bracketed
from lab.tones import Samples, assert_heard, read_wav, tone, write_wav

_CONFIG = """
sip_listen {address}:5060
call_max_calls {calls}
audio_source aufile,{directory}/tone.wav
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
ausrc_srate 8000
auplay_srate 8000
jitter_buffer_delay 1-2
rtp_ports 10000-10999
module_path /usr/lib/baresip/modules
module aubridge.so
module aufile.so
module g711.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
snd_path {directory}
ctrl_tcp_listen 127.0.0.1:4444
"""


class Phone:
    """One baresip with one account; `frequency` (Hz) is what it says in a call.

    `name` tells two of one user apart; `watches` is the user whose presence it subscribes to; with
    `proxies` it keeps a flow to each of them, and speaks to its domain through them (RFC 5626).
    """

    def __init__(
        self,
        network: Network,
        host: Host,
        user: str,
        password: str,
        frequency: float,
        *,
        domain: str = SERVER,
        transport: str = "udp",
        expires: int = 3600,
        calls: int = 4,
        name: str = "",
        talk_limit: float = 60.0,
        watches: str = "",
        proxies: Sequence[str] = (),
    ) -> None:
        self.user = user
        self._name = name or user
        family = 6 if ":" in domain else 4
        self.uri = f"sip:{user}@{bracketed(domain)}"
        self._flow = f"{transport.upper()}/v{family}"
        self.host = host
        self.frequency = frequency
        self.events: list[dict[str, Any]] = []
        self._directory = network.directory / f"baresip-{self._name}"
        self._directory.mkdir()
        write_wav(self._directory / "tone.wav", tone(frequency, talk_limit))
        config = _CONFIG.format(address=bracketed(host.own(family)), directory=self._directory, calls=calls)
        contacts = ""
        if watches:
            config += "module_app contact.so\nmodule_app presence.so\n"
            contacts = f'"{watches}" <sip:{watches}@{bracketed(domain)}>;presence=p2p\n'
        if proxies:  # a flow is told by its instance, which the module makes
            config = config.replace("module_tmp account.so", "module_tmp uuid.so\nmodule_tmp account.so")
        (self._directory / "config").write_text(config)
        (self._directory / "contacts").write_text(contacts)
        account = (
            f"<{self.uri};transport={transport}>;auth_user={user};auth_pass={password};"
            f"regint={expires};answermode=manual"
        )
        if proxies:
            account += ";sipnat=outbound"
        for number, proxy in enumerate(proxies, 1):
            account += f';outbound{number if number > 1 else ""}="sip:{proxy};transport={transport}"'
        (self._directory / "accounts").write_text(account + "\n")
        self._network = network
        self._arguments = ("baresip", f"-{family}", "-s", "-f", str(self._directory))
        self.start()

    def start(self) -> None:
        """Switch it on; again after `vanish`."""
        log = self._network.directory / f"baresip-{self._name}.log"
        self._begin = len(log.read_text(errors="replace")) if log.exists() else 0
        self.process = self._network.start(
            self.host,
            f"baresip-{self._name}",
            *self._arguments,
            environment={"HOME": str(self._directory)},
        )
        self._control = self._connect()
        self._unread = b""
        self.events.clear()

    def vanish(self) -> None:
        """Cut the power: no BYE, no unregistration."""
        self._control.close()
        self.process.kill()

    def _connect(self) -> socket.socket:
        def attempt() -> socket.socket | None:
            assert self.process.is_running, f"baresip of {self.user} ended:\n{self.process.text()}"
            with contextlib.suppress(OSError):
                return self.host.namespace.tcp("127.0.0.1", 4444)
            return None

        return eventually(f"the control port of {self.user}", attempt)

    def _command(self, name: str, argument: str = "") -> None:
        text = json.dumps({"command": name, "params": argument, "token": name}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))

    def _read_events(self) -> None:
        """Take in what baresip has said: netstrings of JSON, events and answers mixed."""
        self._control.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            while chunk := self._control.recv(65536):
                self._unread += chunk
        while b":" in self._unread:
            size, _, rest = self._unread.partition(b":")
            if len(rest) <= int(size):
                return
            said = json.loads(rest[: int(size)])
            self._unread = rest[int(size) + 1 :]
            if said.get("event"):
                self.events.append(said)

    def wait_event(self, kind: str, deadline: float = 10.0) -> dict[str, Any]:
        """The first event of this kind not yet taken; it and those before it are taken."""

        def look() -> dict[str, Any] | None:
            self._read_events()
            for index, event in enumerate(self.events):
                if event["type"] == kind:
                    del self.events[: index + 1]
                    return event
            return None

        try:
            return eventually(f"{kind} at {self.user}", look, deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}; it saw {[event['type'] for event in self.events]}") from None

    def saw_event(self, kind: str) -> bool:
        """Whether such an event has come and is not yet taken."""
        self._read_events()
        return any(event["type"] == kind for event in self.events)

    def wait_registered(self, deadline: float = 10.0) -> None:
        """By its log: the first result may come before the control port is open."""
        self.process.wait_for(rf"\{{\d/{self._flow}\}} 200 OK", deadline, self._begin)

    def wait_refused(self, deadline: float = 10.0) -> int:
        """The status with which its registration was given up."""
        return int(self.process.wait_for(r"reg: sip:\S+: (\d{3}) ", deadline, self._begin)[1])

    def dial(self, user: str) -> None:
        self._command("dial", f"sip:{user}@{self.uri.partition('@')[2]}")

    def wait_ringing(self, deadline: float = 10.0) -> None:
        """An INVITE is here and waits to be answered."""
        self.wait_event("CALL_INCOMING", deadline)

    def answer(self) -> None:
        self._command("accept")

    def hangup(self) -> None:
        """BYE, or CANCEL before the answer, or 486 to one that rings here."""
        self._command("hangup")

    def hold(self) -> None:
        self._command("hold")

    def resume(self) -> None:
        self._command("resume")

    def transfer(self, user: str) -> None:
        """Send the other one to `user`, blind (REFER)."""
        self._command("transfer", f"sip:{user}@{self.uri.partition('@')[2]}")

    def be_present(self, online: bool) -> None:
        """Tell whoever watches that it is there, or gone."""
        self._command("presence_online" if online else "presence_offline")

    def wait_seen(self, status: str, deadline: float = 90.0) -> None:
        """Whom it watches is there (`open`) or gone (`closed`): a NOTIFY in the log of its messages says so.

        It must not have said the same of itself, for its own NOTIFYs are there too.
        """
        self.process.wait_for(rf"<basic>{status}</basic>", deadline)

    def press(self, digits: str) -> None:
        """Send DTMF as telephone events (RFC 4733)."""
        self._command("sndcode", digits)

    def wait_established(self, deadline: float = 10.0) -> None:
        self.wait_event("CALL_ESTABLISHED", deadline)

    def wait_closed(self, deadline: float = 10.0) -> str:
        """The reason it gives for the end of the call."""
        return str(self.wait_event("CALL_CLOSED", deadline).get("param", ""))

    def recording(self) -> Samples:
        """What it decoded in its last call; complete once that is closed."""
        recordings = sorted(self._directory.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime)
        assert recordings, f"{self.user} recorded nothing"
        return read_wav(Path(recordings[-1]))

    def assert_heard(self, other: Phone, talk: float) -> None:
        """The last call brought the other's tone for 80 % of `talk` seconds."""
        self.assert_tone(other.frequency, talk)

    def assert_tone(self, frequency: float, talk: float) -> None:
        """The last call brought this tone for 80 % of `talk` seconds."""
        assert_heard(self.user, self.recording(), frequency, talk)

    def close(self) -> None:
        """Unregister and end."""
        self._control.close()
        self.process.stop()

"""A linphonec on a host: a phone of another family than baresip, driven over its standard input.

It repairs its own Contact from rport and sends its own keepalives. It does not say when it is registered,
and its recording is complete only when the call is over.
"""

from __future__ import annotations

import re
import wave

from lab.network import SERVER, Host, Network
from lab.process import eventually
from lab.tones import Samples, assert_heard, read_wav, tone, write_wav

_CONFIG = """
[sip]
sip_port=5060
sip_tcp_port=0
sip_tls_port=0
root_ca={root_ca}
use_ipv6=0
default_proxy=0
media_encryption=none
[net]
nat_policy_ref=
[rtp]
audio_rtp_port=7078
[proxy_0]
reg_proxy=<sip:{domain};transport={transport}>
reg_identity=sip:{user}@{domain}
reg_expires=3600
reg_sendregister=1
publish=0
[auth_info_0]
username={user}
userid={user}
passwd={password}
[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1
"""


class Linphone:
    """One linphonec with one account; `frequency` (Hz) is what it says in a call.

    Over TLS it believes the issuers in the file `root_ca`, and none else.
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
        root_ca: str = "",
    ) -> None:
        self.user = user
        self.host = host
        self.frequency = frequency
        self._domain = domain
        directory = network.directory / f"linphone-{user}"
        (directory / ".local" / "share" / "linphone").mkdir(parents=True)
        write_wav(directory / "tone.wav", tone(frequency, 60.0))
        config = _CONFIG.format(
            user=user, password=password, domain=domain, transport=transport, root_ca=root_ca
        )
        if transport != "udp":
            config = config.replace(f"sip_{transport}_port=0", f"sip_{transport}_port=-1")
        (directory / "linphonerc").write_text(config)
        self._recording = directory / "heard.wav"
        self.process = network.start(
            host,
            f"linphone-{user}",
            *("stdbuf", "-o0", "linphonec", "-S", "-c", str(directory / "linphonerc")),
            environment={"HOME": str(directory)},
            keyboard=True,
        )
        self._seen = 0
        for line in ("soundcard use files", f"play {directory}/tone.wav", f"record {self._recording}"):
            self.process.type(line)

    def _wait(self, pattern: str, deadline: float) -> re.Match[str]:
        """What it says next of this kind; what it said before is not looked at again."""
        found = self.process.wait_for(pattern, deadline, self._seen)
        self._seen = found.end()
        return found

    def dial(self, user: str) -> None:
        self.process.type(f"call sip:{user}@{self._domain}")

    def wait_ringing(self, deadline: float = 10.0) -> None:
        self._wait(r"Receiving new incoming call", deadline)

    def answer(self) -> None:
        self.process.type("answer")

    def wait_established(self, deadline: float = 10.0) -> None:
        self._wait(r"Media streams established", deadline)

    def hangup(self) -> None:
        self.process.type("terminate")

    def wait_closed(self, deadline: float = 10.0) -> None:
        self._wait(r"Call \d+ with .* (ended|error)", deadline)

    def recording(self) -> Samples:
        """What it heard in its last call, once that is over."""
        eventually("a whole recording", self._is_recorded, 8.0)
        return read_wav(self._recording)

    def _is_recorded(self) -> bool:
        try:
            with wave.open(str(self._recording), "rb") as source:
                return source.getnframes() > 0
        except (OSError, EOFError, wave.Error):
            return False

    def assert_tone(self, frequency: float, talk: float) -> None:
        """The last call brought this tone for 80 % of `talk` seconds."""
        assert_heard(self.user, self.recording(), frequency, talk)

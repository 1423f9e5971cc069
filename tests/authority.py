"""An issuer of certificates for tests, made by the `openssl` program in a directory of the test's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_serial = count(1)
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"


@dataclass(frozen=True)
class Issued:
    """The files of one certificate: `certificate` has its issuer's below it."""

    certificate: Path
    private_key: Path

    def put(self, certificate: Path, private_key: Path) -> None:
        """Write both over others, as whoever renews certificates does."""
        certificate.write_bytes(self.certificate.read_bytes())
        private_key.write_bytes(self.private_key.read_bytes())


class Authority:
    """An issuer; `ca` is its own certificate, which others put into their `ca_list`."""

    def __init__(self, directory: Path, name: str = "Test CA") -> None:
        number = next(_serial)
        self._directory = directory
        self.ca = directory / f"ca{number}.pem"
        self._key = directory / f"ca{number}.key"
        subject = ("-subj", f"/CN={name}", "-days", "3650")
        openssl("req", "-x509", *_KEY, "-keyout", str(self._key), "-out", str(self.ca), *subject)

    def issue(
        self, *names: str, days: int = 365, common_name: str = "x", extra: Sequence[str] = ()
    ) -> Issued:
        """A certificate for `names`: `DNS:sip.example.org`, `URI:sip:example.org`, `IP:192.0.2.1`.

        With -1 `days` it ended yesterday.
        """
        base = self._directory / f"issued{next(_serial)}"
        issued = Issued(base.with_suffix(".pem"), base.with_suffix(".key"))
        request, said = base.with_suffix(".csr"), base.with_suffix(".ext")
        said.write_text("\n".join([*([f"subjectAltName={','.join(names)}"] if names else []), *extra]) + "\n")
        subject = ("-subj", f"/CN={common_name}")
        openssl("req", *_KEY, "-keyout", str(issued.private_key), "-out", str(request), *subject)
        signer = ("-CA", str(self.ca), "-CAkey", str(self._key), "-CAcreateserial", "-days", str(days))
        to = ("-extfile", str(said), "-out", str(issued.certificate))
        openssl("x509", "-req", "-in", str(request), *signer, *to)
        with issued.certificate.open("ab") as chain:
            chain.write(self.ca.read_bytes())
        return issued

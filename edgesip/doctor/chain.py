"""Would a client believe our certificate? A handshake with ourselves, in memory."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path


def doubt(certificate: Path, private_key: Path, authorities: Path | None) -> str:
    """Why a client that trusts `authorities` (None: those of this system) would not; empty when it would.

    Whether the name is right is another question.
    """
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, private_key)
        client = ssl.create_default_context(cafile=str(authorities) if authorities is not None else None)
        client.check_hostname = False
        _shake(server, client)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _shake(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Hand octets to and fro until the client is satisfied. Raises `ssl.SSLError`."""
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(here, there)
    answering = server.wrap_bio(there, here, server_side=True)
    for _ in range(10):
        try:
            asking.do_handshake()
            return
        except ssl.SSLWantReadError:
            pass
        with contextlib.suppress(ssl.SSLWantReadError):
            answering.do_handshake()

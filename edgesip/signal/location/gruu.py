"""Globally routable user agent URIs (RFC 5627): names of one instance of a user, made and read.

A public one shows the user and the instance. A temporary one shows nothing: it is the binding, sealed so
that only we can read it, another one each time, and good for as long as the phone keeps its Call-ID. Knows
no table.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable
from urllib.parse import quote, unquote

from edgesip.signal.location.usrloc import Binding
from edgesip.signal.wire.uri import Uri

_KEPT = "-_.!~*'()[]/:&+$"
"""What a URI parameter may hold as it is (RFC 3261 §25.1)."""
_NONCE, _MAC, _CALL = 8, 10, 4
_LONGEST = 256


def public_gruu(aor: Uri, instance: str) -> str:
    """`sip:user@host;gr=instance`."""
    return str(_named(aor, aor.user, quote(instance, _KEPT)))


def instance_of(uri: Uri) -> str:
    """The instance that a public GRUU names; '' for a temporary one, and for a URI that is none."""
    return unquote(uri.param("gr") or "")


def _named(aor: Uri, user: str | None, gr: str | None) -> Uri:
    return Uri(aor.scheme, user, None, aor.host, aor.port, (("gr", gr),))


class Gruus:
    """Temporary GRUUs: `secret` seals them."""

    def __init__(self, secret: bytes, entropy: Callable[[int], bytes]) -> None:
        self._seal = hmac.digest(secret, b"temporary GRUU: seal", "sha256")
        self._sign = hmac.digest(secret, b"temporary GRUU: sign", "sha256")
        self._entropy = entropy

    def temporary(self, aor: Uri, binding: Binding) -> str:
        """A new temporary GRUU of a binding: `sip:token@host;gr`."""
        nonce = self._entropy(_NONCE)
        text = _call(binding) + binding.ruid.encode()
        body = nonce + self._sealed(nonce, text)
        token = urlsafe_b64encode(body + self._mac(body)).decode().rstrip("=")
        return str(_named(aor, token, None))

    def ruid(self, uri: Uri) -> tuple[str, bytes] | None:
        """The ruid in a temporary GRUU of ours, and what its binding's Call-ID must be like (`is_of`)."""
        user = uri.user or ""
        if len(user) > _LONGEST:
            return None
        try:
            octets = urlsafe_b64decode(user.encode("ascii") + b"=" * (-len(user) % 4))
        except (Error, UnicodeEncodeError):
            return None
        body, mac = octets[:-_MAC], octets[-_MAC:]
        if len(body) <= _NONCE + _CALL or not hmac.compare_digest(mac, self._mac(body)):
            return None
        text = self._sealed(body[:_NONCE], body[_NONCE:])
        return text[_CALL:].decode("utf-8", "replace"), text[:_CALL]

    def _sealed(self, nonce: bytes, text: bytes) -> bytes:
        mask = hashlib.shake_256(self._seal + nonce).digest(len(text))
        return bytes([one ^ other for one, other in zip(text, mask, strict=True)])

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._sign, body, "sha256")[:_MAC]


def is_of(mark: bytes, binding: Binding) -> bool:
    """True while the binding has the Call-ID that it had when the GRUU was made (RFC 5627 §5.4)."""
    return mark == _call(binding)


def _call(binding: Binding) -> bytes:
    return hashlib.blake2b(binding.call_id.encode("utf-8", "surrogateescape"), digest_size=_CALL).digest()

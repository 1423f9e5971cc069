"""Nonces (RFC 7616 §5.4): made, known again, and counted where the profile asks for it.

A nonce carries its own time, and a keyed hash says that it is ours and for whom it was made, so that nothing
is kept of a client that has not authenticated. Only with `nonce_count` or `one_time_nonce` something is kept
of those that have. Refuses to know passwords and what a challenge looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from edgesip.signal.wire.message import Request

_TIME = 14  # hex digits that hold the time of making in us; the rest is the keyed hash
_MICRO = 1_000_000
_LENGTH = _TIME + 32
_USED_UP = 1 << 32  # greater than any nc, which has eight hex digits

RURI, CALL_ID, FROM_TAG, SOURCE = 1, 2, 4, 8
"""The bits of `auth_checks_*`: what of a request its nonce is bound to."""


@dataclass(frozen=True, slots=True)
class NonceSettings:
    """The part of `[auth]` that speaks of nonces; seconds, and bits of what they are bound to."""

    expire: float = 300.0
    max_drift: float = 3.0
    checks_register: int = SOURCE
    checks_no_dlg: int = SOURCE
    checks_in_dlg: int = SOURCE
    count: bool = False
    one_time: bool = False
    remembered: int = 65_536


class Nonces:
    """Makes nonces and knows them again.

    `secret` keys them: those of another secret are not ours. They hold wall time, `now + wall_offset`, so
    that they outlive the process. `started` is when it began (monotonic seconds): what was counted before is
    not known, so where it has to be known older ones are stale.
    """

    def __init__(
        self,
        secret: bytes,
        settings: NonceSettings,
        wall_offset: float = 0.0,
        started: float = 0.0,
    ) -> None:
        self.settings = settings
        self._key = blake2b(secret, digest_size=32).digest()
        self._offset = wall_offset
        self._used: dict[str, int] = {}
        self._floor = self._stamp(started)
        self._last = -1

    def issue(self, realm: str, request: Request, source: str, now: float) -> str:
        """A new nonce for this request from the IP address `source`."""
        self._last = stamp = max(self._stamp(now), self._last + 1)  # no two are the same
        time = f"{stamp:0{_TIME}x}"
        return time + self._mac(time, realm, request, source)

    def fault(self, nonce: str, realm: str, request: Request, source: str, now: float) -> str:
        """Why this nonce is not to be taken, or '' when it is ours, for this request, and fresh."""
        if len(nonce) != _LENGTH or not nonce.isascii():
            return "nonce is not ours"
        time = nonce[:_TIME]
        if not compare_digest(nonce[_TIME:], self._mac(time, realm, request, source)):
            return "nonce is not ours or was given to another"
        age = self._stamp(now) - int(time, 16)
        if age >= self.settings.expire * _MICRO:
            return "nonce has expired"
        return "nonce is from the future" if age < -self.settings.max_drift * _MICRO else ""

    def spend(self, nonce: str, count: int) -> str:
        """Why a nonce that authenticated may not do so with this count, or '' after it is noted (§3.4).

        Call it for right credentials alone: it is the one place that remembers anything.
        """
        settings = self.settings
        if not (settings.count or settings.one_time):
            return ""
        used = self._used
        last = used.get(nonce)
        if last is None:
            if int(nonce[:_TIME], 16) < self._floor:
                return "nonce is older than what is remembered"
            if len(used) >= settings.remembered:
                self._forget()
        elif count <= last:
            return "nonce was used before"
        used[nonce] = _USED_UP if settings.one_time else count
        return ""

    def __len__(self) -> int:
        """How many nonces are remembered."""
        return len(self._used)

    def _forget(self) -> None:
        """Drop the half that was made first; whatever is as old as those is stale from now on."""
        oldest = sorted(self._used)[: max(1, len(self._used) // 2)]
        for nonce in oldest:
            del self._used[nonce]
        self._floor = max(self._floor, int(oldest[-1][:_TIME], 16) + 1)

    def _stamp(self, now: float) -> int:
        return max(0, int((now + self._offset) * _MICRO))

    def _mac(self, time: str, realm: str, request: Request, source: str) -> str:
        """32 hex digits over the time, the realm and what of the request `auth_checks_*` selects."""
        settings = self.settings
        if request.method == "REGISTER":
            checks = settings.checks_register
        elif request.headers.to.tag:
            checks = settings.checks_in_dlg
        else:
            checks = settings.checks_no_dlg
        bound = source if checks & SOURCE else ""
        if checks & ~SOURCE:
            headers = request.headers
            uri = request.uri if checks & RURI else ""
            call_id = headers.call_id if checks & CALL_ID else ""
            tag = headers.from_.tag if checks & FROM_TAG else ""
            bound = f"{bound}\0{uri}\0{call_id}\0{tag}"
        text = f"{time}\0{realm}\0{bound}".encode("utf-8", "surrogateescape")
        return blake2b(text, key=self._key, digest_size=16).hexdigest()

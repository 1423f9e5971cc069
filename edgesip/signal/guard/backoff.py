"""Wrong passwords: how soon the next guess is weighed. Whoever is at home here is never made to wait.

Failures are counted for a name from one address and port, for a name from one address, for a name wherever it
comes from, and for an address whatever the name. Each may fail a few times at once; then the time until the
next try is weighed doubles, up to a limit. Who waits hears what everybody hears whose password is wrong.
Nothing is kept of anybody but those who failed with a nonce of ours, and those who proved a password. All
tables are bounded.

The others at an address suffer as little as can be: a port that does wrong is held back before its address;
a name that has not failed from a noisy address is heard there, unless too many others have failed; one that
has proved its password from an address is not held back for what is done with it elsewhere. Knows no
bindings: whoever asks says who is at home.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesip.address import Addr, parse_ip

FORGET = 900.0
"""Seconds without a failure after which those before are forgotten."""
PROVEN = 86_400.0
"""Seconds for which it is remembered that a name proved its password from an address."""
ENTRIES = 65_536
"""Failing names and addresses, and pairs that have proved a password, remembered at most: the newest."""
WIDE = 2
"""A name, or an address, may fail so many times `after`: several may share it."""
WIDE_LIMIT = 6.0
"""A name waits for this part of `limit` at most: somebody may have no other."""
CROWD = 12
"""Names that may fail at one address before names that have not failed yet are held back there."""

HELD = "held back after too many wrong passwords"
HELD_FOR_OTHERS = "held back after too many wrong passwords of others"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    """`after` failures are weighed at once, 0 for all of them; then one in `limit` seconds at worst."""

    after: int = 5
    limit: float = 60.0


class _Tries:
    """The failures of one key, and until when the next one is not weighed; `names` of an address's are first
    ones of a name."""

    __slots__ = ("count", "last", "names", "until")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.names = 0
        self.until = 0.0


class Backoff:
    """Who has to wait. One network (/64) of IPv6 addresses is one address."""

    def __init__(self, settings: BackoffSettings, entries: int = ENTRIES) -> None:
        self.settings = settings
        self._entries = entries
        self._tries: dict[Key, _Tries] = {}
        self._proven: dict[Key, float] = {}

    def __len__(self) -> int:
        """How many names, addresses and pairs of them have failed of late."""
        return len(self._tries)

    def holds(self, user: str, remote: Addr, now: float) -> str:
        """Why a password of `user` that comes from `remote` is not to be weighed yet; '' when it is."""
        if not self._tries:
            return ""
        source = network(remote.host)
        failed_here = (user, source) in self._tries
        if self._waits((user, str(remote)), now):
            return HELD
        if self._waits((user, source), now):
            return HELD if (user, str(remote)) in self._tries else HELD_FOR_OTHERS
        proven = self._proven.get((user, source))
        if proven is not None and now - proven < PROVEN:
            return ""
        address = self._tries.get(("", source))
        if address is not None and now < address.until and (failed_here or address.names >= CROWD):
            return HELD_FOR_OTHERS
        return HELD_FOR_OTHERS if self._waits((user, ""), now) else ""

    def failed(self, user: str, remote: Addr, now: float) -> None:
        """A wrong password, or an unknown name, with a nonce that had been given to this address."""
        after, limit = self.settings.after, self.settings.limit
        if not after:
            return
        source = network(remote.host)
        first = (user, source) not in self._tries
        self._count((user, str(remote)), after, limit, now)
        self._count((user, source), after * WIDE, limit / WIDE_LIMIT, now)
        self._count((user, ""), after * WIDE, limit / WIDE_LIMIT, now)
        self._count(("", source), after * WIDE, limit, now).names += first

    def proved(self, user: str, remote: Addr, now: float) -> None:
        """The right password: this pair is known, and its port starts afresh; its name and its address do
        not, for somebody else may be guessing there."""
        pair = (user, network(remote.host))
        self._proven.pop(pair, None)
        self._proven[pair] = now
        if len(self._proven) > self._entries:
            del self._proven[next(iter(self._proven))]
        if self._tries:
            self._tries.pop((user, str(remote)), None)

    def _waits(self, key: Key, now: float) -> bool:
        found = self._tries.get(key)
        return found is not None and now < found.until

    def _count(self, key: Key, after: int, limit: float, now: float) -> _Tries:
        tries = self._tries
        found = tries.pop(key, None)
        if found is None or now - found.last >= FORGET:
            found = _Tries()
        found.count += 1
        found.last = now
        if found.count >= after:
            found.until = now + min(2.0 ** min(found.count - after, 30), limit)
        tries[key] = found
        while len(tries) > self._entries or now - tries[next(iter(tries))].last >= FORGET:
            del tries[next(iter(tries))]
        return found


def network(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that an IPv6 address is in."""
    if ":" not in host:
        return host
    ip = parse_ip(host)
    if ip is None or ip.version == 4:
        return host if ip is None else str(ip)
    return f"{int(ip) >> 64:016x}/64"

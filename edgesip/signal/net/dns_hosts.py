"""The hosts file: names that an operator has given addresses, read again when the file changes.

What it names is not asked in DNS. Knows no DNS.
"""

from __future__ import annotations

from pathlib import Path

from edgesip.address import parse_ip
from edgesip.signal.proxy.hops import Answer, Host, Question, Record

HOSTS = Path("/etc/hosts")
KINDS = {4: "A", 6: "AAAA"}
NEVER = float("inf")


class Watched:
    """A small text file, and whether it has changed since it was last looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None

    def changed(self) -> bool:
        """True the first time, and whenever the file is another one than before; so too when it is gone."""
        try:
            state = self.path.stat()
            now = (state.st_mtime_ns, state.st_size)
        except OSError:
            now = (0, 0)
        changed, self._seen = now != self._seen, now
        return changed

    def lines(self) -> list[str]:
        """Its lines; none when it cannot be read."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []


class HostsFile:
    """Answers for the names of a hosts file (hosts(5))."""

    def __init__(self, path: Path = HOSTS) -> None:
        self._file = Watched(path)
        self._names: dict[str, tuple[Record, ...]] = {}

    def look(self) -> None:
        """Read it, if it has changed."""
        if self._file.changed():
            self._names = _read(self._file.lines())

    def get(self, question: Question) -> Answer | None:
        """Its addresses for a name it knows, and that such a name has no SRV or NAPTR; None for others."""
        name = question.name
        while name.startswith("_"):
            name = name.partition(".")[2]
        records = self._names.get(name)
        if records is None:
            return None
        family = ":" if question.kind == "AAAA" else "."
        wanted = question.kind in KINDS.values() and name == question.name
        return Answer(
            tuple(one for one in records if wanted and isinstance(one, Host) and family in one.ip), NEVER
        )


def _read(lines: list[str]) -> dict[str, tuple[Record, ...]]:
    names: dict[str, tuple[Record, ...]] = {}
    for line in lines:
        words = line.partition("#")[0].split()
        ip = parse_ip(words[0]) if words else None
        if ip is None:
            continue
        host = Host(str(ip))
        for word in words[1:]:
            name = word.lower().rstrip(".")
            if host not in names.get(name, ()):
                names[name] = (*names.get(name, ()), host)
    return names

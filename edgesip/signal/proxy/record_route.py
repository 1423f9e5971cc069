"""Our Record-Route entries in another style than the usual one: Kamailio's parameters of `rr`.

Text in, text out; the usual style costs nothing here, because nobody calls.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RrSettings:
    """The `[rr]` section; these defaults are the usual style."""

    enable_double_rr: int = 1
    enable_full_lr: bool = False
    append_fromtag: bool = True
    add_username: bool = False

    def styled(self, entries: list[str], user: str) -> list[str]:
        """The entries, the one nearest the top last, as these settings want them."""
        if self.enable_double_rr == 0:
            entries = [entries[0].replace(";r2=on", "", 1)]
        elif self.enable_double_rr == 2 and len(entries) == 1:
            entries = [entries[0].replace(";lr", ";r2=on;lr", 1)] * 2
        if not self.append_fromtag:
            entries = [_without_ftag(entry) for entry in entries]
        if self.enable_full_lr:
            entries = [entry.replace(";lr", ";lr=on", 1) for entry in entries]
        if self.add_username and user:
            entries = [entry.replace(":", f":{user}@", 1) for entry in entries]
        return entries


def _without_ftag(entry: str) -> str:
    head, found, tail = entry.partition(";ftag=")
    if not found:
        return entry
    ends = [at for at in (tail.find(";"), tail.find(">")) if at >= 0]
    return head + tail[min(ends) :]

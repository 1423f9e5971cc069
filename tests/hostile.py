"""Text that is more than text to databases, terminals, shells and browsers (threat 18)."""

from __future__ import annotations

import random

PIECES = (
    "' OR '1'='1",
    "'; DROP TABLE subscriber; --",
    '"; rm -rf / #',
    "\x1b[2J\x1b]0;x\x07",
    "<script>alert(1)</script>",
    "${jndi:ldap://x}",
    "%s%n%x",
    "../../etc/passwd",
    "$(reboot)",
    "`id`",
    "\u202e\u2028\u0085",
    "alice\x00",
    "%00%0d%0a",
    "\\\\' \\",
    "\udcff\udcfe",
)


def hostile() -> list[str]:
    """Three hundred such names, the same each time."""
    dice = random.Random(18)
    return ["".join(dice.choices(PIECES, k=1 + number % 3)) for number in range(300)]

"""rtpproxy's flags and rtpengine's words: each read as what it means, everything else refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from edgesip.relay.flags import TABLE, read
from edgesip.wish import Wish

PLAIN = Wish()

READ = {
    "": PLAIN,
    "1": replace(PLAIN, key="1"),
    "2": replace(PLAIN, key="2"),
    "3": replace(PLAIN, key="3"),
    "b": replace(PLAIN, key="b"),
    "a": replace(PLAIN, learn="asymmetric", trust=True),
    "l": replace(PLAIN, lookup=True),
    "ie": replace(PLAIN, sender="internal", receiver="external"),
    "ei": replace(PLAIN, sender="external", receiver="internal"),
    "ii": replace(PLAIN, sender="internal", receiver="internal"),
    "ee": replace(PLAIN, sender="external", receiver="external"),
    "x": replace(PLAIN, family="other"),
    "f": replace(PLAIN, force=True),
    "r": replace(PLAIN, trust=True),
    "o": replace(PLAIN, origin=True),
    "c": replace(PLAIN, connection=True),
    "w": replace(PLAIN, learn="nat"),
    "z20": replace(PLAIN, ptime=20),
    "t": replace(PLAIN, whole=True),
    "via-branch=1": replace(PLAIN, key="1"),
    "via-branch=2": replace(PLAIN, key="2"),
    "via-branch=auto": replace(PLAIN, key="3"),
    "via-branch=extra": replace(PLAIN, key="b"),
    "asymmetric": replace(PLAIN, learn="asymmetric", trust=True),
    "internal external": replace(PLAIN, sender="internal", receiver="external"),
    "auto-bridge": replace(PLAIN, family="other"),
    "force": replace(PLAIN, force=True),
    "trust-address": replace(PLAIN, trust=True),
    "replace-origin": replace(PLAIN, origin=True),
    "replace=origin": replace(PLAIN, origin=True),
    "replace-session-connection": replace(PLAIN, connection=True),
    "symmetric": replace(PLAIN, learn="nat"),
    "endpoint-learning=heuristic": replace(PLAIN, learn="nat"),
    "endpoint-learning=off": replace(PLAIN, learn="strict"),
    "repacketize=30": replace(PLAIN, ptime=30),
    "trust-address SIP-source-address": PLAIN,
    "learn=loose": replace(PLAIN, learn="loose"),
    "endpoint-learning=delayed": replace(PLAIN, learn="loose"),
    "media-handover": replace(PLAIN, handover=True),
    "strict-source": PLAIN,
    "ICE=remove": PLAIN,
    "address-family=IP4": replace(PLAIN, family="IP4"),
    "address-family=IP6": replace(PLAIN, family="IP6"),
    "direction=Inside direction=trunk": replace(PLAIN, sender="Inside", receiver="trunk"),
    "from-interface=a to-interface=b": replace(PLAIN, sender="a", receiver="b"),
    "media-address=[2001:DB8::1]": replace(PLAIN, address="2001:db8::1"),
    # Together, in any order and of any case.
    "corz20f": replace(PLAIN, origin=True, connection=True, trust=True, ptime=20, force=True),
    "FRWOC": replace(PLAIN, force=True, trust=True, learn="nat", origin=True, connection=True),
    "co replace-session-connection trust-address": replace(PLAIN, origin=True, connection=True, trust=True),
    "IEZ40": replace(PLAIN, sender="internal", receiver="external", ptime=40),
    "ofree": replace(PLAIN, origin=True, force=True, trust=True, sender="external", receiver="external"),
}


@pytest.mark.parametrize("text", READ)
def test_what_is_asked_for_is_read(text: str) -> None:
    assert read(text) == READ[text]


def test_every_row_of_the_table_has_its_example() -> None:
    letters = set(re.sub(r"[^a-z0-9]", "", "".join(text for text in READ if "=" not in text)))
    for flag in TABLE:
        assert flag.letter in letters or not flag.letter
        for word in flag.words:
            assert any(token.startswith(word) for text in READ for token in text.split()), word


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("q", "'q' is no flag"),
        ("fq", "'fq' is no flag"),
        ("B", "'B' is no flag"),
        ("+", "no flag"),
        ("S", "no flag"),
        ("z", "'z' is no flag"),
        ("z5", "milliseconds"),
        ("z15", "milliseconds"),
        ("z999", "milliseconds"),
        ("z99999", "milliseconds"),
        ("repacketize=x", "milliseconds"),
        ("i", "come in twos"),
        ("e", "come in twos"),
        ("iei", "more than two"),
        ("internal", "come in twos"),
        ("trust-adress", "did you mean trust-address?"),
        ("RTP/SAVP", "no flag"),
        ("media-address=example.org", "no IP address"),
        ("direction=", "no flag"),
        ("via-branch=9", "no flag"),
    ],
)
def test_what_is_no_flag_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        read(text)

"""rtpproxy's recording for scripts: which forms there are, under its names.

Who records, and where, is the relay's.
"""

from __future__ import annotations

FORMS = ("wav", "pcap")
STOP = "stop"


def form_of(kind: str) -> str:
    """The form of a recording; ValueError for one that there is not."""
    if kind not in FORMS:
        raise ValueError(f"start_recording: there are {' and '.join(FORMS)}, no {kind!r}")
    return kind


def asked(wanted: str) -> list[str]:
    """What a script called, to have this wanted."""
    if not wanted:
        return []
    return ["stop_recording()"] if wanted == STOP else [f"start_recording({wanted!r})"]

"""A relay for other servers' calls: media, and no SIP.

Nothing is listened on for SIP. Should somebody add a listener, what comes there gets no answer.
"""

from edgesip.script import Call, Decision, Drop


def request(call: Call) -> Decision:
    """Nobody is served here."""
    return Drop()

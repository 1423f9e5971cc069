"""What tests do with two phones or two agents again and again."""

from __future__ import annotations

from lab.phone import Phone


def connect(caller: Phone, callee: Phone) -> None:
    """From dialling to the answer, seen by both."""
    caller.dial(callee.user)
    callee.wait_ringing()
    callee.answer()
    caller.wait_established()
    callee.wait_established()

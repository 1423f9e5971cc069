"""Dialogs that outlive the process: what is kept of one, and how it is known again.

Answered ones alone: what rings ends with its transactions. Refuses to know what keeps records, when they are
written, and media.
"""

from __future__ import annotations

from edgesip.signal.dialog.state import Dialog, DialogState
from edgesip.signal.dialog.table import Dialogs
from edgesip.store.api import Record

TABLE = "dialog"
VERSION = 1
"""Of the records: those of another one are not read."""
_LIVING = (DialogState.CONFIRMED_NA, DialogState.CONFIRMED)


class NotKept(Exception):
    """This dialog cannot be known again; the message says why."""


def follow(dialogs: Dialogs) -> None:
    """Have the table say from now on which dialogs have changed (`changed`)."""
    dialogs.changed = {}


def changed(dialogs: Dialogs) -> list[Dialog]:
    """The dialogs that have changed since this was asked last."""
    found = dialogs.changed or {}
    dialogs.changed = {}
    return list(found)


def name_of(dialog: Dialog) -> str:
    """The name of a dialog's row: its number, and which of those who answered it is with."""
    return f"{dialog.did} {dialog.callee.tag}"


def record_of(dialog: Dialog, wall_offset: float) -> Record | None:
    """What is to be kept of a dialog, with wall times; None for nothing."""
    return {"v": VERSION, **dialog.record(wall_offset)} if dialog.state in _LIVING else None


def take_up(dialogs: Dialogs, record: Record, now: float, wall_offset: float) -> Dialog:
    """The dialog of a record, in the table again. Raises `NotKept`."""
    values = dict(record)
    if values.pop("v", None) != VERSION:
        raise NotKept("its record is of another version")
    try:
        dialog = Dialog.from_record(values, wall_offset)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise NotKept(f"its record cannot be read: {error!r}") from None
    if dialog.state not in _LIVING:
        raise NotKept("it was not up")
    if not dialogs.restore(dialog, now):
        raise NotKept("its time is over")
    return dialog

"""What event hooks see: a call that began or ended, a contact that expired, a connection that is gone.

Values to read, made for one hook each. What they tell of is over: nothing is changed through them.
"""

from __future__ import annotations

from edgesip.script.rooms import Rooms
from edgesip.signal.dialog.state import Dialog, DialogState
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.inbound import Closed
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import parse_name_addr


class DialogEvent:
    """A call: what `dialog_start`, `dialog_end`, `dialog_failed`, `dialog_timeout` and `rtp_timeout` see."""

    __slots__ = ("_dialog", "_now")

    def __init__(self, dialog: Dialog, now: float) -> None:
        self._dialog = dialog
        self._now = now

    @property
    def call_id(self) -> str:
        """`$dlg(callid)`: the Call-ID."""
        return self._dialog.call_id

    @property
    def ruri(self) -> str:
        """The request URI that the call was made with."""
        return self._dialog.ruri

    @property
    def from_uri(self) -> str:
        """`$dlg(from_uri)`: the caller's URI."""
        return _uri_of(self._dialog.caller.uri)

    @property
    def from_user(self) -> str:
        """The caller's user name, unescaped."""
        return _user_of(self._dialog.caller.uri)

    @property
    def from_tag(self) -> str:
        """`$dlg(from_tag)`: the caller's tag."""
        return self._dialog.caller.tag

    @property
    def from_contact(self) -> str:
        """`$dlg(from_contact)`: where the caller is."""
        return self._dialog.caller.contact

    @property
    def to_uri(self) -> str:
        """`$dlg(to_uri)`: the URI that was called."""
        return _uri_of(self._dialog.callee.uri)

    @property
    def to_user(self) -> str:
        """The called user's name, unescaped."""
        return _user_of(self._dialog.callee.uri)

    @property
    def to_tag(self) -> str:
        """`$dlg(to_tag)`: the tag of the one who answered; empty when nobody did."""
        return self._dialog.callee.tag

    @property
    def to_contact(self) -> str:
        """`$dlg(to_contact)`: where the one who answered is."""
        return self._dialog.callee.contact

    @property
    def state(self) -> int:
        """`$dlg(state)`: 1 calling, 2 ringing, 3 answered, 4 confirmed, 5 over."""
        return int(self._dialog.state)

    @property
    def answered(self) -> bool:
        """True when somebody answered, whatever came afterwards."""
        return self._dialog.start > 0

    @property
    def ringing(self) -> float:
        """Seconds from the INVITE to the answer; without one, to the end or to now."""
        return (self._dialog.start or self._end()) - self._dialog.init

    @property
    def duration(self) -> float:
        """`$dlg(lifetime)`: seconds from the answer to the end, or to now; 0 when nobody answered."""
        return self._end() - self._dialog.start if self._dialog.start else 0.0

    @property
    def ended_by(self) -> str:
        """What ended it: `caller`, `callee`, `486 Busy Here`, `RTP Timeout`...; empty while it lasts."""
        return self._dialog.ended_by

    def _end(self) -> float:
        return self._dialog.end if self._dialog.state is DialogState.DELETED else self._now


class ContactEvent:
    """A contact whose time is over: what `contact_expired` sees."""

    __slots__ = ("_binding",)

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    @property
    def binding(self) -> Binding:
        """Everything that was known of it."""
        return self._binding

    @property
    def aor(self) -> str:
        """`$ulc(exp=>aor)`: the user whose contact it was."""
        return self._binding.aor

    @property
    def contact(self) -> str:
        """`$ulc(exp=>addr)`: the contact URI as it was registered."""
        return self._binding.contact

    @property
    def received(self) -> str:
        """`$ulc(exp=>received)`: the URI of the address it registered from."""
        return self._binding.received

    @property
    def user_agent(self) -> str:
        """`$ulc(exp=>user_agent)`: what the phone called itself."""
        return self._binding.user_agent


class FlowEvent:
    """A connection that is gone: what `tcp_closed` sees."""

    __slots__ = ("_closed",)

    def __init__(self, closed: Closed) -> None:
        self._closed = closed

    @property
    def transport(self) -> str:
        """`$proto`: tcp, tls..."""
        return self._closed.flow.transport

    @property
    def source_ip(self) -> str:
        """`$si`: the address of the other side."""
        return self._closed.flow.remote.host

    @property
    def source_port(self) -> int:
        """`$sp`: the port of the other side."""
        return self._closed.flow.remote.port

    @property
    def received_ip(self) -> str:
        """`$Ri`: our address."""
        return self._closed.flow.local.host

    @property
    def received_port(self) -> int:
        """`$Rp`: our port."""
        return self._closed.flow.local.port

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The contacts that were registered over it, and are gone with it."""
        return self._closed.bindings


HookEvent = DialogEvent | ContactEvent | FlowEvent


def event_for(about: Dialog | Binding | Closed, rooms: Rooms, now: float) -> HookEvent:
    """What a hook is given for what happened."""
    if isinstance(about, Dialog):
        return DialogEvent(about, now)
    if isinstance(about, Binding):
        return ContactEvent(about)
    return FlowEvent(about)


def _uri(text: str) -> Uri | None:
    try:
        return parse_name_addr(text).uri
    except ParseError:
        return None


def _uri_of(text: str) -> str:
    uri = _uri(text)
    return str(uri) if uri is not None else ""


def _user_of(text: str) -> str:
    uri = _uri(text)
    return (uri.username or "") if uri is not None else ""

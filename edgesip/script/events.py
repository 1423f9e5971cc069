"""What event hooks see: a call that began or ended, a contact that expired, a connection that is gone.

Values to read, made for one hook each. What they tell of is over: nothing is changed through them.
"""

from __future__ import annotations

from collections.abc import Callable

from edgesip.script.heard import Stat
from edgesip.script.rooms import Rooms
from edgesip.script.template import filled
from edgesip.script.transform import name_addr
from edgesip.signal.dialog.offer_answer import Media
from edgesip.signal.dialog.state import Dialog, DialogState
from edgesip.signal.location.binding import NAT_FLAG, Binding
from edgesip.signal.proxy.inbound import Closed


class DialogEvent:
    """A call: what `dialog_start`, `dialog_end`, `dialog_failed`, `dialog_timeout` and `rtp_timeout` see."""

    __slots__ = ("_dialog", "_media", "_now")

    def __init__(self, dialog: Dialog, now: float, media: Media | None = None) -> None:
        self._dialog = dialog
        self._now = now
        self._media = media

    def fmt(self, text: str) -> str:
        """The text with its pseudo-variables filled in; ValueError for one that does not exist here."""
        return filled(text, self)

    def dlg(self, name: str) -> str:
        """`$dlg(name)`: what the dialog module calls it: callid, from_uri, to_contact, lifetime..."""
        return dialog_value(self._dialog, name, self._now)

    def dlg_var(self, name: str) -> str:
        """`$dlg_var(name)`: what the script kept with the call by `dlg_set_var`; empty for nothing."""
        return self._dialog.variables.get(name, "")

    @property
    def call_id(self) -> str:
        """`$ci`, `$dlg(callid)`: the Call-ID."""
        return self._dialog.call_id

    @property
    def ruri_text(self) -> str:
        """`$ru`: the request URI that the call was made with."""
        return self._dialog.ruri

    @property
    def from_uri(self) -> str:
        """`$fu`, `$dlg(from_uri)`: the caller's URI."""
        return _uri_of(self._dialog.caller.uri)

    @property
    def from_user(self) -> str:
        """`$fU`: the caller's user name, unescaped."""
        return _user_of(self._dialog.caller.uri)

    @property
    def from_tag(self) -> str:
        """`$ft`, `$dlg(from_tag)`: the caller's tag."""
        return self._dialog.caller.tag

    @property
    def from_contact(self) -> str:
        """`$dlg(from_contact)`: where the caller is."""
        return self._dialog.caller.contact

    @property
    def to_uri(self) -> str:
        """`$tu`, `$dlg(to_uri)`: the URI that was called."""
        return _uri_of(self._dialog.callee.uri)

    @property
    def to_user(self) -> str:
        """`$tU`: the called user's name, unescaped."""
        return _user_of(self._dialog.callee.uri)

    @property
    def to_tag(self) -> str:
        """`$tt`, `$dlg(to_tag)`: the tag of the one who answered; empty when nobody did."""
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
        return _talked(self._dialog, self._now)

    @property
    def ended_by(self) -> str:
        """What ended it: `caller`, `callee`, `486 Busy Here`, `RTP Timeout`...; empty while it lasts."""
        return self._dialog.ended_by

    @property
    def rtpstat(self) -> str:
        """`$rtpstat`: rtpproxy's answer to Q: seconds left, packets from who answered, from who called,
        relayed, dropped; empty half a minute after the end, and for media that we did not have.
        """
        return self._stat().numbers

    @property
    def rtpestat(self) -> str:
        """`$rtpestat`: the same in words, for each side: address, packets, dropped, MOS, loss, jitter."""
        return self._stat().words

    @property
    def rtp_mos(self) -> str:
        """`$rtp_mos`: MOS, 1 to 4.5, of the side that came in worse."""
        return self._stat().worst("mos")

    @property
    def rtp_loss(self) -> str:
        """`$rtp_loss`: lost packets in percent, of the side that came in worse."""
        return self._stat().worst("loss")

    @property
    def rtp_jitter(self) -> str:
        """`$rtp_jitter`: jitter in milliseconds, of the side that came in worse."""
        return self._stat().worst("jitter")

    def _stat(self) -> Stat:
        return Stat(self._media, self._dialog.media_key, self._now)

    def _end(self) -> float:
        return self._dialog.end if self._dialog.state is DialogState.DELETED else self._now


class ContactEvent:
    """A contact that came, was refreshed, or is gone: what `contact_added`, `contact_updated`,
    `contact_deleted` and `contact_expired` see.
    """

    __slots__ = ("_binding", "_now")

    def __init__(self, binding: Binding, now: float) -> None:
        self._binding = binding
        self._now = now

    def fmt(self, text: str) -> str:
        """The text with its pseudo-variables filled in; ValueError for one that does not exist here."""
        return filled(text, self)

    def ulc(self, name: str) -> str:
        """`$ulc(exp=>name)`: aor, addr, received, callid, q, cseq, user_agent, path, ruid, instance..."""
        name = name.removeprefix("exp=>")
        if name == "expires":
            return str(self.expires)
        value = _CONTACT.get(name)
        if value is None:
            raise ValueError(f"there is no $ulc({name}); there are expires, {', '.join(_CONTACT)}")
        return str(value(self._binding))

    @property
    def expires(self) -> int:
        """`$ulc(exp=>expires)`: seconds left, 0 when they are over or never will be."""
        left = self._binding.expires - self._now
        return 0 if self._binding.permanent else max(0, round(left))

    @property
    def binding(self) -> Binding:
        """Everything that was known of it."""
        return self._binding

    @property
    def aor(self) -> str:
        """`$ulc(exp=>aor)`: the user whose contact it is, or was."""
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

    def fmt(self, text: str) -> str:
        """The text with its pseudo-variables filled in; ValueError for one that does not exist here."""
        return filled(text, self)

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


_CONTACT: dict[str, Callable[[Binding], object]] = {
    "aor": lambda one: one.aor,
    "domain": lambda one: "location",
    "addr": lambda one: one.contact,
    "path": lambda one: one.path,
    "received": lambda one: one.received,
    "callid": lambda one: one.call_id,
    "q": lambda one: "" if one.q < 0 else f"{one.q:g}",
    "cseq": lambda one: one.cseq,
    "user_agent": lambda one: one.user_agent,
    "socket": lambda one: f"{one.flow.transport}:{one.flow.local}",
    "methods": lambda one: ",".join(one.methods),
    "ruid": lambda one: one.ruid,
    "instance": lambda one: one.instance,
    "regid": lambda one: one.reg_id,
    "flags": lambda one: one.flags,
    "cflags": lambda one: one.cflags | (NAT_FLAG if one.nated else 0),
}

_DIALOG: dict[str, Callable[[Dialog, float], object]] = {
    "callid": lambda one, now: one.call_id,
    "from_uri": lambda one, now: _uri_of(one.caller.uri),
    "from_tag": lambda one, now: one.caller.tag,
    "from_contact": lambda one, now: one.caller.contact,
    "from_cseq": lambda one, now: one.caller.cseq,
    "from_rs": lambda one, now: ",".join(one.caller.routes),
    "to_uri": lambda one, now: _uri_of(one.callee.uri),
    "to_tag": lambda one, now: one.callee.tag,
    "to_contact": lambda one, now: one.callee.contact,
    "to_cseq": lambda one, now: one.callee.cseq,
    "to_rs": lambda one, now: ",".join(one.callee.routes),
    "h_id": lambda one, now: one.h_id,
    "h_entry": lambda one, now: one.h_entry,
    "state": lambda one, now: int(one.state),
    "lifetime": lambda one, now: int(_talked(one, now)),
}


def dialog_value(dialog: Dialog, name: str, now: float) -> str:
    """What `$dlg(name)` is; ValueError for a name that does not exist."""
    value = _DIALOG.get(name)
    if value is None:
        raise ValueError(f"there is no $dlg({name}); there are {', '.join(_DIALOG)}")
    return str(value(dialog, now))


def _talked(dialog: Dialog, now: float) -> float:
    end = dialog.end if dialog.state is DialogState.DELETED else now
    return end - dialog.start if dialog.start else 0.0


HookEvent = DialogEvent | ContactEvent | FlowEvent


def event_for(about: Dialog | Binding | Closed, rooms: Rooms, now: float) -> HookEvent:
    """What a hook is given for what happened."""
    if isinstance(about, Dialog):
        return DialogEvent(about, now, rooms.media)
    if isinstance(about, Binding):
        return ContactEvent(about, now)
    return FlowEvent(about)


def _uri_of(text: str) -> str:
    uri = name_addr(text).uri
    return str(uri) if uri.scheme else ""


def _user_of(text: str) -> str:
    return name_addr(text).uri.username or ""

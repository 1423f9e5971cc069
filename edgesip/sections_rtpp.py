"""The section of a profile for those who use this relay by rtpproxy's protocol: where, who, whom to tell.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainValidator

from edgesip import forms, forms_rtpp
from edgesip.forms import Network
from edgesip.forms_rtpp import CommandSocket
from edgesip.sections import Section


class Rtpp(Section):
    """The media relay for other servers, in the place of their rtpproxy. Who can send commands can end every
    call of theirs, and have media sent anywhere.
    """

    listen: Annotated[tuple[CommandSocket, ...], PlainValidator(forms_rtpp.listen)] = ()
    """Where commands are taken: `udp:ADDR:PORT` (port 22222 if there is none), `unix:PATH` with one command
    to a connection, `cunix:PATH` with many; as rtpproxy's `-s`. Empty: nowhere."""
    allow: Annotated[tuple[Network, ...], PlainValidator(forms.networks)] = forms.networks("127.0.0.0/8,::1")
    """Whose datagrams are answered. Others can write these addresses on theirs: name only networks where that
    cannot be. Unix sockets are open to their user and group (mode 0660)."""
    notify: Annotated[tuple[str, ...], PlainValidator(forms_rtpp.notify)] = ()
    """Sockets that a command may name to be told of media timeouts: `unix:PATH`, `tcp:ADDR:PORT`, or
    `%%CC_SELF%%:PORT` for who sent the command; as rtpproxy's `-n`. Empty: none."""

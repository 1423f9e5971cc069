"""The sections of a profile for phones behind NAT: what keeps their way open, what tells them who they are.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator, model_validator

from edgesip import forms, forms_nat
from edgesip.address import Addr
from edgesip.forms import Listen
from edgesip.sections import Section


class Nathelper(Section):
    """Pings that keep the way to registered phones open, and how scripts repair what a NAT breaks.

    A contact is marked by the script that saves it: `call.setbflag(NUMBER)`; 6 is "behind a NAT".
    """

    natping_interval: Annotated[int, Field(ge=0, le=3600)] = 25
    """Seconds between two pings of each UDP contact, which keep its way through a NAT open; 0 for none."""
    ping_nated_only: bool = False
    """`true`: only contacts that were saved as behind a NAT are pinged."""
    sipping_bflag: Annotated[int, Field(ge=-1, le=31)] = 7
    """Contacts with this flag are sent a request, which they answer, instead of four octets, which nobody
    answers; without `ping_nated_only` all are. -1: four octets for everybody."""
    sipping_method: Annotated[str, PlainValidator(forms.method)] = "OPTIONS"
    """The method of that request."""
    sipping_from: Annotated[str, PlainValidator(forms.sip_uri)] = ""
    """The URI of its From; empty for sip:ping@ and our address."""
    natping_disable_bflag: Annotated[int, Field(ge=-1, le=31)] = -1
    """Contacts with this flag are not pinged; -1: there is no such flag."""
    keepalive_timeout: Annotated[int, Field(ge=0, le=86400)] = 0
    """Seconds without an answer to these requests after which a contact has ten seconds left; 0: it stays
    until it expires. Contacts that get four octets always stay."""
    force_socket: Annotated[Listen | None, PlainValidator(forms_nat.socket)] = None
    """The one of our UDP listeners that every ping leaves by, `udp:ADDR:PORT`; without it, that which the
    phone registered at. Of no use for phones behind a NAT that lets only that one in."""
    natping_socket: Annotated[Addr | None, PlainValidator(forms_nat.spoofed_socket)] = None
    """An IPv4 address, not ours, that pings of four octets say they come from, for phones behind a NAT that
    lets in that server alone. Needs CAP_NET_RAW: without it they leave by our own, and start-up says so."""
    udpping_from_path: bool = False
    """`true`: pings of four octets to contacts with a Path say they come from its last hop, the proxy that
    the phone knows, and go straight to the phone. Needs CAP_NET_RAW, like `natping_socket`."""
    ignore_path: bool = False
    """`true`: a request goes back the way that the REGISTER came, not to the first hop of its Path."""
    nat_addr_mode: Annotated[int, Field(ge=0, le=1)] = 1
    """Which of 192.0.0.0/24 are private addresses: 1 all, 0 the first eight."""
    nortpproxy_str: Annotated[str, PlainValidator(forms_nat.sdp_line)] = "a=nortpproxy:yes"
    """What `fix_nated_sdp(4)` appends to SDP; empty for nothing."""
    append_sdp_oldmediaip: bool = True
    """`fix_nated_sdp` tells each address that it replaces: `a=oldmediaip:`."""
    alias_name: Annotated[str, PlainValidator(forms_nat.parameter)] = "alias"
    """The parameter of a Contact that says where it really is."""

    @model_validator(mode="after")
    def _sensible(self) -> Nathelper:
        if self.keepalive_timeout and self.sipping_bflag < 0:
            raise ValueError("keepalive_timeout needs sipping_bflag: nobody answers four octets")
        if 0 < self.keepalive_timeout <= self.natping_interval:
            raise ValueError("keepalive_timeout must be longer than natping_interval")
        if self.sipping_bflag >= 0 and not self.ping_nated_only:
            wanted = {"natping_socket": self.natping_socket, "udpping_from_path": self.udpping_from_path}
            for key in [key for key, value in wanted.items() if value]:
                do = "sipping_bflag = -1, or ping_nated_only = true"
                raise ValueError(f"{key} is for pings of four octets, and none are sent: {do}")
        return self


class Stun(Section):
    """STUN on the ports of SIP (RFC 8489, RFC 3489): a phone learns its address, and keeps its way open."""

    enabled: bool = True
    """`false`: nobody is answered. What a phone sends keeps its way open all the same."""
    servers: Annotated[tuple[tuple[str, int], ...], PlainValidator(forms.stun_servers)] = ()
    """STUN servers that tell `advertise = "auto"` our own address, two at best; HOST or HOST:PORT."""

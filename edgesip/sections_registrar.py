"""The sections of a profile for registration: the registrar, Path, and flow tokens.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator, model_validator

from edgesip import forms
from edgesip.sections import Section


class Registrar(Section):
    """Registration (RFC 3261 §10.3); times in seconds, 0 for no upper bound."""

    default_expires: Annotated[int, Field(ge=1, le=2**31 - 1)] = 3600
    """Seconds that a binding lives when the phone asks for no time of its own."""
    default_expires_range: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of `default_expires` that may be taken away at random, so that phones come back evenly."""
    expires_range: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of the time that a phone asks for that may be taken away at random."""
    min_expires: Annotated[int, Field(ge=0, le=2**31 - 1)] = 60
    """Seconds that a binding lives at least."""
    min_expires_mode: Annotated[int, Field(ge=0, le=1)] = 1
    """What becomes of a phone that asks for less: 0 it gets `min_expires`, 1 it is answered with 423 and
    Min-Expires. (Kamailio's default is 0.)"""
    max_expires: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7200
    """Seconds that a binding gets at most, whatever is asked for; 0 for no limit."""
    default_q: Annotated[int, Field(ge=-1, le=1000)] = -1
    """The q, in thousandths, of a contact that names none; -1: it has none."""
    max_contacts: Annotated[int, Field(ge=0, le=1000)] = 10
    """Contacts of one user at a time; one more is answered with 503; 0 for no limit."""
    retry_after: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seconds in the Retry-After of every 5xx that the registrar makes; 0 for none."""
    contact_max_size: Annotated[int, Field(ge=16, le=4096)] = 512
    """Octets of a Contact URI at most; a longer one is answered with 400."""
    case_sensitive: bool = False
    """`true`: `Alice` is another user than `alice`; `false`: A-Z are a-z. Domains have no case."""
    realm_prefix: Annotated[str, PlainValidator(forms.prefix)] = ""
    """What is taken off the front of a user's domain, `sip.` for example: with `usrloc.use_domain`."""
    received_param: Annotated[str, PlainValidator(forms.token)] = "received"
    """The Contact parameter of the 200 that says where the phone was seen; empty for none. A REGISTER that
    came through another proxy may say it by the same name."""
    sock_hdr_name: Annotated[str, PlainValidator(forms.token)] = ""
    """A header field that names the UDP listener that the phone is reached by, instead of the one that its
    REGISTER came to: what `add_sock_hdr` wrote, on one of our own sockets. Empty: none."""
    method_filtering: bool = False
    """`true`: `lookup` leaves out contacts whose Allow does not name the method of the request."""
    append_branches: bool = True
    """`true`: `lookup` finds all contacts of a user; `false`: only the first."""
    use_expired_contacts: bool = False
    """`true`: `lookup` finds contacts that have expired too, unless their phone has come back by another
    one, for `usrloc.timer_interval` seconds; only then they are forgotten, and `contact_expired` is told."""
    lookup_filter_mode: Annotated[int, Field(ge=0, le=3)] = 0
    """A sum of: 1 `lookup` finds the contacts that have one of the branch flags it is asked for
    (`rlf_bflags=`); 2 of contacts over TCP and TLS without a Path only those whose connection is alive, where
    `usrloc.handle_lost_tcp` or `db_clean_tcp` is off and they stay."""
    use_path: bool = False
    """`true`: the proxies that a REGISTER names in Path are kept with the contact, and its calls go their
    way. For servers behind other proxies only: whoever registers says where calls go."""
    path_mode: Annotated[int, Field(ge=0, le=2)] = 2
    """Path in the 200: 0 never, 1 when the phone supports it, 2 so too, and a phone that does not support it
    is answered with 420 when there is a Path."""
    path_use_received: bool = False
    """`true`: where the phone was seen is the `received` parameter of the first Path URI."""
    path_check_local: bool = False
    """`true`: a first Path URI that is this server's own is left out."""
    gruu_enabled: bool = True
    """Phones that support it get their GRUUs (RFC 5627): names by which one phone of a user is called."""
    outbound_mode: Annotated[int, Field(ge=0, le=2)] = 1
    """Several flows of one phone, told apart by reg-id (RFC 5626): 0 none, 1 for phones that support it, 2
    all others are answered with 421. (Kamailio's default is 0.)"""
    regid_mode: Annotated[int, Field(ge=0, le=1)] = 0
    """1: reg-id tells flows apart even where outbound was not agreed on."""
    flow_timer: Annotated[int, Field(ge=0, le=999)] = 0
    """Seconds in the Flow-Timer of the 200, when outbound was agreed on: how often the phone is to send
    something; 0 for none."""
    service_route: Annotated[tuple[str, ...], PlainValidator(forms.routes)] = ()
    """URIs for Service-Route in the 200 (RFC 3608): the way that the phone's own requests are to take."""

    @model_validator(mode="after")
    def _ordered(self) -> Registrar:
        if self.min_expires > self.default_expires:
            raise ValueError(
                f"min_expires {self.min_expires} is above default_expires {self.default_expires}"
            )
        if self.max_expires and self.default_expires > self.max_expires:
            raise ValueError(
                f"default_expires {self.default_expires} is above max_expires {self.max_expires}"
            )
        return self


class Path(Section):
    """How Path entries are written into a REGISTER on its way to its registrar (`add_path`)."""

    received_format: Annotated[int, Field(ge=0, le=1)] = 0
    """How the `received` parameter is written: 0 `sip:ADDR:PORT`, 1 `ADDR~PORT~TRANSPORT`."""
    received_name: Annotated[str, PlainValidator(forms.name)] = "received"
    """The name of that parameter."""
    enable_r2: bool = True
    """`true`: two entries, with `;r2=on`, where the phone and the registrar reach us by different addresses
    or transports. (Kamailio's default is off.)"""


class Outbound(Section):
    """Flow tokens (RFC 5626)."""

    flow_token_secret: Annotated[str, PlainValidator(forms.secret)] = ""
    """The text that flow tokens and temporary GRUUs are signed with, the same on all servers behind one name;
    empty: made once, and kept in STATE_DIR/flow_token_secret."""

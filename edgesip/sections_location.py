"""The section of a profile for the location table.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from edgesip import forms, forms_location
from edgesip.sections import Section


class Usrloc(Section):
    """The location table, and where bindings outlive the process: None is SQLite in the state directory, ""
    memory only.
    """

    db_url: Annotated[str | None, PlainValidator(forms.db_url)] = None
    """Where bindings are kept; without it in STATE_DIR/location.db. A relative PATH starts at the state
    directory, four slashes make it absolute. Empty: a restart forgets every binding."""
    matching_mode: Annotated[int, Field(ge=0, le=3)] = 0
    """Which stored contact a REGISTER speaks of, when its Contact has no `+sip.instance`: that with the same
    0 URI, 1 URI and Call-ID, 2 URI and Path, 3 Call-ID."""
    cseq_delay: Annotated[int, Field(ge=0, le=3600)] = 20
    """Seconds in which a REGISTER with the same Call-ID and CSeq is a repetition, answered as it stands;
    later it is refused with 400."""
    use_domain: bool = False
    """`true`: a user is USER@DOMAIN, of the To of its REGISTER; `false`: the domain does not matter."""
    desc_time_order: bool = False
    """`true`: the contact that registered or refreshed last comes first; `false`: that with the best q, and
    of those the oldest."""
    db_mode: Literal[0, 1, 2, 4] = 1
    """When bindings are written: 0 never, 1 at once, before a REGISTER is answered, 2 every `timer_interval`
    seconds, so that a crash forgets the last of them, 4 never, but what is there is loaded. (Kamailio's
    default is 0; its 3, no copy in memory, is not here.)"""
    timer_interval: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds between two times that changes are written with `db_mode` 2, and for which expired contacts are
    kept with `registrar.use_expired_contacts`. Without that they go on their second, whatever stands here."""
    db_load: bool = True
    """`false`: what is stored is not loaded at the start; with `db_mode` 4 it always is."""
    db_clean_tcp: bool = True
    """At the start, contacts over TCP and TLS are forgotten, whose connections are gone; `false`: they are
    kept until they expire. (Kamailio's default is off.)"""
    handle_lost_tcp: bool = True
    """A contact goes with the connection that it registered over; `false`: it stays until it expires.
    (Kamailio's default is off.)"""
    close_expired_tcp: bool = False
    """`true`: the connection of an expired contact is closed, but for one that a call uses."""
    ka_mode: Annotated[int, Field(ge=0, le=7)] = 0
    """Whether contacts are asked if they are still there, whatever their transport: 0 no, 1 all of them, plus
    2 only those behind a NAT, plus 4 only those over UDP. It is not needed to keep NATs open, which
    `nathelper.natping_interval` does."""
    ka_interval: Annotated[int, Field(ge=5, le=86_400)] = 40
    """Seconds between two such requests to a contact, at least."""
    ka_randomize: Annotated[int, Field(ge=0, le=86_400)] = 20
    """Seconds by which that is longer at most, by chance and another number each round."""
    ka_timeout: Annotated[int, Field(ge=0, le=86_400)] = 0
    """Seconds without an answer to them after which a contact has ten seconds left; 0: it stays until it
    expires. What was added for ever stays."""
    ka_method: Annotated[str, PlainValidator(forms.method)] = "OPTIONS"
    """The method of these requests."""
    ka_from: Annotated[str, PlainValidator(forms.sip_uri)] = ""
    """The URI of their From; empty for sip:ping@ and our address. (Kamailio's default is
    sip:server@kamailio.org.)"""
    ka_domain: Annotated[str, PlainValidator(forms_location.ka_domain)] = ""
    """The domain of their To, which names the user; empty for our address. With `use_domain` it is the
    user's. (Kamailio's default is kamailio.org.)"""
    ka_reply_codes: Annotated[tuple[int, ...], PlainValidator(forms_location.alive_codes)] = ()
    """Answers that mean that somebody is there, statuses or their first digits: `200,404,5`; empty or 0 for
    any."""
    ka_loglevel: Annotated[int, Field(ge=-1, le=255)] = 255
    """The level of a line for each answer, which has the round trip: -1 error, 0 warning, 1 and 2 info, 3
    debug (in memory for `edgesip trace` alone), 255 none."""

    @model_validator(mode="after")
    def _asked_in_time(self) -> Usrloc:
        if self.ka_mode and 0 < self.ka_timeout <= self.ka_interval + self.ka_randomize:
            raise ValueError("ka_timeout must be longer than ka_interval and ka_randomize together")
        return self

"""The section of a profile for the location table.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator

from edgesip import forms
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

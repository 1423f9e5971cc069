"""The section of a profile for calls whose media is relayed, as the rtpproxy module has it, and for prompts.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import PlainValidator

from edgesip import forms, forms_nat, forms_rtp
from edgesip.sections import Section


class Rtpproxy(Section):
    """Marks of what is relayed, music on hold, prompts, and what becomes of calls without media."""

    nortpproxy_str: Annotated[str, PlainValidator(forms_nat.sdp_line)] = "a=nortpproxy:yes"
    """The line that the relay adds to SDP, so that a relay further on leaves it alone; a call that comes with
    it is relayed only with flag `f`. Empty: neither."""
    extra_id_pv: Annotated[str, PlainValidator(forms_rtp.template)] = ""
    """A text with pseudo-variables, as "$ci", that names sessions with flag `b` as well."""

    moh: Annotated[str, PlainValidator(forms_rtp.prompt)] = ""
    """The prompt that whoever is put on hold hears until the call goes on, in place of what the holder sends;
    `moh` comes with the package. Empty: none, as where holders send music of their own."""
    prompt_dir: Annotated[Path, PlainValidator(forms.path)] = Path("prompts")
    """Where prompts are looked for before those of the package, see `edgesip prompt`. A relative path starts
    at the state directory."""
    timeout_action: Literal["bye", "log", "event"] = "bye"
    """What becomes of a call that has been without media for `relay.timeout`. `bye`: both sides get BYE, and
    the script's `rtp_timeout` is called; `event`: that alone; `log`: a line in the log alone. A call that is
    not ended so is looked at again after as long a time."""
    timeout_either: bool = False
    """`true`: one silent side is enough, as with rtpproxy's `-i`; save one that said
    it would not send."""

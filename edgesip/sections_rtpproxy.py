"""The section of a profile for what is done with media besides relaying it.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator

from edgesip import forms, forms_rtp
from edgesip.sections import Section


class Rtpproxy(Section):
    """Music on hold and prompts."""

    moh: Annotated[str, PlainValidator(forms_rtp.prompt)] = ""
    """The prompt that whoever is put on hold hears until the call goes on, in place of what the holder sends;
    `moh` comes with the package. Empty: none, as where holders send music of their own."""
    prompt_dir: Annotated[Path, PlainValidator(forms.path)] = Path("prompts")
    """Where prompts are looked for before those of the package, see `edgesip prompt`. A relative path starts
    at the state directory."""

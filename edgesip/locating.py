"""What `[usrloc]` means to the rooms: the rules of the location table.

Each is given its slice of the profile; what they do with it they know themselves.
"""

from __future__ import annotations

from edgesip.profile import Profile
from edgesip.signal.location.usrloc import UsrlocSettings


def usrloc_of(profile: Profile) -> UsrlocSettings:
    """The location table's slice of a profile."""
    section = profile.usrloc
    return UsrlocSettings(
        matching_mode=section.matching_mode,
        use_domain=section.use_domain,
        desc_time_order=section.desc_time_order,
        cseq_delay=float(section.cseq_delay),
        handle_lost_tcp=section.handle_lost_tcp,
        close_expired_tcp=section.close_expired_tcp,
        case_sensitive=profile.registrar.case_sensitive,
        realm_prefix=profile.registrar.realm_prefix,
    )

"""What `[registrar]` and `[outbound]` mean to the rooms: rules of registration, the secret of signatures.

Each is given its slice of the profile; what they do with it they know themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgesip.profile import ConfigError, Profile
from edgesip.signal.location import registrar
from edgesip.signal.location.lookup import LookupSettings
from edgesip.signal.location.seals import Seals, seals_of
from edgesip.signal.proxy.path import PathSettings

SECRET = "flow_token_secret"
"""The file in the state directory that keeps the secret when the profile names none."""
_OCTETS = 32


def registrar_of(profile: Profile) -> registrar.Settings:
    """The registrar's slice of a profile."""
    section = profile.registrar
    return registrar.Settings(
        default_expires=section.default_expires,
        min_expires=section.min_expires,
        max_expires=section.max_expires,
        max_contacts=section.max_contacts,
        default_expires_range=section.default_expires_range,
        expires_range=section.expires_range,
        min_expires_mode=section.min_expires_mode,
        default_q=section.default_q,
        retry_after=section.retry_after,
        contact_max_size=section.contact_max_size,
        received_param=section.received_param,
        sock_hdr_name=section.sock_hdr_name,
        use_path=section.use_path,
        path_mode=section.path_mode,
        path_use_received=section.path_use_received,
        gruu_enabled=section.gruu_enabled,
        outbound_mode=section.outbound_mode,
        regid_mode=section.regid_mode,
        flow_timer=section.flow_timer,
        service_route=section.service_route,
    )


def lookup_of(profile: Profile) -> LookupSettings:
    """What a script's `lookup` goes by."""
    section = profile.registrar
    return LookupSettings(
        section.method_filtering,
        section.append_branches,
        section.gruu_enabled,
        section.path_check_local,
        section.use_expired_contacts,
        section.lookup_filter_mode,
    )


def path_of(profile: Profile) -> PathSettings:
    """How a script's `add_path` writes."""
    section = profile.path
    return PathSettings(section.received_format, section.received_name, section.enable_r2)


def seals_for(profile: Profile) -> Seals:
    """Flow tokens and GRUUs under the profile's secret, or under that of the state directory.

    Raises `ConfigError` when that cannot be kept.
    """
    text = profile.outbound.flow_token_secret
    secret = text.encode() if text else _kept(profile.state_dir / SECRET)
    return seals_of(secret, os.urandom)


def _kept(path: Path) -> bytes:
    """The secret in a file that only its owner reads; made when there is none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "r+b") as file:
            found = file.read(1024)
            if len(found) < _OCTETS:
                found = os.urandom(_OCTETS).hex().encode() + b"\n"
                _own(fd, path)
                file.seek(0)
                file.truncate()
                file.write(found)
                file.flush()
                os.fsync(fd)
        return found.strip()
    except OSError as error:
        raise ConfigError(f"{path}: the secret cannot be kept: {error.strerror or error}") from None


def _own(fd: int, path: Path) -> None:
    """Only its owner reads it, who is that of the directory."""
    os.fchmod(fd, 0o600)
    if os.geteuid() == 0:
        owner = os.stat(path.parent)
        os.fchown(fd, owner.st_uid, owner.st_gid)

"""What `[auth]` and `[auth_db]` mean to the rooms: who judges passwords, and where users come from.

Each is given its slice of the sections; what they do with it they know themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgesip.places import auth_secret
from edgesip.profile import Profile
from edgesip.script import Rooms, Script, ScriptedUsers
from edgesip.sections import Auth
from edgesip.signal.guard.backoff import BackoffSettings
from edgesip.signal.guard.digest import Digest, DigestSettings
from edgesip.signal.guard.nonces import NonceSettings
from edgesip.store.api import Users
from edgesip.store.files import kept_secret
from edgesip.store.subscribers import SqliteSubscribers
from edgesip.store.users_file import FileUsers

Log = Callable[[str, str, dict[str, Any]], None]


def digest_settings(auth: Auth) -> DigestSettings:
    """The `[auth]` section as those who judge passwords want it."""
    nonces = NonceSettings(
        expire=float(auth.nonce_expire),
        max_drift=float(auth.nonce_auth_max_drift),
        checks_register=auth.auth_checks_register,
        checks_no_dlg=auth.auth_checks_no_dlg,
        checks_in_dlg=auth.auth_checks_in_dlg,
        count=auth.nonce_count,
        one_time=auth.one_time_nonce,
        remembered=auth.nc_array_size,
    )
    backoff = BackoffSettings(auth.backoff_after, float(auth.backoff_max))
    return DigestSettings(auth.algorithm, auth.qop, auth.add_authinfo_hdr, nonces, backoff)


def digest_of(profile: Profile, wall_offset: float, now: float) -> Digest:
    """The judge of passwords; its secret is the profile's, or kept in the state directory. `StoreError`."""
    auth = profile.auth
    secret = auth.secret.encode() or kept_secret(auth_secret(profile.state_dir))
    return Digest(auth.realm, secret, digest_settings(auth), wall_offset, now)


def users_of(profile: Profile, log: Log) -> Users:
    """Where the users of a profile are. Raises `StoreError`."""
    if profile.users_file is not None:
        return FileUsers(profile.users_file, profile.auth_db.calculate_ha1, log)
    return SqliteSubscribers(profile.subscribers_db)


def rooms_of(rooms: Rooms, script: Script, profile: Profile) -> Rooms:
    """The rooms as the script and the sections have them: a script's own users stand before the others."""
    users, auth = rooms.subscribers, profile.auth
    if isinstance(users, ScriptedUsers):
        users = users.others
    if script.credentials is not None:
        users = ScriptedUsers(script.credentials, auth.realm, users)
    domain = auth.realm.removeprefix(auth.realm_prefix) if auth.use_domain else ""
    return replace(rooms, subscribers=users, auth_enabled=auth.enabled, auth_domain=domain)

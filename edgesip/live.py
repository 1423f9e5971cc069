"""What of a profile can change while the server runs, and what takes a restart.

Compares two profiles and takes the living keys of the newer one. Knows no server.
"""

from __future__ import annotations

from typing import Any

from edgesip.profile import Profile
from edgesip.sections_location import Usrloc
from edgesip.sections_nat import Nathelper
from edgesip.sections_registrar import Registrar

REKEYING = ("case_sensitive", "realm_prefix")
"""Keys of `[registrar]` that are part of who a user is: the table is kept by them."""
LOCATION = (
    *("matching_mode", "cseq_delay", "handle_lost_tcp", "close_expired_tcp"),
    *(key for key in Usrloc.model_fields if key.startswith("ka_")),
)
"""Keys of `[usrloc]` that are looked at each time."""
RELAY = (
    *("timeout", "hold_timeout", "final_timeout"),
    *("record_dir", "record_max_size", "record_min_free"),
)
"""Keys of `[relay]` that are looked at each time."""
SOCKETS = ("force_socket", "natping_socket", "udpping_from_path")
"""Keys of `[nathelper]` that name sockets, which are opened at the start."""
LIVE = (
    "route",
    "upstream_users",
    "auth.add_authinfo_hdr",
    "auth.algorithm",
    "auth.auth_checks_in_dlg",
    "auth.auth_checks_no_dlg",
    "auth.auth_checks_register",
    "auth.backoff_after",
    "auth.backoff_max",
    "auth.enabled",
    "auth.nc_array_size",
    "auth.nonce_auth_max_drift",
    "auth.nonce_count",
    "auth.nonce_expire",
    "auth.one_time_nonce",
    "auth.qop",
    "auth.realm_prefix",
    "auth.use_domain",
    "permissions.trusted",
    "permissions.address",
    "permissions.address_file",
    "permissions.trusted_file",
    "permissions.rule_files",
    "permissions.subnet_match_mode",
    "permissions.max_subnets",
    "permissions.reload_delta",
    "pike.sampling_time_unit",
    "pike.reqs_density_per_unit",
    "pike.remove_latency",
    "pike.pike_log_level",
    "ban.enabled",
    "ban.autoexpire",
    "ban.longest",
    "ban.failures",
    "ban.user_failures",
    "ban.window",
    "ban.size",
    "ban.scanners",
    *(f"usrloc.{key}" for key in LOCATION),
    "path.received_format",
    "path.received_name",
    "path.enable_r2",
    *(f"registrar.{key}" for key in Registrar.model_fields if key not in REKEYING),
    "stun.enabled",
    "stun.servers",
    *(f"nathelper.{key}" for key in Nathelper.model_fields if key not in SOCKETS),
    "nat_traversal.keepalive_interval",
    "nat_traversal.keepalive_method",
    "nat_traversal.keepalive_from",
    "nat_traversal.keepalive_extra_headers",
    "nat_traversal.contact_match",
    "nat_traversal.adaptive",
    "nat_traversal.adaptive_max_interval",
    "dialog.max_subscriptions",
    "dialog.max_user_subscriptions",
    "rtpp.allow",
    "rtpp.notify",
    "rtpproxy.moh",
    "rtpproxy.nortpproxy_str",
    "rtpproxy.extra_id_pv",
    "rtpproxy.timeout_action",
    "rtpproxy.timeout_either",
    *(f"relay.{key}" for key in RELAY),
)
"""Keys that `edgesip reload` takes up. All others are read at the start alone."""

_PLACED = ("name", "file", "socket", "origins")


def changed(old: Profile, new: Profile) -> list[str]:
    """The keys, as they are written in a profile, whose values differ."""
    before, after = _keys(old), _keys(new)
    return [key for key, value in before.items() if after[key] != value]


def taken(old: Profile, new: Profile) -> Profile:
    """The old profile with every living key as the new one has it."""
    return old.model_copy(
        update={
            "route": new.route,
            "upstream_users": new.upstream_users,
            "auth": new.auth.model_copy(update={"realm": old.auth.realm, "secret": old.auth.secret}),
            "permissions": new.permissions,
            "pike": new.pike,
            "ban": new.ban,
            "usrloc": old.usrloc.model_copy(update={key: getattr(new.usrloc, key) for key in LOCATION}),
            "path": new.path,
            "registrar": new.registrar.model_copy(
                update={key: getattr(old.registrar, key) for key in REKEYING}
            ),
            "stun": new.stun,
            "nathelper": new.nathelper.model_copy(
                update={key: getattr(old.nathelper, key) for key in SOCKETS}
            ),
            "nat_traversal": new.nat_traversal.model_copy(
                update={"keepalive_state_file": old.nat_traversal.keepalive_state_file}
            ),
            "rtpp": new.rtpp.model_copy(update={"listen": old.rtpp.listen}),
            "rtpproxy": new.rtpproxy.model_copy(update={"prompt_dir": old.rtpproxy.prompt_dir}),
            "relay": old.relay.model_copy(update={key: getattr(new.relay, key) for key in RELAY}),
            "dialog": new.dialog.model_copy(update={"default_timeout": old.dialog.default_timeout}),
        }
    )


def _keys(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in profile.model_dump(exclude=set(_PLACED)).items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": inside for key, inside in value.items()}
        else:
            found[name] = value
    return found

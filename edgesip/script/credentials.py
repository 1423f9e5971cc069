"""Who sent a request, and what of its claims goes on: auth, auth_db and RFC 3325, under Kamailio's names.

A method that judges returns None when all is well, else the decision to return. Changes are recorded, nothing
is sent. Also here: what a script's own `credentials(user, realm)` answers, made into what is kept of a
password.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from edgesip.address import bracketed
from edgesip.script.screened import Screened
from edgesip.signal.decision import Challenge, Decision, Reply
from edgesip.signal.guard.digest import Verified
from edgesip.signal.guard.guard import BANNED
from edgesip.signal.guard.identity import ASSERTED, HIDDEN, check_identity, present, wants_privacy
from edgesip.signal.location.usrloc import aor_key
from edgesip.store.api import Credential, Subscribers

_USERNAME = re.compile(r'\busername\s*=\s*"([^"]*)"', re.IGNORECASE).search
_REALM = re.compile(r'\brealm\s*=\s*"([^"]*)"', re.IGNORECASE).search
_FIELDS = ("Authorization", "Proxy-Authorization")
_IS_HA1 = 1
"""The bit of `pv_*_authenticate`: what is given for the password is the HA1 by MD5."""

Lookup = Callable[[str], Credential | None]


class Identified(Screened):
    """A request, and who it is from."""

    __slots__ = ()

    # -- what came ---------------------------------------------------------------------------------

    @property
    def auth_user(self) -> str:
        """`$au`: the user name in the credentials that came; whether they are right is another question."""
        return self._credentials(_USERNAME)

    @property
    def auth_realm(self) -> str:
        """`$ar`: the realm in the credentials that came."""
        return self._credentials(_REALM)

    @property
    def authenticated(self) -> str:
        """The user whose password this request has proved; empty before that, and for everybody else."""
        return self._inbound.proved

    def is_user(self, name: str) -> bool:
        """siputils: the credentials that came are of this user; ask after they were checked."""
        return self.auth_user == name

    def has_credentials(self, realm: str = "") -> bool:
        """auth: there are credentials for this realm, the profile's without one, right or wrong."""
        mine = f'realm="{realm or self._rooms.digest.realm}"'
        return any(mine in value for name in _FIELDS for value in self.headers.all(name))

    def is_subscriber(self) -> bool:
        """auth_db's `is_subscriber("$ru")`: the request URI names a user who has a password here."""
        known, user = self._rooms.subscribers.credential, self.ruri_user
        return (known(user) or known(user.lower())) is not None

    # -- judging -----------------------------------------------------------------------------------

    def www_authenticate(self, realm: str = "") -> Decision | None:
        """auth_db, for REGISTER: None when the credentials are right and the user's own, else the answer.

        Right are those of To and From in REGISTER; of From, P-Preferred-Identity and Contact in all else.
        """
        return self._authenticate("Authorization", 401, realm, self._rooms.subscribers.credential)

    def www_authorize(self, realm: str = "") -> Decision | None:
        """The old name of `www_authenticate`."""
        return self.www_authenticate(realm)

    def proxy_authenticate(self, realm: str = "") -> Decision | None:
        """auth_db, for all else: None when the credentials are right and the user's own, else the answer."""
        return self._authenticate("Proxy-Authorization", 407, realm, self._rooms.subscribers.credential)

    def proxy_authorize(self, realm: str = "") -> Decision | None:
        """The old name of `proxy_authenticate`."""
        return self.proxy_authenticate(realm)

    def auth_check(self, realm: str = "") -> Decision | None:
        """auth_db: `www_authenticate` for REGISTER, `proxy_authenticate` for all else."""
        return self.www_authenticate(realm) if self.method == "REGISTER" else self.proxy_authenticate(realm)

    def pv_www_authenticate(self, realm: str, password: str, flags: int = 0) -> Decision | None:
        """auth: `www_authenticate` by a password, or with flag 1 an MD5 HA1, that the script knows."""
        return self._authenticate("Authorization", 401, realm, self._known(realm, password, flags))

    def pv_proxy_authenticate(self, realm: str, password: str, flags: int = 0) -> Decision | None:
        """auth: `proxy_authenticate` by a password, or with flag 1 an MD5 HA1, that the script knows."""
        return self._authenticate("Proxy-Authorization", 407, realm, self._known(realm, password, flags))

    def pv_auth_check(self, realm: str, password: str, flags: int = 0) -> Decision | None:
        """auth: `pv_www_authenticate` for REGISTER, `pv_proxy_authenticate` for all else."""
        if self.method == "REGISTER":
            return self.pv_www_authenticate(realm, password, flags)
        return self.pv_proxy_authenticate(realm, password, flags)

    # -- asking ------------------------------------------------------------------------------------

    def www_challenge(self, realm: str = "", stale: bool = False) -> Decision:
        """auth: ask for credentials with 401."""
        return Challenge(401, stale, realm)

    def proxy_challenge(self, realm: str = "", stale: bool = False) -> Decision:
        """auth: ask for credentials with 407."""
        return Challenge(407, stale, realm)

    def auth_challenge(self, realm: str = "", stale: bool = False) -> Decision:
        """auth: 401 for REGISTER, 407 for all else. A refusal in this form tells a stranger nothing."""
        return Challenge(401 if self.method == "REGISTER" else 407, stale, realm)

    # -- what goes on ------------------------------------------------------------------------------

    def consume_credentials(self) -> None:
        """auth's function: credentials for our realm stay here; those for another go on."""
        mine = f'realm="{self._rooms.digest.realm}"'
        if any(mine in value for value in self.headers.all("Proxy-Authorization")):
            self._edits.remove += ("Proxy-Authorization",)

    def assert_identity(self) -> None:
        """RFC 3325 §5, towards those who trust us: P-Asserted-Identity is the user who authenticated."""
        user = self._inbound.proved
        if not user:
            return
        origin = self.headers.from_.uri
        ours = origin if self._rooms.myself.is_myself(origin) else self._inbound.request.ruri
        value = f"<sip:{user}@{bracketed(ours.host)}>"
        edits = self._edits
        edits.remove += present(self.headers, ("P-Asserted-Identity",))
        edits.append = (*[one for one in edits.append if one[0] != "P-Asserted-Identity"],)
        edits.append += (("P-Asserted-Identity", value),)

    def strip_identity(self) -> None:
        """RFC 3325 §5: what a sender whom we do not trust says of who calls, beside From, ends here."""
        claims = present(self.headers, ASSERTED)
        if claims and not self._rooms.guard.trusts(self._flow.remote.host):
            self._edits.remove += claims

    def apply_privacy(self) -> None:
        """RFC 3325 §7, towards those whom we do not trust: who wants to stay unknown is not named there."""
        if wants_privacy(self.headers):
            self._edits.remove += present(self.headers, HIDDEN)

    # -- how ---------------------------------------------------------------------------------------

    def _authenticate(self, header: str, status: int, realm: str, lookup: Lookup) -> Decision | None:
        rooms, inbound, method = self._rooms, self._inbound, self.method
        if not rooms.auth_enabled or method in ("ACK", "CANCEL"):  # which cannot be asked again (§22.1)
            return None
        request = inbound.request
        values = self.headers.all(header)
        remote = self._flow.remote
        named = self.to_user if method == "REGISTER" else self.from_user
        if values and rooms.guard.bans.holds_user(self._flow, named, self._now):
            inbound.user, inbound.why = named, BANNED
            return Challenge(status, False, realm)
        verified = rooms.digest.check(values, request, remote, lookup, self._now, realm, self._is_at_home)
        if not isinstance(verified, Verified):
            inbound.user = named
            inbound.why = verified.why if values and not verified.stale else ""
            return Challenge(status, verified.stale, realm)
        user = verified.username
        imposed = check_identity(request, user, self._is_user_here, rooms.auth_domain)
        if imposed:
            return Reply(403, f"Authentication user does not match {imposed}")
        inbound.proved = user
        if verified.info:
            name = "Authentication-Info" if status == 401 else "Proxy-Authentication-Info"
            self._edits.answer += ((name, verified.info),)
        if header == "Proxy-Authorization":
            self._edits.remove += (header,)
        return None

    def _known(self, realm: str, password: str, flags: int) -> Lookup:
        return partial(_given, password, realm or self._rooms.digest.realm, flags)

    def _is_at_home(self, user: str) -> bool:
        """True for what comes from where this user is registered, or renews that registration: only the
        phone itself knows the Call-ID of its REGISTERs, wherever its NAT makes it come from now."""
        flow, renewing = self._flow, self.method == "REGISTER"
        call_id = self.headers.call_id
        for binding in self._rooms.usrloc.lookup(aor_key(user), self._now):
            if binding.flow.remote == flow.remote and binding.flow.transport == flow.transport:
                return True
            if renewing and binding.call_id == call_id:
                return True
        return False

    def _is_user_here(self, name: str) -> bool:
        return self._rooms.subscribers.credential(name) is not None

    def _credentials(self, search: Callable[[str], re.Match[str] | None]) -> str:
        for name in _FIELDS:
            for value in self.headers.all(name):
                if found := search(value):
                    return str(found[1])
        return ""


# -- a script's own users ------------------------------------------------------------------------------


class HA1(NamedTuple):
    """What a script's `credentials(user, realm)` returns when it knows no password but its hashes (RFC 7616
    §3.4.2): by MD5, by SHA-256 and SHA-512-256 where those are challenged."""

    md5: str = ""
    sha256: str = ""
    sha512_256: str = ""


Known = Callable[[str, str], object]
"""A script's `credentials(user, realm)`: a password, an `HA1`, or None for a user that it does not know."""


class ScriptedUsers:
    """Users whom a script knows, before those of another source. Fits `Subscribers`."""

    def __init__(self, known: Known, realm: str, others: Subscribers) -> None:
        self._known = known
        self._realm = realm
        self.others = others

    def credential(self, username: str) -> Credential | None:
        """What the script says; TypeError when that is neither a password nor an HA1.

        For a name that it does not know a password is hashed too, so that both take the same time.
        """
        answer = self._known(username, self._realm)
        if isinstance(answer, HA1):
            return Credential(username, self._realm, *(ha1.lower() for ha1 in answer))
        if answer is not None and not isinstance(answer, str):
            raise TypeError(f"credentials() returned {type(answer).__name__}, not a password, an HA1 or None")
        kept = Credential.of(username, self._realm, answer or "nobody's")
        return kept if answer else self.others.credential(username)


def _given(password: str, realm: str, flags: int, username: str) -> Credential:
    """What is kept of a password that a script gives, whoever it is of."""
    if flags & _IS_HA1:
        return Credential(username, realm, password.lower(), "")
    return Credential.of(username, realm, password)

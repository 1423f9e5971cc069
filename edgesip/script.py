"""What a route script sees: `Call`, and the decisions that it returns.

One import for scripts: `from edgesip.script import Call, Forward, Reply, ...`. Each method is one line into
the room that does it, under the name that Kamailio gives it. Reads answer at once; what a script wants
changed is recorded and applied to the copy that leaves. Nothing here sends anything.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import CodeType

from edgesip.address import is_private, parse_ip
from edgesip.signal.decision import Challenge, Decision, Drop, Forward, Redirect, Reply, Save
from edgesip.signal.guard.digest import Digest, Verified
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.nat.detect import nat_uac_test
from edgesip.signal.nat.repair import handle_ruri_alias
from edgesip.signal.proxy.inbound import Inbound, Passing
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.uri import Uri, parse_uri
from edgesip.store.api import Subscribers

__all__ = ["Call", "Challenge", "Decision", "Drop", "Forward", "Redirect", "Reply", "ReplyCall", "Save"]

Networks = Sequence[IPv4Network | IPv6Network]


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a `Call` may ask."""

    myself: Myself
    usrloc: Usrloc
    subscribers: Subscribers
    digest: Digest
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    upstream: Upstream | None = None
    auth_enabled: bool = True


class Call:
    """One request, read-only, and what the script wants done with it."""

    __slots__ = ("_inbound", "_now", "_rooms")

    def __init__(self, inbound: Inbound, rooms: Rooms, now: float) -> None:
        self._inbound = inbound
        self._rooms = rooms
        self._now = now

    # -- what came ---------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """`$rm`: the request method."""
        return self._inbound.request.method

    @property
    def ruri(self) -> Uri:
        """`$ru`: the request URI as it stands now."""
        return parse_uri(self._inbound.uri)

    @property
    def ruri_user(self) -> str:
        """`$rU`: the user of the request URI, unescaped; empty when it has none."""
        return self.ruri.username or ""

    @property
    def from_user(self) -> str:
        """`$fU`: the user of From, unescaped."""
        return self.headers.from_.uri.username or ""

    @property
    def to_user(self) -> str:
        """`$tU`: the user of To, unescaped."""
        return self.headers.to.uri.username or ""

    @property
    def call_id(self) -> str:
        """`$ci`: the Call-ID."""
        return self.headers.call_id

    @property
    def source_ip(self) -> str:
        """`$si`: the address that the request came from."""
        return self._inbound.flow.remote.host

    @property
    def source_port(self) -> int:
        """`$sp`: the port that the request came from."""
        return self._inbound.flow.remote.port

    @property
    def headers(self) -> Headers:
        """The header fields as they came."""
        return self._inbound.request.headers

    # -- where it is for ---------------------------------------------------------------------------

    def is_myself(self) -> bool:
        """`uri == myself`: the request URI's host and port are ours."""
        return self._rooms.myself.is_myself(self.ruri)

    def is_foreign(self) -> bool:
        """True when it is for another domain, so not ours to route (REGISTER: the To domain counts too)."""
        if not self.is_myself():
            return True
        return self.method == "REGISTER" and not self._rooms.myself.is_myself(self.headers.to.uri)

    def lookup(self) -> tuple[Binding, ...]:
        """registrar's `lookup("location")`: the living bindings of the request URI's user, best q first."""
        return tuple(self._rooms.usrloc.lookup(self.ruri_user.lower(), self._now))

    def is_subscriber(self) -> bool:
        """auth_db's `is_subscriber("$ru")`: the request URI names a user who has a password here."""
        known, user = self._rooms.subscribers.credential, self.ruri_user
        return (known(user) or known(user.lower())) is not None

    def upstream(self) -> tuple[str, ...]:
        """The URI of this user at the upstream; none without an upstream, or for a user it does not serve."""
        upstream = self._rooms.upstream
        if upstream is None or not upstream.serves(self.ruri_user) or self.from_upstream():
            return ()
        return (upstream.uri_for(self.ruri.user or ""),)

    # -- who sent it -------------------------------------------------------------------------------

    def allow_source_address(self) -> bool:
        """permissions' `allow_source_address()`: the source is in `[permissions] trusted`."""
        source = parse_ip(self.source_ip)
        return source is not None and any(source in network for network in self._rooms.trusted)

    def from_upstream(self) -> bool:
        """True when the source is one of the upstream's addresses, or trusted."""
        upstream = self._rooms.upstream
        known = upstream is not None and self.source_ip in upstream.hosts
        return known or self.allow_source_address()

    def www_authenticate(self) -> Decision | None:
        """auth_db, for REGISTER: None when the credentials are right and To's, else the answer."""
        return self._authenticate("Authorization", 401, self.to_user)

    def proxy_authenticate(self) -> Decision | None:
        """auth_db, for all else: None when the credentials are right and From's, else the answer."""
        return self._authenticate("Proxy-Authorization", 407, self.from_user)

    def _authenticate(self, header: str, status: int, owner: str) -> Decision | None:
        if not self._rooms.auth_enabled:
            return None
        request = self._inbound.request
        values = self.headers.all(header)
        verified = self._rooms.digest.check(
            values,
            self.method,
            request.uri,
            self._rooms.subscribers.credential,
            self._now,
            peer=self.source_ip,
        )
        if not isinstance(verified, Verified):
            self._inbound.user = owner
            self._inbound.why = verified.why if values and not verified.stale else ""
            return Challenge(status, verified.stale)
        if verified.username.partition("@")[0].lower() != owner.lower():
            return Reply(403, "Authentication user does not match")
        if header == "Proxy-Authorization":
            self._inbound.edits.remove.append(header)
        return None

    def consume_credentials(self) -> None:
        """auth's function: credentials for our realm stay here; those for another go on."""
        mine = f'realm="{self._rooms.digest.realm}"'
        if any(mine in value for value in self.headers.all("Proxy-Authorization")):
            self._inbound.edits.remove.append("Proxy-Authorization")

    # -- NAT and media -----------------------------------------------------------------------------

    def nat_uac_test(self, flags: int) -> bool:
        """nathelper's test: True when any of the selected signs of a NAT is there."""
        return nat_uac_test(flags, self._inbound.request, self._inbound.flow) != 0

    def is_rfc1918(self, host: str) -> bool:
        """nathelper's `is_rfc1918()`: a private address."""
        return is_private(host)

    def fix_nated_register(self) -> None:
        """nathelper: the binding is behind a NAT; it is reached at, and pinged at, where this came from."""
        self._inbound.nated = True

    def set_contact_alias(self) -> None:
        """nathelper: the Contact that goes on carries `;alias=` with the address this came from."""
        self._inbound.nated = True
        self._inbound.edits.alias = True

    def handle_ruri_alias(self) -> bool:
        """nathelper: an `;alias=` in the request URI becomes the destination; a Route ahead of us wins."""
        if self._inbound.foreign:
            return False
        found = handle_ruri_alias(self.ruri)
        if found is None:
            return False
        uri, self._inbound.dst, self._inbound.dst_transport = found
        self._inbound.uri = str(uri)
        return True

    def rtpproxy_manage(self) -> None:
        """rtpproxy: the media of this call goes through our relay, from this request to its end."""
        self._inbound.edits.relay = True

    def options_reply(self) -> Decision:
        """siputils: what OPTIONS to us is told; with a user in the request URI it is not for us: 404."""
        if self.ruri_user:
            return Reply(404)
        return Reply(200, "", OPTIONS_HEADERS)

    # -- header fields -----------------------------------------------------------------------------

    def append_hf(self, name: str, value: str) -> None:
        """textops: add a header field to the copy that leaves."""
        if not name or any(mark in name + value for mark in "\r\n\0"):
            raise ValueError("a header field is one line: no CR, LF or NUL")
        self._inbound.edits.append.append((name, value))

    def remove_hf(self, name: str) -> None:
        """textops: leave every header field of this name out of the copy."""
        self._inbound.edits.remove.append(name)


class ReplyCall:
    """One response on its way back, before it is sent on: what `reply` scripts see."""

    __slots__ = ("_passing",)

    def __init__(self, passing: Passing) -> None:
        self._passing = passing

    @property
    def status(self) -> int:
        """`$rs`: the status code."""
        return self._passing.response.status

    @property
    def method(self) -> str:
        """`$rm`: the method of the request that it answers."""
        return self._passing.fork.request.method

    @property
    def headers(self) -> Headers:
        """The header fields as they came."""
        return self._passing.response.headers

    @property
    def nated(self) -> bool:
        """True when the one who answers is known to be behind a NAT (the binding or the dialog says so)."""
        return self._passing.nated

    def nat_uac_test(self, flags: int) -> bool:
        """nathelper's test on a reply."""
        return nat_uac_test(flags, self._passing.response, self._passing.flow) != 0

    def set_contact_alias(self) -> None:
        """nathelper: the Contact that goes on carries `;alias=` with the address this came from."""
        self._passing.edits.alias = True


OPTIONS_HEADERS = (
    ("Accept", "*/*"),
    ("Accept-Encoding", ""),
    ("Accept-Language", "en"),
    ("Supported", ""),
)

Hook = Callable[[Call], Decision | Awaitable[Decision]]

LATER = (
    "branch",
    "branch_failure",
    "failure",
    "dialog_start",
    "dialog_end",
    "dialog_failed",
    "dialog_timeout",
    "contact_expired",
    "rtp_timeout",
    "media_failed",
    "save_failed",
    "http_request",
    "tcp_closed",
)
"""Hooks that are named already and not called yet: a script that has one is refused, not half obeyed."""


class ScriptError(Exception):
    """A route script that cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Script:
    """The functions of a route script that the server calls."""

    path: str
    request: Hook
    in_dialog: Hook | None = None
    reply: Callable[[ReplyCall], None] | None = None


def load(path: Path) -> Script:
    """Read and run a route script, and find its functions by name. Raises `ScriptError`."""
    try:
        code: CodeType = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    except OSError as error:
        raise ScriptError(f"{path}: cannot read the route script: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ScriptError(f"{path}: {error}") from error
    names: dict[str, object] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(code, names)
    except (Exception, SystemExit) as error:
        raise ScriptError(f"{path}: {explain(error, str(path))}") from error
    functions = {name: value for name, value in names.items() if inspect.isfunction(value)}
    unknown = [name for name in LATER if name in functions]
    if unknown:
        raise ScriptError(f"{path}: this version does not call the hook {unknown[0]!r}")
    if "request" not in functions:
        raise ScriptError(f"{path}: the route script has no function request(call)")
    if inspect.iscoroutinefunction(functions.get("reply")):
        raise ScriptError(f"{path}: reply(call) must be a plain def")
    return Script(str(path), functions["request"], functions.get("in_dialog"), functions.get("reply"))


def refusal_for(error: BaseException) -> Reply:
    """What the sender hears when a script raised: a message that cannot be read is the sender's fault."""
    if isinstance(error, ParseError):
        return Reply(error.status, error.reason)
    return Reply(500, "Server Internal Error")


def explain(error: BaseException, path: str) -> str:
    """What went wrong in a script: its own frames of the traceback, no others."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    where = " < ".join(f"line {frame.lineno} in {frame.name}" for frame in reversed(frames))
    text = f"{type(error).__name__}: {error}"
    return f"{text} ({where})" if where else text

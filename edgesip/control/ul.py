"""The methods `ul.*`: Kamailio's names over the location table (location.md §1.6).

Reads the table; what they change they change through `Location`, which sees to the store. The table's name
may be left out: there is one.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, Protocol

from edgesip.address import Addr, Flow, parse_ip
from edgesip.control import views
from edgesip.control.rpc import INVALID_PARAMS, PAUSE, Encoded, Method, RpcFault, text
from edgesip.signal.location.binding import NAT_FLAG, Binding
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import Uri, parse_uri
from edgesip.signal.wire.values import parse_name_addr
from edgesip.store import codec
from edgesip.store.api import Census, StoreError

TABLE = "location"
"""The one table of contacts, by Kamailio's name."""

_UNSET = ("", ".", "0")
_SLOTS = 1024  # what `HashID` is counted by: Kamailio's hash_size 10
_MANY = 500  # addresses of record that are looked at before others have their turn
_FIELDS = ("AOR", "CONTACT", "EXPIRES", "Q", "PATH", "FLAGS", "CFLAGS", "METHODS")


class Location(Protocol):
    """What these methods ask of the edge. Times are monotonic seconds."""

    @property
    def usrloc(self) -> Usrloc:
        """The table, to be read."""
        ...

    @property
    def listens(self) -> Sequence[tuple[str, Addr]]:
        """Where we listen: transport and address."""
        ...

    @property
    def wall_offset(self) -> float:
        """Wall clock minus monotonic clock."""
        ...

    def now(self) -> float:
        """The monotonic clock."""
        ...

    def facts(self, binding: Binding) -> views.Facts:
        """What is known of a contact beside what it registered."""
        ...

    def new_ruid(self) -> str:
        """A name for a contact that nobody else has."""
        ...

    def add(self, binding: Binding) -> None:
        """Put a contact into the table and the store."""
        ...

    def remove(self, bindings: Sequence[Binding]) -> None:
        """Take contacts out of the table and the store."""
        ...

    def flush(self) -> int:
        """Write back now what waits for it: how many changes."""
        ...

    async def census(self) -> Census | None:
        """What the store has; None without one. Raises `StoreError`."""
        ...


def methods_for(location: Location) -> list[Method]:
    """The table of methods over this location table."""
    asked = _Questions(location)
    return [
        Method(
            "ul.add",
            asked.add,
            "ul.add [location] AOR CONTACT EXPIRES Q PATH FLAGS CFLAGS METHODS [RECEIVED [SOCKET]]: "
            'put a contact there; "." or 0 for unset, EXPIRES 0 for ever.',
        ),
        Method("ul.db_contacts", asked.db_contacts, "ul.db_contacts [location]: contacts in the store."),
        Method(
            "ul.db_expired_contacts",
            asked.db_expired_contacts,
            "ul.db_expired_contacts [location]: contacts in the store whose time is over.",
        ),
        Method("ul.db_users", asked.db_users, "ul.db_users [location]: users in the store."),
        Method("ul.dump", asked.dump, "ul.dump [brief]: every address of record with its contacts."),
        Method("ul.flush", asked.flush, "Write to the store now what would be written later (db_mode 2)."),
        Method("ul.lookup", asked.lookup, "ul.lookup [location] AOR: the contacts of an address of record."),
        Method("ul.rm", asked.rm, "ul.rm [location] AOR: remove all contacts."),
        Method(
            "ul.rm_contact", asked.rm_contact, "ul.rm_contact [location] AOR CONTACT: remove one contact."
        ),
    ]


class _Questions:
    """One method each; parameters as a list, the result as JSON values."""

    def __init__(self, location: Location) -> None:
        self._location = location

    # -- reading -----------------------------------------------------------------------------------

    def lookup(self, params: list[Any]) -> dict[str, Any]:
        """All faults are 500 here, as they are in Kamailio."""
        try:
            aor = self._key(_in_table(params, ("AOR",))[0])
        except RpcFault as fault:
            raise RpcFault(500 if fault.code == 404 else fault.code, fault.message) from None
        location = self._location
        known = location.usrloc.known(aor)
        if not known:
            raise RpcFault(500, f"AOR not found in location table: {aor}")
        found = [one for one in known if one.expires > location.now()]
        if not found:
            raise RpcFault(500, f"AOR has no contacts: {aor}")
        return {"AoR": aor, "Contacts": self._shown(found, False)}

    def dump(self, params: list[Any]) -> Encoded:
        brief = bool(params) and text(params, 0, "brief") == "brief"
        if params and not brief:
            raise RpcFault(INVALID_PARAMS, 'Invalid params: ul.dump takes "brief" or nothing')
        return Encoded(self._dumped(brief))

    def _dumped(self, brief: bool) -> Iterator[bytes | None]:
        """Kamailio's tree: Domains, Domain, AoRs, Info, Contacts, Contact; one address of record a piece."""
        yield b'{"Domains":[{"Domain":{"Domain":"%s","Size":%d,"AoRs":[' % (TABLE.encode(), _SLOTS)
        records, comma = 0, b""
        slots = [0] * _SLOTS
        for number, (aor, bindings) in enumerate(self._location.usrloc.aors(), 1):
            now = self._location.now()
            valid = [binding for binding in bindings if binding.expires > now]
            if valid:
                ident = zlib.crc32(aor.encode("utf-8", "surrogatepass"))
                info = {"AoR": aor, "HashID": ident, "Contacts": self._shown(valid, brief)}
                yield comma + codec.dumps({"Info": info})
                records, comma = records + 1, b","
                slots[ident % _SLOTS] += 1
            if number % _MANY == 0:
                yield PAUSE
        yield b'],"Stats":{"Records":%d,"Max-Slots":%d}}}]}' % (records, max(slots))

    def _shown(self, bindings: Sequence[Binding], brief: bool) -> list[dict[str, Any]]:
        """The contacts of an address of record; `brief`: their addresses alone."""
        if brief:
            return [{"Contact": {"Address": one.contact}} for one in bindings]
        location = self._location
        now, offset = location.now(), location.wall_offset
        return [{"Contact": views.contact(one, location.facts(one), now, offset)} for one in bindings]

    # -- changing ----------------------------------------------------------------------------------

    def rm(self, params: list[Any]) -> str:
        _, found = self._contacts(_in_table(params, ("AOR",))[0])
        self._location.remove(found)
        return "Ok. Contacts removed"

    def rm_contact(self, params: list[Any]) -> str:
        name, contact = _in_table(params, ("AOR", "CONTACT"))
        _, contacts = self._contacts(name)
        found = [binding for binding in contacts if binding.contact == contact]
        if not found:
            raise RpcFault(404, f"Contact not found: {contact}")
        self._location.remove(found)
        return "Ok. Contact removed"

    def flush(self, params: list[Any]) -> str:
        if params:
            raise RpcFault(INVALID_PARAMS, "Invalid params: ul.flush takes none")
        return f"Ok. Changes to be written now: {self._location.flush()}"

    def add(self, params: list[Any]) -> str:
        params = _without_table(params, len(_FIELDS) + 2)
        if not len(_FIELDS) <= len(params) <= len(_FIELDS) + 2:
            wanted = " ".join(_FIELDS)
            raise RpcFault(INVALID_PARAMS, f"Invalid params: ul.add takes {wanted} [RECEIVED [SOCKET]]")
        words = [text(params, index, "PARAMETER") for index in range(len(params))]
        words += [""] * (len(_FIELDS) + 2 - len(words))
        binding = self._binding_of(words)
        self._location.add(binding)
        return f"Ok. Contact added: {binding.ruid}"

    def _binding_of(self, words: Sequence[str]) -> Binding:
        aor, contact, expires, q, path, flags, cflags, methods, received, socket = words
        now = self._location.now()
        seconds = _number("EXPIRES", expires)
        uri = _uri("CONTACT", contact)
        key = self._key(aor)
        if not key.partition("@")[0]:
            raise RpcFault(INVALID_PARAMS, "Invalid params: AOR names no user")
        first = next((one for one in (received, _first(path)) if one not in _UNSET), contact)
        known = [one for one in self._location.usrloc.known(key) if one.contact == contact]
        return Binding(
            aor=key,
            contact=contact,
            expires=now + seconds if seconds else inf,
            q=-1.0 if q in _UNSET else _q(q),
            call_id="dfw-by-ul.add",
            cseq=1,
            received="" if received in _UNSET else str(_uri("RECEIVED", received)),
            flow=self._flow_to(_uri("RECEIVED, PATH or CONTACT", first), uri, socket),
            user_agent="ul.add",
            nated=bool(_number("CFLAGS", cflags) & NAT_FLAG),
            instance="",
            reg_id=0,
            ruid=known[0].ruid if known else self._location.new_ruid(),
            methods=views.methods_of(_number("METHODS", methods)),
            path="" if path in _UNSET else path,
            last_modified=now,
            flags=_number("FLAGS", flags),
            cflags=_number("CFLAGS", cflags) & ~NAT_FLAG,
        )

    def _flow_to(self, target: Uri, contact: Uri, socket: str) -> Flow:
        """How the contact is reached: from the socket that was named, or the first that fits."""
        ip = parse_ip(target.host)
        if ip is None:
            raise RpcFault(INVALID_PARAMS, f"Invalid params: {target.host} is a name: RECEIVED must be an IP")
        transport = (target.param("transport") or contact.param("transport") or "udp").lower()
        remote = Addr(str(ip), target.port or (5061 if transport == "tls" else 5060))
        listens = self._location.listens
        fit = [one for kind, one in listens if kind == transport and one.family == remote.family]
        named = [one for one in fit if socket in _UNSET or socket in (str(one), f"{transport}:{one}")]
        if not named:
            there = ", ".join(f"{transport}:{one}" for one in fit) or "none"
            raise RpcFault(INVALID_PARAMS, f"Invalid params: no socket {socket} leads there, of: {there}")
        # Port 0: there is no connection yet, one is opened when there is something to send.
        local = named[0] if transport == "udp" else Addr(named[0].host, 0)
        return Flow(transport, local, remote)

    # -- the store ---------------------------------------------------------------------------------

    def db_users(self, params: list[Any]) -> asyncio.Future[int]:
        return self._counted(params, "users")

    def db_contacts(self, params: list[Any]) -> asyncio.Future[int]:
        return self._counted(params, "contacts")

    def db_expired_contacts(self, params: list[Any]) -> asyncio.Future[int]:
        return self._counted(params, "expired")

    def _counted(self, params: list[Any], what: str) -> asyncio.Future[int]:
        if _without_table(params, 0):
            raise RpcFault(INVALID_PARAMS, "Invalid params: too many")
        return asyncio.ensure_future(self._count(what))

    async def _count(self, what: str) -> int:
        try:
            found = await self._location.census()
        except StoreError as error:
            raise RpcFault(500, str(error)) from None
        if found is None:
            raise RpcFault(500, "there is no store: usrloc.db_mode is 0, or usrloc.db_url is empty")
        return int(found._asdict()[what])

    # -- names -------------------------------------------------------------------------------------

    def _key(self, aor: str) -> str:
        try:
            return self._location.usrloc.key_of(aor)
        except ValueError as error:
            raise RpcFault(500, f"domain missing in AoR: {error}") from None

    def _contacts(self, name: str) -> tuple[str, list[Binding]]:
        """The key of an address of record, and its valid contacts: 404 without any."""
        aor = self._key(name)
        found = self._location.usrloc.lookup(aor, self._location.now())
        if not found:
            raise RpcFault(404, f"AOR not found: {aor}")
        return aor, found


def _without_table(params: list[Any], most: int) -> list[Any]:
    """The parameters after the table, which may be left out."""
    if not params or (len(params) <= most and params[0] != TABLE):
        return params
    table = text(params, 0, "TABLE")
    if table != TABLE:
        raise RpcFault(500, f"table not found: {table}; there is {TABLE}")
    return params[1:]


def _in_table(params: list[Any], names: tuple[str, ...]) -> list[str]:
    """The parameters after the table, all of them given; a user may be called like the table."""
    if len(params) > len(names):
        params = _without_table(params, 0)
    if len(params) > len(names):
        raise RpcFault(INVALID_PARAMS, "Invalid params: too many")
    return [text(params, index, name) for index, name in enumerate(names)]


def _first(path: str) -> str:
    """The first URI of a Path vector."""
    if path in _UNSET:
        return ""
    try:
        return str(parse_name_addr(path.partition(",")[0]).uri)
    except ParseError:
        raise RpcFault(INVALID_PARAMS, "Invalid params: PATH is no list of <URI>") from None


def _uri(name: str, value: str) -> Uri:
    try:
        uri = parse_uri(value)
    except ParseError as error:
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} is no URI: {error.reason}") from None
    if uri.scheme not in ("sip", "sips"):
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} is no SIP URI")
    return uri


def _number(name: str, value: str) -> int:
    if value in _UNSET:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} must be a number, not {value!r}")
    return int(value)


def _q(value: str) -> float:
    try:
        q = float(value)
    except ValueError:
        q = -1.0
    if not 0 <= q <= 1:
        raise RpcFault(INVALID_PARAMS, f"Invalid params: Q must lie between 0 and 1, not {value!r}")
    return q

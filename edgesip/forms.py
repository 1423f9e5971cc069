"""The forms that values of a profile are written in: listeners, addresses, networks, port ranges.

One reader per form. Each takes what TOML holds or what a `--set` gives (lists comma-separated there) and
answers the typed value; `ValueError` says what is wrong with it. It knows neither sections nor files.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from edgesip.address import Addr, bracketed, is_ip, parse_hostport, parse_ip
from edgesip.signal.wire.grammar import ParseError, is_token
from edgesip.signal.wire.uri import parse_uri
from edgesip.store.api import DIGESTS

PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
"""The transports that we listen on, and their ports (RFC 3261 §19.1.2)."""

DNS_PORT = 53
STUN_PORT = 3478

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Listen(NamedTuple):
    """Where we listen: transport in lower case, IP literal (0.0.0.0: every address of the host), port."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}:{bracketed(self.host)}:{self.port}"


class Advertised(NamedTuple):
    """The address others reach us by; `port` None means the port of the listener."""

    host: str
    port: int | None

    def __str__(self) -> str:
        return bracketed(self.host) + (f":{self.port}" if self.port else "")


class TlsDomain(NamedTuple):
    """The certificate for clients that ask for `name`; `private_key` None: the key is in the same file."""

    name: str
    certificate: Path
    private_key: Path | None


class Upstream(NamedTuple):
    """The next server for calls that are not for our own users; `port` None and no `transport` leave them to
    DNS (RFC 3263).
    """

    host: str
    port: int | None
    transport: str = ""

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        tail = f";transport={self.transport}" if self.transport else ""
        return f"sip:{bracketed(self.host)}{port}{tail}"


class PortRange(NamedTuple):
    """UDP ports of the media relay, both ends included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


# ---- one reader per form; each takes what TOML or a comma-separated --set gives, ValueError tells why not


def items(value: object) -> list[str]:
    """A list of texts, or one text with commas between them."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return [item.strip() for item in value]
    raise ValueError("must be a text or a list of texts")


def _unique(items: Sequence[str]) -> None:
    for index, item in enumerate(items):
        if item in items[:index]:
            raise ValueError(f"{item} is there twice")


def _literal(text: str) -> str:
    ip = parse_ip(text)
    if ip is None:
        raise ValueError(f"{text!r} is not an IP address")
    if ip.version == 6 and ip.is_link_local:
        raise ValueError(f"{text}: a link-local address names no host to others")
    return str(ip)


def _concrete(text: str) -> str:
    host = _literal(text)
    ip = ipaddress.ip_address(host)
    if ip.is_unspecified or ip.is_multicast or ip == ipaddress.IPv4Address("255.255.255.255"):
        raise ValueError(f"{text} is not an address that others can send to")
    return host


def _one_per_family(hosts: Iterable[str]) -> None:
    seen: dict[bool, str] = {}
    for host in hosts:
        other = seen.setdefault(":" in host, host)
        if other is not host:
            raise ValueError(f"at most one address per family, not both {other} and {host}")


def parse_listen(text: str) -> Listen:
    """Read `TRANSPORT:ADDR[:PORT]`, for example `udp:0.0.0.0:5060`; ValueError says what is wrong."""
    transport, colon, rest = text.partition(":")
    transport = transport.lower()
    where = parse_hostport(rest) if colon else None
    if where is None:
        raise ValueError(f"{text!r} is not TRANSPORT:ADDR:PORT, for example udp:0.0.0.0:5060")
    if transport in ("ws", "wss", "sctp"):
        raise ValueError(f"{text}: this version listens on udp, tcp and tls only")
    if transport not in PORTS:
        raise ValueError(f"{text}: {transport!r} is no transport, this version listens on udp, tcp and tls")
    return Listen(transport, _literal(where[0]), where[1] or PORTS[transport])


def listen(value: object) -> tuple[Listen, ...]:
    """`TRANSPORT:ADDR:PORT`; without PORT 5060, for tls 5061."""
    found = tuple(parse_listen(item) for item in items(value))
    _unique([str(item) for item in found])
    return found


AUTO = Advertised("auto", None)
"""In place of the advertised addresses: they are to be found."""


def advertise(value: object) -> tuple[Advertised, ...]:
    """`ADDR` or `ADDR:PORT`, at most one per family; or `auto` alone."""
    found = []
    wanted = items(value)
    if "auto" in wanted:
        if len(wanted) > 1:
            raise ValueError('"auto" stands alone: either it is found, or you name it')
        return (AUTO,)
    for item in wanted:
        where = parse_hostport(item)
        if where is None:
            raise ValueError(
                f"{item!r} is not ADDR or ADDR:PORT, for example 203.0.113.5:5060 or [2001:db8::5]:5060"
            )
        found.append(Advertised(_concrete(where[0]), where[1]))
    _one_per_family(item.host for item in found)
    return tuple(found)


def hosts(value: object) -> tuple[str, ...]:
    """IP addresses, at most one per family."""
    found = tuple(_concrete(item.removeprefix("[").removesuffix("]")) for item in items(value))
    _one_per_family(found)
    return found


_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*\.?", re.ASCII)


def domains(value: object) -> tuple[str, ...]:
    """Domain names or IP addresses."""
    found = tuple(item.lower() for item in items(value))
    for item in found:
        if not is_ip(item) and not _DOMAIN.fullmatch(item):
            raise ValueError(f"{item!r} is not a domain name")
    _unique(found)
    return found


def upstream(value: object) -> Upstream | None:
    """`sip:HOST` or `sip:HOST:PORT`, each with `;transport=tcp` or `tls` if need be; empty means none."""
    if not isinstance(value, str):
        raise ValueError("must be a text: sip:HOST or sip:HOST:PORT")
    if not value:
        return None
    scheme, _, rest = value.partition(":")
    rest, semicolon, tail = rest.partition(";")
    where = parse_hostport(rest)
    if scheme.lower() != "sip" or where is None:
        raise ValueError(f"{value!r} is not sip:HOST or sip:HOST:PORT")
    transport = tail.lower().removeprefix("transport=")
    if semicolon and (transport == tail.lower() or transport not in PORTS):
        raise ValueError(f"{value!r}: after the host there may stand ;transport=udp, tcp or tls")
    host = where[0].lower()
    if is_ip(host):
        host = _literal(host)
    elif not _DOMAIN.fullmatch(host):
        raise ValueError(f"{where[0]!r} is not a host name")
    return Upstream(host, where[1], transport)


def servers(value: object) -> tuple[Addr, ...]:
    """`ADDR` or `ADDR:PORT` of DNS servers."""
    found = []
    for item in items(value):
        where = (item, None) if is_ip(item) else parse_hostport(item)
        if where is None or not is_ip(where[0]):
            raise ValueError(
                f"{item!r} is not ADDR or ADDR:PORT, for example 192.0.2.53 or [2001:db8::53]:5353"
            )
        found.append(Addr(_concrete(where[0]), where[1] or DNS_PORT))
    _unique([str(one) for one in found])
    return tuple(found)


def stun_servers(value: object) -> tuple[tuple[str, int], ...]:
    """`HOST` or `HOST:PORT` of STUN servers, at most eight."""
    found = []
    for item in items(value):
        where = (item, None) if is_ip(item) else parse_hostport(item)
        if where is None or not (is_ip(where[0]) or _DOMAIN.fullmatch(where[0].lower())):
            raise ValueError(f"{item!r} is not HOST or HOST:PORT, for example stun.example.net:3478")
        found.append((where[0].lower(), where[1] or STUN_PORT))
    _unique([f"{host}:{port}" for host, port in found])
    if len(found) > 8:
        raise ValueError("eight are enough")
    return tuple(found)


def pattern(value: object) -> re.Pattern[str]:
    """A regular expression."""
    if not isinstance(value, str):
        raise ValueError("must be a text: a regular expression")
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is not a regular expression: {error}") from None


def pattern_of_any_case(value: object) -> re.Pattern[str]:
    """A regular expression that is searched for, whatever the case."""
    return re.compile(pattern(value).pattern, re.IGNORECASE)


def lines(value: object) -> tuple[str, ...]:
    """Rows of words, each a text of its own."""
    return tuple(" ".join(item.split()) for item in items(value))


def networks(value: object) -> tuple[Network, ...]:
    """IP addresses and networks in CIDR form."""
    found: list[Network] = []
    for item in items(value):
        try:
            found.append(ipaddress.ip_network(item))
        except ValueError:
            try:
                nearest = ipaddress.ip_network(item, strict=False)
            except ValueError:
                raise ValueError(f"{item!r} is neither an IP address nor a network in CIDR form") from None
            raise ValueError(f"{item} has host bits set; did you mean {nearest}?") from None
    return tuple(found)


def ports(value: object) -> PortRange:
    """`LOW-HIGH`, with room for the two port pairs of one call."""
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be "LOW-HIGH", for example "16384-32767"')
    low, high = int(match[1]), int(match[2])
    if not 1024 <= low < high <= 65535:
        raise ValueError(f"{value}: LOW and HIGH must lie in 1024-65535 and LOW below HIGH")
    if high - (low + low % 2) < 3:
        raise ValueError(f"{value} has no room for one call: two pairs of ports, each from an even one")
    return PortRange(low, high)


def path(value: object) -> Path:
    """A file system path, `~` expanded."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"{value!r}: ~ stands for a home directory that there is not") from None


def tls_domains(value: object) -> tuple[TlsDomain, ...]:
    """Sections `[tls.domain."NAME"]`, each with `certificate` and `private_key`."""
    if not isinstance(value, dict):
        raise ValueError('must be sections of the profile file: [tls.domain."sip.example.org"]')
    found = []
    for name, keys in value.items():
        if not _DOMAIN.fullmatch(name.lower()):
            raise ValueError(f"{name!r} is not a domain name; names with dots stand in quotes")
        if not isinstance(keys, dict):
            raise ValueError(
                f'must be a section with a name of its own: [tls.domain."sip.example.org"], not {name}'
            )
        unknown = next((key for key in keys if key not in TlsDomain._fields[1:]), None)
        if unknown is not None:
            raise ValueError(f"{name}: unknown key {unknown}; there are certificate, private_key")
        if "certificate" not in keys:
            raise ValueError(f"{name}: certificate is missing")
        key = path(keys["private_key"]) if "private_key" in keys else None
        found.append(TlsDomain(name.lower().rstrip("."), path(keys["certificate"]), key))
    return tuple(found)


def ciphers(value: object) -> str:
    """A cipher list in OpenSSL's form; empty for Python's choice."""
    if not isinstance(value, str):
        raise ValueError("must be a text: a cipher list in OpenSSL's form")
    return value


def db_url(value: object) -> str:
    """`sqlite:///PATH`, or an empty text for memory only."""
    if not isinstance(value, str):
        raise ValueError('must be a text: "sqlite:///PATH", or "" for memory only')
    if value and not re.fullmatch(r"sqlite:///.+", value):
        raise ValueError(f'{value!r}: this version knows "sqlite:///PATH", or "" for memory only')
    return value


def realm(value: object) -> str:
    """Printable text without quotes and backslashes, 128 characters at most (RFC 7616 §3.3)."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text")
    if not value.isprintable() or '"' in value or "\\" in value or len(value) > 128:
        raise ValueError(f"{value!r}: printable characters without quotes and backslashes, 128 at most")
    return value


def algorithms(value: object) -> tuple[str, ...]:
    """Digest algorithms that can be verified, in the order in which they are asked for."""
    names = [name.upper() for name in items(value)]
    for name in names:
        if name not in DIGESTS:
            kept = ", ".join(DIGESTS)
            raise ValueError(f"{name!r}: passwords are kept for {kept}, so only these can be asked for")
    if not names:
        raise ValueError("must name one at least: MD5")
    return tuple(name for name in reversed(DIGESTS) if name in names)


def qop(value: object) -> str:
    """The protections that a challenge offers."""
    if value not in ("", "auth", "auth-int", "auth,auth-int"):
        raise ValueError('must be "auth", "auth-int", "auth,auth-int" or ""')
    return str(value)


def realm_prefix(value: object) -> str:
    """The beginning of a realm, or nothing."""
    return realm(value) if value != "" else ""


def users_url(value: object) -> str:
    """`text:///PATH`, or an empty text for the database in the state directory."""
    if not isinstance(value, str) or (value and not re.fullmatch(r"text:///.+", value)):
        raise ValueError(f'{value!r}: this version knows "text:///PATH", or "" for subscribers.db')
    return value


def reason(value: object) -> str:
    """Printable text on one line."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"must be text on one line, not {value!r}")
    return value


def reply_codes(value: object) -> str:
    """`code=STATUS` and `class=DIGIT`, separated by `;`."""
    if not isinstance(value, str):
        raise ValueError(f"must be like code=403;class=5, not {value!r}")
    for word in filter(None, (one.strip() for one in value.split(";"))):
        if re.fullmatch(r"code=[3-6][0-9]{2}|class=[3-6]", word, re.ASCII) is None:
            raise ValueError(f"must be like code=403;class=5, not {word!r}")
    return value


_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_OWN = frozenset(
    ("via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "max-forwards", "content-length", "l")
)


def method(value: object) -> str:
    """The method of a request that asks for nothing: a token, and none that opens or ends something."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError(f"must be a SIP method, not {value!r}")
    if value in ("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "SUBSCRIBE", "PUBLISH", "REFER"):
        raise ValueError(f"{value} opens or ends something: take NOTIFY, OPTIONS or INFO")
    return value


def sip_uri(value: object) -> str:
    """A SIP URI as it stands between angle brackets, or nothing."""
    if not isinstance(value, str) or (value and not re.fullmatch(r"sips?:[!-;=?-~]+", value)):
        raise ValueError(f"must be a SIP URI, not {value!r}")
    return value


def header_lines(value: object) -> str:
    """Header fields, a line each, as they stand in a message: CRLF behind every one."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {value!r}")
    lines = [line for line in value.replace("\r\n", "\n").split("\n") if line]
    for line in lines:
        name, colon, text = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not text.strip().isprintable():
            raise ValueError(f"{line!r} is no header field: NAME: VALUE")
        if name.lower() in _OWN:
            raise ValueError(f"{name} is made by the server")
    return "".join(f"{line}\r\n" for line in lines)


def token(value: object) -> str:
    """The name of a header field or parameter; empty for none."""
    if not isinstance(value, str) or (value and not is_token(value)):
        raise ValueError(f"must be a name, not {value!r}")
    return value


def name(value: object) -> str:
    """The name of a URI parameter."""
    if not isinstance(value, str) or not is_token(value):
        raise ValueError(f"must be a name, not {value!r}")
    return value


def prefix(value: object) -> str:
    """The beginning of a domain name; empty for none."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.-]*", value, re.ASCII):
        raise ValueError(f"must be the beginning of a domain name, like sip., not {value!r}")
    return value.lower()


def routes(value: object) -> tuple[str, ...]:
    """SIP URIs with `;lr`."""
    found = []
    for item in items(value):
        text = item.removeprefix("<").removesuffix(">")
        try:
            uri = parse_uri(text)
        except ParseError as error:
            raise ValueError(f"{item!r} is not a SIP URI: {error.reason}") from None
        if uri.scheme == "tel" or uri.param("lr") is None:
            raise ValueError(f"{item!r} is not a SIP URI with ;lr, for example sip:edge.example.net;lr")
        found.append(f"<{uri}>")
    return tuple(found)


def secret(value: object) -> str:
    """Text of at least 16 characters; empty for one that is made."""
    if not isinstance(value, str) or 0 < len(value) < 16:
        raise ValueError("must be a text of at least 16 characters")
    return value

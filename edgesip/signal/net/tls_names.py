"""Whom a certificate speaks for: SIP domain identities, and whether a name is among them (RFC 5922 §7).

Takes certificates in the form of `SSLObject.getpeercert()`. Whether their chain is to be believed is
OpenSSL's question, asked before; the common name of the subject is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgesip.address import parse_ip
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import parse_uri

Certificate = Mapping[str, Any]


def identities(certificate: Certificate) -> tuple[str, ...]:
    """The domains that a certificate names: those of its SIP URIs, else those of its DNS names (§7.1)."""
    names = list(_names(certificate))
    uris = [host for kind, value in names if kind == "URI" and (host := _domain_of(value))]
    return tuple(uris or [_plain(value) for kind, value in names if kind == "DNS"])


def addresses(certificate: Certificate) -> tuple[str, ...]:
    """The IP addresses that a certificate names (RFC 5280 §4.2.1.6)."""
    found = (parse_ip(value.strip()) for kind, value in _names(certificate) if kind == "IP Address")
    return tuple(str(ip) for ip in found if ip is not None)


def speaks_for(certificate: Certificate, name: str) -> bool:
    """True when `name`, a domain or an IP literal, is among them; in full, without wildcards (§7.2)."""
    ip = parse_ip(name)
    if ip is not None:
        return str(ip) in addresses(certificate) or str(ip) in identities(certificate)
    return bool(name) and _plain(name) in identities(certificate)


def all_names(certificate: Certificate) -> tuple[str, ...]:
    """Every domain and address in a certificate, once: what clients may compare that know no RFC 5922."""
    names = list(_names(certificate))
    dns = [_plain(value) for kind, value in names if kind == "DNS"]
    return tuple(dict.fromkeys((*identities(certificate), *dns, *addresses(certificate))))


def told_names(certificate: Certificate) -> str:
    """The names that count (§7.1), for a sentence about them."""
    return ", ".join((*identities(certificate), *addresses(certificate))) or "nobody (no subjectAltName)"


def _names(certificate: Certificate) -> Iterator[tuple[str, str]]:
    for kind, value in certificate.get("subjectAltName", ()):
        yield str(kind), str(value)


def _domain_of(text: str) -> str:
    """The host of a SIP URI that names a domain; empty for a user's, and for other schemes (§7.1)."""
    try:
        uri = parse_uri(text)
    except ParseError:
        return ""
    if uri.scheme != "sip" or uri.user is not None:
        return ""
    ip = parse_ip(uri.host)
    return str(ip) if ip is not None else _plain(uri.host)


def _plain(name: str) -> str:
    return name.lower().rstrip(".")

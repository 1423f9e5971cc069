"""Secrets in a message, written over: what is shown of a message can be shown to anybody.

Passwords and what they can be guessed from (digest responses), keys of media, passwords in URIs. Each
secret is replaced by as many stars, so that lengths stay true. Knows nothing of who looks.
"""

from __future__ import annotations

import re

_FIELD = re.compile(
    rb"(?:^|(?<=[\r\n]))((?:proxy-)?authorization|(?:proxy-)?authentication-info)([ \t]*:[ \t]*)"
    rb"((?:[^\r\n]|\r?\n[ \t])*)",
    re.IGNORECASE,
)
"""The header fields that hold credentials (RFC 3261 §22, RFC 7615), with their continuation lines."""
_DERIVED = re.compile(
    rb"(?<![a-z])((?:response|rspauth|response-auth|password|passwd)\s*=\s*)"
    rb"(\"(?:[^\"\\\r\n]|\\[^\r\n]|\r?\n[ \t])*\"?|[^\s,;\"&]+)",
    re.IGNORECASE,
)
"""Wherever they stand: a piece of a message may begin after the name of its field."""
_SDP_KEY = re.compile(
    rb"(?:^|(?<=[\r\n]))(a=crypto:[ \t]*[0-9]*[ \t]*\w*[ \t]*|a=ice-pwd:|a=key-mgmt:|k=)([^\r\n]+)",
    re.IGNORECASE,
)
"""SDES (RFC 4568), ICE (RFC 8839), MIKEY (RFC 4567), and the old key line."""
_URI = re.compile(rb"(sips?:[^:@\s<>\";]{0,128}:)([^@\s<>\";]{1,128}+)(?=@)", re.IGNORECASE)
"""Bounded, so that a hostile message takes no time that grows with its square."""
_ENCODED = re.compile(
    rb"[\r\n](?:content-encoding|e)[ \t]*:[ \t]*(?!identity[ \t]*(?:[\r\n]|\Z))[^ \t\r\n]", re.IGNORECASE
)
_STAR = b"*"


def masked(data: bytes) -> bytes:
    """The same octets without secrets; a body that is compressed cannot be looked through: all of it goes."""
    data = _FIELD.sub(_credentials, data)
    data = _DERIVED.sub(_value, data)
    data = _URI.sub(_value, data)
    data = _SDP_KEY.sub(_value, data)
    head, blank, body = data.partition(b"\r\n\r\n")
    if body and _ENCODED.search(head):
        return head + blank + _STAR * len(body)
    return data


def masked_text(text: str) -> str:
    """The same for a text that was taken from a message."""
    return masked(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _value(found: re.Match[bytes]) -> bytes:
    """The value in stars; quotes stay."""
    name, value = found[1], found[2]
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        return name + b'"' + _STAR * (len(value) - 2) + b'"'
    return name + _STAR * len(value)


def _credentials(found: re.Match[bytes]) -> bytes:
    """Digest is masked by its parameters; of another scheme nothing but its name is shown."""
    name, colon, value = found[1], found[2], found[3]
    scheme, blank, rest = value.partition(b" ")
    if scheme.lower() == b"digest" or name.lower().endswith(b"-info"):
        return found[0]
    return name + colon + scheme + blank + _STAR * len(rest) if blank else name + colon + _STAR * len(value)

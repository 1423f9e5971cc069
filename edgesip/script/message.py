"""What any message tells a script: Kamailio's pseudo-variables as typed attributes, and questions to ask it.

Holds reads alone, of requests and responses alike; what a script wants changed is `edited`'s. A header that
is absent reads as empty text; one that cannot be read raises ParseError, which is the sender's fault.
"""

from __future__ import annotations

import re
from functools import lru_cache

from edgesip.address import Flow
from edgesip.script.template import filled
from edgesip.script.transform import name_addr
from edgesip.signal.nat.held import audio_on_hold
from edgesip.signal.nat.repair import source_uri
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response
from edgesip.signal.wire.uri import equivalent, parse_uri


class Message:
    """A request or a response, read-only, and how it came."""

    __slots__ = ("_flow", "_message")

    _message: Request | Response
    _flow: Flow

    # -- what came -----------------------------------------------------------------------------------

    @property
    def headers(self) -> Headers:
        """The header fields as they came."""
        return self._message.headers

    @property
    def method(self) -> str:
        """`$rm`: the method of the request, or of the request that this answers."""
        message = self._message
        return message.method if isinstance(message, Request) else message.headers.cseq.method

    @property
    def call_id(self) -> str:
        """`$ci`: the Call-ID."""
        return self._message.headers.call_id

    @property
    def cseq(self) -> int:
        """`$cs`: the number in CSeq."""
        return self._message.headers.cseq.number

    @property
    def from_uri(self) -> str:
        """`$fu`: the URI of From."""
        return str(self._message.headers.from_.uri)

    @property
    def from_user(self) -> str:
        """`$fU`: the user of From, unescaped."""
        return self._message.headers.from_.uri.username or ""

    @property
    def from_domain(self) -> str:
        """`$fd`: the host of From."""
        return self._message.headers.from_.uri.host

    @property
    def from_tag(self) -> str:
        """`$ft`: the tag of From."""
        return self._message.headers.from_.tag

    @property
    def from_name(self) -> str:
        """`$fn`: the display name of From."""
        return self._message.headers.from_.display

    @property
    def to_uri(self) -> str:
        """`$tu`: the URI of To."""
        return str(self._message.headers.to.uri)

    @property
    def to_user(self) -> str:
        """`$tU`: the user of To, unescaped."""
        return self._message.headers.to.uri.username or ""

    @property
    def to_domain(self) -> str:
        """`$td`: the host of To."""
        return self._message.headers.to.uri.host

    @property
    def to_tag(self) -> str:
        """`$tt`: the tag of To; empty in the request that opens something."""
        return self._message.headers.to.tag

    @property
    def to_name(self) -> str:
        """`$tn`: the display name of To."""
        return self._message.headers.to.display

    @property
    def user_agent(self) -> str:
        """`$ua`: User-Agent."""
        return self.hdr("User-Agent")

    @property
    def contact(self) -> str:
        """`$ct`: the first Contact field as it stands."""
        return self.hdr("Contact")

    @property
    def contact_uri(self) -> str:
        """`$(ct{nameaddr.uri})`: the URI of the first Contact; empty for none and for `*`."""
        contacts = self._message.headers.contacts
        return str(contacts[0].uri) if contacts else ""

    @property
    def content_type(self) -> str:
        """`$cT`: the media type of the body in lower case, without parameters."""
        return self._message.headers.content_type

    @property
    def content_length(self) -> int:
        """`$cl`: octets of the body."""
        return len(self._message.body)

    @property
    def body(self) -> bytes:
        """`$rb`: the body."""
        return self._message.body

    @property
    def buffer(self) -> bytes:
        """`$mb`: the whole message as it was understood: the top Via tells where it came from."""
        return bytes(self._message)

    @property
    def length(self) -> int:
        """`$ml`: octets of that."""
        return len(bytes(self._message))

    @property
    def rr_count(self) -> int:
        """`$rr_count`: how many Record-Routes there are."""
        return len(self._message.headers.record_routes)

    @property
    def rr_top_count(self) -> int:
        """`$rr_top_count`: how many of them the topmost proxy wrote: 2 for a double one (`r2`), 1, or 0."""
        entries = self._message.headers.record_routes
        if not entries:
            return 0
        return 2 if entries[0].uri.param("r2") is not None else 1

    @property
    def asserted_identity(self) -> str:
        """`$ai`: the URI of P-Asserted-Identity (RFC 3325)."""
        return self._uri_in("P-Asserted-Identity")

    @property
    def preferred_identity(self) -> str:
        """`$pu`: the URI of P-Preferred-Identity."""
        return self._uri_in("P-Preferred-Identity")

    @property
    def diversion(self) -> str:
        """`$di`: the URI of the first Diversion (RFC 5806)."""
        return self._uri_in("Diversion")

    @property
    def refer_to(self) -> str:
        """`$rt`: the URI of Refer-To (RFC 3515)."""
        return self._uri_in("Refer-To")

    # -- how it came ---------------------------------------------------------------------------------

    @property
    def source_ip(self) -> str:
        """`$si`: the address that it came from."""
        return self._flow.remote.host

    @property
    def source_port(self) -> int:
        """`$sp`: the port that it came from."""
        return self._flow.remote.port

    @property
    def source_uri(self) -> str:
        """`$su`, `$source_uri`: both as a URI, `sip:ip:port[;transport=x]`."""
        return source_uri(self._flow)

    @property
    def received_ip(self) -> str:
        """`$Ri`: the address of ours that it came to."""
        return self._flow.local.host

    @property
    def received_port(self) -> int:
        """`$Rp`: the port of ours that it came to."""
        return self._flow.local.port

    @property
    def transport(self) -> str:
        """`$proto`, `$pr`: udp, tcp, tls..."""
        return self._flow.transport

    # -- questions -----------------------------------------------------------------------------------

    def hdr(self, name: str) -> str:
        """`$hdr(name)`: the first field of that name; empty when there is none."""
        return self._message.headers.get(name) or ""

    def hdr_count(self, name: str) -> int:
        """`$hdrc(name)`: how many lines of that name there are."""
        return len(self._message.headers.all(name))

    def fmt(self, text: str) -> str:
        """The text with its pseudo-variables filled in; ValueError for one that does not exist here."""
        return filled(text, self)

    def is_request(self) -> bool:
        """siputils: a request, not a response."""
        return isinstance(self._message, Request)

    def is_reply(self) -> bool:
        """siputils: a response, not a request."""
        return isinstance(self._message, Response)

    def is_method(self, methods: str) -> bool:
        """textops: the method is one of these, as in `is_method("INVITE|ACK")`."""
        return self.method in methods.split("|")

    def has_totag(self) -> bool:
        """siputils: To has a tag, so this belongs to something that is open already."""
        return bool(self._message.headers.to.tag)

    def has_body(self, content_type: str = "") -> bool:
        """textops: there is a body, and of this media type where one is given."""
        if not self._message.body:
            return False
        return not content_type or self._message.headers.content_type == content_type.lower()

    def is_present_hf(self, name: str) -> bool:
        """textops: there is a header field of this name."""
        return name in self._message.headers

    def is_present_hf_re(self, pattern: str) -> bool:
        """textops: there is a header field whose name matches the pattern."""
        match = compiled(pattern, re.IGNORECASE).search
        return any(match(name) for name, _ in self._message.headers.fields)

    def search(self, pattern: str) -> bool:
        """textops: the pattern occurs in the message, header or body; `^` and `$` are those of a line."""
        return compiled(pattern, re.MULTILINE).search(_lines(bytes(self._message))) is not None

    def search_body(self, pattern: str) -> bool:
        """textops: the pattern occurs in the body."""
        return compiled(pattern, re.MULTILINE).search(_lines(self._message.body)) is not None

    def search_hf(self, name: str, pattern: str, flags: str = "a") -> bool:
        """textops: the pattern occurs in a field of that name: `a` in any, `f` the first, `l` the last."""
        lines = self._message.headers.all(name)
        chosen = {"a": lines, "f": lines[:1], "l": lines[-1:]}.get(flags)
        if chosen is None:
            raise ValueError(f"search_hf: flags are a, f or l, not {flags!r}")
        return any(compiled(pattern).search(line) for line in chosen)

    def is_supported(self, option: str) -> bool:
        """siputils: Supported names this option tag."""
        tags = self._message.headers.values("Supported")
        return option.lower() in [tag.lower() for tag in tags]

    def is_privacy(self, kind: str) -> bool:
        """textops: Privacy (RFC 3323) asks for `user`, `header`, `session`, `id`, `none`, `critical`."""
        asked = [part.strip().lower() for part in self.hdr("Privacy").split(";")]
        return kind.lower() in asked

    def is_audio_on_hold(self) -> int:
        """textops: audio is on hold: 1 by a null address in c=, 2 by sendonly or inactive; -1: it is not."""
        return audio_on_hold(self._message) or -1

    def cmp_uri(self, one: str, other: str) -> bool:
        """siputils: two URIs are equivalent (RFC 3261 §19.1.4)."""
        return equivalent(parse_uri(one), parse_uri(other))

    def cmp_aor(self, one: str, other: str) -> bool:
        """siputils: two URIs have the same user and host."""
        first, second = parse_uri(one), parse_uri(other)
        return (first.username, first.host) == (second.username, second.host)

    def _uri_in(self, name: str) -> str:
        values = self._message.headers.values(name)
        return str(name_addr(values[0]).uri) if values else ""


def _lines(octets: bytes) -> str:
    """Text whose lines end as `$` in a regular expression has it."""
    return _text(octets).replace("\r\n", "\n")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


@lru_cache(maxsize=512)
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """A script's regular expression, in Python's dialect; ValueError when it is none."""
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None

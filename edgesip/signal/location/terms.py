"""The terms of a REGISTER: which extensions hold for it, agreed on before anything is stored.

Path (RFC 3327), outbound (RFC 5626) and GRUU (RFC 5627): what the phone supports or requires, what the
settings want, what the proxies on the way have done. Holds the refusals that follow, and what the 200 says.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from edgesip.signal.location.reading import is_source
from edgesip.signal.location.rules import Fields, Refusal, Settings
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.uri import unescape
from edgesip.signal.wire.values import NameAddr, parse_name_addr

_TELLS_NOTHING: Fields = ()
_NOTHING: frozenset[str] = frozenset()
_WORDS_MAX_SIZE = 1024
PATH_MAX = 16  # proxies on the way
PATH_MAX_SIZE = 1024  # octets of their URIs


class Terms(NamedTuple):
    """What was agreed on: `path` as it is stored, `outbound` and `gruu` hold, `told` is for the 200."""

    path: str
    received: str  # of the first Path URI, unescaped; '' without one
    outbound: bool
    reg_ids: bool  # reg-id means something
    gruu: bool
    told: Fields


def terms_of(headers: Headers, settings: Settings) -> Terms:
    """The terms of a request; a `Refusal` when there are none that suit both sides."""
    supported = _words(headers, "Supported")
    required = _words(headers, "Require")
    if required:
        _check_required(headers, required, settings)
    path = _path_of(headers) if settings.use_path and "Path" in headers else ()
    outbound = _outbound(headers, supported | required, settings, path)
    text, told = "", _TELLS_NOTHING
    if path:
        text = ",".join([str(hop) for hop in path])
        told = _path_told(text, supported | required, settings.path_mode)
    if outbound:
        told += (("Require", "outbound"),)
        if settings.flow_timer:
            told += (("Flow-Timer", str(settings.flow_timer)),)
    if settings.service_route:
        told += tuple([("Service-Route", route) for route in settings.service_route])
    received = ""
    if path and settings.path_use_received:
        received = unescape(path[0].uri.param("received") or "")
        received = received if is_source(received) else ""
    reg_ids = outbound or bool(settings.regid_mode)
    gruu = settings.gruu_enabled and "gruu" in supported | required
    return Terms(text, received, outbound, reg_ids, gruu, told)


def _check_required(headers: Headers, required: frozenset[str], settings: Settings) -> None:
    """420 for extensions that the phone insists on and we have not (RFC 3261 §8.2.2.3)."""
    known = {"path"} if settings.use_path else set()
    known |= {"gruu"} if settings.gruu_enabled else set()
    known |= {"outbound"} if settings.outbound_mode else set()
    if required <= known:
        return
    unknown = [word for word in headers.values("Require") if word.lower() not in known]
    raise Refusal(420, "Required extension not supported", headers=(("Unsupported", ", ".join(unknown)),))


def _outbound(
    headers: Headers, supported: frozenset[str], settings: Settings, path: tuple[NameAddr, ...]
) -> bool:
    """Whether flows are kept apart (RFC 5626 §6): a reg-id is there, both sides and the first hop want it.

    The first hop is the proxy that the phone spoke to: the last of Path.
    """
    if not settings.outbound_mode:
        return False
    if "outbound" not in supported:
        if settings.outbound_mode == 2:
            extension = (("Require", "outbound"), ("Supported", "outbound"))
            raise Refusal(421, "Outbound required", "Extension Required", extension)
        return False
    if not any(_has_reg_id(contact) for contact in headers.contacts):
        return False
    if len(headers.vias) > 1 and not (path and path[-1].uri.param("ob") is not None):
        raise Refusal(439, "First hop lacks outbound support", "First Hop Lacks Outbound Support")
    return True


def _has_reg_id(contact: NameAddr) -> bool:
    return contact.param("reg-id") is not None and bool(contact.param("+sip.instance"))


def _path_of(headers: Headers) -> tuple[NameAddr, ...]:
    """The proxies that a request to the phone has to pass, the one next to us first."""
    try:
        path = tuple([parse_name_addr(value) for value in headers.values("Path")])
    except ParseError as error:
        raise Refusal(400, f"Bad Path: {error.reason}") from None
    if any(hop.uri.scheme not in ("sip", "sips") for hop in path):
        raise Refusal(400, "Bad Path: not a SIP URI")
    if path and path[0].uri.param("lr") is None:
        raise Refusal(400, "Bad Path: the first hop is no loose router")
    if len(path) > PATH_MAX or sum(len(str(hop)) for hop in path) > PATH_MAX_SIZE:
        raise Refusal(400, "Bad Path: too long")
    if not all(str(hop).isprintable() for hop in path):
        raise Refusal(400, "Bad Path: not text")
    return path


def _path_told(text: str, supported: frozenset[str], mode: int) -> Fields:
    """Path in the 200, for whoever understands it; `mode` 2 refuses who does not (RFC 3327 §5.3)."""
    if "path" in supported:
        return (("Path", text),) if mode else ()
    if mode == 2:
        headers = (("Unsupported", "path"), ("Path", text))
        raise Refusal(420, "No support for Path indicated", headers=headers)
    return ()


def _words(headers: Headers, name: str) -> frozenset[str]:
    return _read(",".join(headers.all(name))) if headers.find(name) is not None else _NOTHING


@lru_cache(maxsize=256)
def _read(text: str) -> frozenset[str]:
    """The words of a list, in lower case; cached, as most phones say the same."""
    return frozenset([word.strip().lower() for word in text[:_WORDS_MAX_SIZE].split(",")]) - {""}

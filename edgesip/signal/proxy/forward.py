"""What RFC 3261 §16 has a proxy do to a message: pure functions from message to message.

Checks before routing (§16.3), our own Routes (§16.4), the copy that leaves (§16.6) and the response that
goes back (§16.7). Knows nothing of transactions, dialogs or where a target was found.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edgesip.address import Addr, Flow, bracketed, same_host
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.record_route import RrSettings
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import Request, Response
from edgesip.signal.wire.uri import Uri, without_headers
from edgesip.signal.wire.values import NameAddr, Via

MAX_FORWARDS: Final = 70
COOKIE: Final = "z9hG4bK"
"""How branches begin that are unique (RFC 3261 §8.1.1.7)."""
Field = tuple[str, str]


class Refused(NamedTuple):
    """The final response that a request earns before anybody looks at where it goes."""

    status: int
    reason: str = ""
    headers: tuple[Field, ...] = ()


def read_all(headers: Headers) -> None:
    """Read every header that we route by, so that none turns out unreadable later. Raises ParseError."""
    _ = (headers.vias, headers.from_, headers.to, headers.cseq, headers.contacts)
    _ = (headers.routes, headers.record_routes, headers.max_forwards)


def check_request(request: Request) -> Refused | None:
    """§16.3: readable, a URI that we can route, hops left, no extension demanded. Raises ParseError."""
    read_all(request.headers)
    if request.headers.via.branch == COOKIE:
        return Refused(400, "Via branch is the bare cookie")  # shared by all who do so (RFC 4475 §3.3.1)
    if request.ruri.scheme not in ("sip", "sips"):
        return Refused(416)
    if request.headers.max_forwards == 0:
        return Refused(483)
    demanded = request.headers.values("Proxy-Require")
    if demanded:
        return Refused(420, "", (("Unsupported", ", ".join(demanded)),))
    return None


def nowhere(request: Request) -> Refused:
    """The answer when no way leads on; for a sips: URI, no secure one (RFC 5630 §5.1)."""
    if request.uri[:5].lower() == "sips:":
        return Refused(480, "", (("Warning", '380 edgesip "SIPS Not Allowed"'),))
    return Refused(478, "Unresolvable destination")


def seen_from(via: Via, source: Addr) -> Via:
    """§18.2.1 and RFC 3581, as after `force_rport()`: a top Via that says where it really came from."""
    rport = str(source.port)
    if same_host(via.host, source.host):
        if via.rport is None and (via.port or 5060) == source.port and via.received is None:
            return via
        params = _set(via.params, "rport", rport)
        params = tuple(item for item in params if item[0].lower() != "received")
        if via.rport is not None:
            params = _set(params, "received", source.host)
    else:
        params = _set(_set(via.params, "rport", rport), "received", source.host)
    return Via(via.transport, via.host, via.port, params)


def with_source(request: Request, source: Addr) -> Request:
    """The request whose top Via says where it really came from."""
    via = request.headers.via
    top = seen_from(via, source)
    if top is via:
        return request
    rest = request.headers.vias[1:]
    fields = list(request.headers.fields)
    place = next(index for index, (name, _) in enumerate(fields) if name == "Via")
    if "," in fields[place][1]:
        fields = replaced(fields, "Via", [str(top), *(str(other) for other in rest)])
    else:
        fields[place] = ("Via", str(top))
    headers = request.headers.altered(fields, "via", "vias")
    headers = headers.with_vias(top, (top, *rest))
    return Request(request.method, request.uri, headers, request.body)


def _set(
    params: tuple[tuple[str, str | None], ...], name: str, value: str
) -> tuple[tuple[str, str | None], ...]:
    if any(key.lower() == name for key, _ in params):
        return tuple((key, value if key.lower() == name else old) for key, old in params)
    return (*params, (name, value))


class Routed:
    """A request after §16.4: our own Routes gone, `did` their dialog cookie, `foreign` the Routes left.

    `own` are the URIs of those that are gone.
    """

    __slots__ = ("did", "foreign", "own", "request")

    def __init__(
        self, request: Request, did: str, foreign: tuple[NameAddr, ...], own: tuple[Uri, ...] = ()
    ) -> None:
        self.request = request
        self.did = did
        self.foreign = foreign
        self.own = own


def preprocess(request: Request, myself: Myself) -> Routed:
    """§16.4: take our own Routes off the top (two with double Record-Route); undo a strict router's swap."""
    routes = list(request.headers.routes)
    uri = request.uri
    own: list[Uri] = []
    if routes and request.ruri.param("lr") is not None and myself.is_myself(request.ruri):
        own.append(request.ruri)
        uri = str(routes.pop().uri)
    while routes and myself.is_myself(routes[0].uri):
        own.append(routes.pop(0).uri)
    if own:
        fields = replaced(request.headers.fields, "Route", [str(route) for route in routes])
        headers = request.headers.altered(fields, "routes")
        request = Request(request.method, uri, headers, request.body)
    did = next((found for route in own if (found := route.param("did"))), "")
    return Routed(request, did, tuple(routes), tuple(own))


class Copy:
    """What a forwarded copy differs in (§16.6): everything else stays as it came.

    `rr` are parameters of our Record-Route besides `did`, `style` is how that is written; `breadth` is what
    is left of Max-Breadth, 0 for a request that has none.
    """

    __slots__ = ("body", "branch", "breadth", "did", "flow", "inbound", "record_route", "rr", "style", "uri")

    def __init__(
        self,
        uri: str,
        branch: str,
        flow: Flow,
        record_route: bool,
        inbound: Flow,
        did: str = "",
        body: bytes | None = None,
        rr: str = "",
        breadth: int = 0,
        style: RrSettings | None = None,
    ) -> None:
        self.uri = uri
        self.branch = branch
        self.flow = flow
        self.record_route = record_route
        self.inbound = inbound
        self.did = did
        self.body = body
        self.rr = rr
        self.breadth = breadth
        self.style = style


def copy_for(request: Request, copy: Copy, myself: Myself) -> Request:
    """The request as it leaves over `copy.flow`: URI, Max-Forwards, Record-Route and our Via."""
    hops = request.headers.max_forwards
    left = str(MAX_FORWARDS if hops is None else min(hops, 256) - 1)
    via = our_via(copy.flow, copy.branch, myself)
    fields = [("Via", str(via))]
    if copy.record_route:
        ftag = request.headers.from_.tag or ""
        tail = f";lr;ftag={ftag}" if ftag else ";lr"
        tail += f";did={copy.did}{copy.rr}" if copy.did else copy.rr
        secure = request.uri[:5].lower() == "sips:"
        entries = record_routes(copy.inbound, copy.flow, myself, tail, secure)
        if copy.style is not None:
            entries = copy.style.styled(entries, request.ruri.user or "")
        fields += [("Record-Route", entry) for entry in reversed(entries)]
    kept = request.headers.fields
    fields += [(name, left if name == "Max-Forwards" else value) for name, value in kept]
    if request.headers.find("Max-Forwards") is None:
        fields.append(("Max-Forwards", left))
    if copy.breadth and request.headers.find("Max-Breadth") is None:
        fields.append(("Max-Breadth", str(copy.breadth)))
    body = request.body if copy.body is None else copy.body
    headers = request.headers.altered(fields, "vias", "record_routes", "max_forwards")
    headers = headers.with_vias(via, None)
    return Request(request.method, without_headers(copy.uri), headers, body)


def our_via(flow: Flow, branch: str, myself: Myself) -> Via:
    """Our Via for a request that leaves over `flow`, asking for rport (RFC 3581).

    A TLS connection that we opened is offered for the other way as well (`alias`, RFC 5923).
    """
    local = myself.address_for(flow.local, flow.transport)
    params: tuple[tuple[str, str | None], ...] = (("rport", None), ("branch", branch))
    if flow.peer:
        params = (*params, ("alias", None))
    return Via(flow.transport.upper(), local.host, local.port, params)


def record_routes(
    inbound: Flow, outbound: Flow, myself: Myself, tail: str, secure: bool = False
) -> list[str]:
    """Our Record-Route entries, the one to be nearest the top last.

    `tail` are their parameters. One when both sides see the same address of ours, else two with `r2=on`
    (rr's double Record-Route). `secure` when the request is for a sips: URI (§16.6 step 4).
    """
    here = _entry(inbound, myself, secure)
    there = _entry(outbound, myself, secure)
    if here == there:
        return [f"<{here}{tail}>"]
    return [f"<{here};r2=on{tail}>", f"<{there};r2=on{tail}>"]


def _entry(flow: Flow, myself: Myself, secure: bool) -> str:
    """The URI by which the far end of a flow reaches us."""
    where = _hostport(myself.address_for(flow.local, flow.transport))
    if secure and flow.transport == "tls":
        return f"sips:{where}"
    return f"sip:{where}{_transport(flow)}"


def _hostport(addr: Addr) -> str:
    return f"{bracketed(addr.host)}:{addr.port}"


def _transport(flow: Flow) -> str:
    return "" if flow.transport == "udp" else f";transport={flow.transport}"


def strip_via(response: Response) -> Response | None:
    """§16.7 step 3: the response without our Via, or None when no other is left (it was for us)."""
    vias = response.headers.vias
    if len(vias) < 2:
        return None
    fields = response.headers.fields
    first = next(value for name, value in fields if name == "Via")
    if "," not in first:
        place = next(index for index, (name, _) in enumerate(fields) if name == "Via")
        kept = [*fields[:place], *fields[place + 1 :]]
    else:
        kept = replaced(fields, "Via", [str(via) for via in vias[1:]])
    headers = response.headers.altered(kept, "via", "vias")
    return Response(response.status, response.reason, headers, response.body)

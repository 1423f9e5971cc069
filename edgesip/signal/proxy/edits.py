"""What a script wants changed in the copy that leaves: recorded as it runs, applied once.

Holds the intentions, not the messages: what was received stays as it was.
"""

from __future__ import annotations

from edgesip.address import Flow
from edgesip.signal.nat.repair import set_contact_alias
from edgesip.signal.proxy.changes import Change
from edgesip.signal.proxy.path import PathEntry
from edgesip.signal.proxy.plays import Play
from edgesip.signal.wire.headers import Field, Headers, replaced
from edgesip.signal.wire.message import Request, Response
from edgesip.wish import Wish


class Edits:
    """`alias`: `set_contact_alias()`, the parameter's name or ""; `relay`: `rtpproxy_manage()`, False for
    `rtpproxy_destroy()`, None while neither was called; `wish`: what was wanted of the relay; headers to
    remove, rarer changes, then headers to append; `answer` are headers of an answer that we make ourselves,
    `body` is a new body and its type, `rr` are parameters of our Record-Route; `keepalive`:
    `nat_keepalive()`; `path`: `add_path()`; `plays`: prompts; `record`: `start_recording()`, its form, or
    "stop".
    """

    __slots__ = (
        "alias",
        "answer",
        "append",
        "body",
        "changes",
        "keepalive",
        "path",
        "plays",
        "record",
        "relay",
        "remove",
        "rr",
        "wish",
    )

    def __init__(
        self,
        alias: str = "",
        relay: bool | None = None,
        remove: tuple[str, ...] = (),
        changes: tuple[Change, ...] = (),
        append: tuple[Field, ...] = (),
        answer: tuple[Field, ...] = (),
        body: tuple[bytes, str] | None = None,
        rr: str = "",
        keepalive: bool = False,
        path: tuple[PathEntry, ...] = (),
        plays: tuple[Play, ...] = (),
        wish: Wish | None = None,
        record: str = "",
    ) -> None:
        self.alias = alias
        self.relay = relay
        self.remove = remove
        self.changes = changes
        self.append = append
        self.answer = answer
        self.body = body
        self.rr = rr
        self.keepalive = keepalive
        self.path = path
        self.plays = plays
        self.wish = wish
        self.record = record

    def with_body(self, request: Request) -> Request:
        """The request with the body that the script wants; without one, without Content-Type."""
        if self.body is None:
            return request
        body, kind = self.body
        fields = replaced(request.headers.fields, "Content-Type", [kind] if body else [])
        return Request(request.method, request.uri, Headers(fields), body)

    def with_own_body(self, response: Response) -> Response:
        """The response with the body that the script wants; the relay is given that one."""
        if self.body is None:
            return response
        return Response(response.status, response.reason, response.headers, self.body[0])

    def replied(self, response: Response, source: Flow, body: bytes) -> Response:
        """A response with every recorded change; `body` is what the relay made of its own."""
        return Response(response.status, response.reason, self.apply(response.headers, source), body)

    def copied(self) -> Edits:
        """The same changes, to which others are added without changing these."""
        return Edits(
            self.alias,
            self.relay,
            self.remove,
            self.changes,
            self.append,
            self.answer,
            self.body,
            self.rr,
            self.keepalive,
            self.path,
            self.plays,
            self.wish,
            self.record,
        )

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with every recorded change; `source` is the flow the message came in by."""
        if self.alias and headers.contacts:
            headers = set_contact_alias(headers, source.remote, source.transport, name=self.alias)
        if not (self.remove or self.append or self.changes):
            return headers
        fields = list(headers.fields)
        for name in self.remove:
            fields = replaced(fields, name, [])
        headers = headers.altered(fields, "contacts", "routes", "record_routes")
        for change in self.changes:
            headers = change.apply(headers, source)
        if not self.append:
            return headers
        return headers.altered([*headers.fields, *self.append], "contacts", "routes", "record_routes")

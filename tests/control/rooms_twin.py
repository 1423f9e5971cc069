"""Rooms whose content a test decides: real bindings and dialogs, a clock that stands still."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.control.methods import Rooms
from edgesip.control.ul import Location
from edgesip.control.views import Facts
from edgesip.signal.dialog.state import Dialog, DialogState, Leg
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.store.api import Census, StoreError

NOW = 1000.0
WALL_OFFSET = 1_700_000_000.0

SESSION = {"call-id": "c1", "from_tag": "a", "to_tag": "b", "legs": []}


def flow(public: str = "203.0.113.7", port: int = 40000) -> Flow:
    return Flow("udp", Addr("192.0.2.1", 5060), Addr(public, port))


def binding(aor: str = "alice", host: str = "192.168.1.10", **changes: Any) -> Binding:
    values: dict[str, Any] = {
        "aor": aor,
        "contact": f"sip:{aor}@{host}:5060",
        "expires": NOW + 3600,
        "q": -1.0,
        "call_id": f"reg-{aor}-{host}",
        "cseq": 3,
        "received": "sip:203.0.113.7:40000",
        "flow": flow(),
        "user_agent": "baresip v1.0.0",
        "nated": True,
        "instance": "",
        "reg_id": 0,
        "ruid": f"uloc-1-{aor}-{host}",
        "methods": ("INVITE", "ACK", "BYE"),
        "last_modified": NOW - 60,
    }
    return Binding(**(values | changes))


def dialog(state: DialogState = DialogState.CONFIRMED) -> Dialog:
    return Dialog(
        "c1@phone",
        "sip:bob@edge",
        Leg('"Alice" <sip:alice@edge>;tag=a', "a", "sip:alice@192.168.1.10", ("<sip:p1;lr>",), 7, flow()),
        Leg("<sip:bob@edge>;tag=b", "b", "sip:bob@192.168.1.10", (), 0, flow("203.0.113.9")),
        h_entry=12,
        h_id=34,
        init=NOW - 12,
        start=NOW - 10,
        end=NOW - 4 if state is DialogState.DELETED else 0.0,
        expires=NOW + 43190,
        state=state,
    )


class RoomsTwin:
    """Fits `Rooms` and `Location`."""

    wall_offset = WALL_OFFSET

    def __init__(self, bindings: Iterable[Binding] = (), dialogs: Iterable[Dialog] = ()) -> None:
        self.usrloc = Usrloc()
        self.usrloc.load(bindings)
        self._dialogs = list(dialogs)
        self.removed: list[Binding] = []
        self.added: list[Binding] = []
        here = Addr("192.0.2.1", 5060)
        self.listens: Sequence[tuple[str, Addr]] = (("udp", here), ("tcp", here))
        self.counted: Census | tuple[()] | None = Census(2, 3, 1)

    started = NOW - 90

    def now(self) -> float:
        return NOW

    def facts(self, binding: Binding) -> Facts:
        return Facts("CS_SYNC", 7 if binding.flow.transport == "tcp" else -1)

    def new_ruid(self) -> str:
        return "ulcx-new"

    def add(self, binding: Binding) -> None:
        self.usrloc.put(binding)
        self.added.append(binding)

    def flush(self) -> int:
        return 3

    async def census(self) -> Census | None:
        if self.counted is None:
            raise StoreError("location.db: disk full")
        return self.counted or None

    def remove(self, bindings: Sequence[Binding]) -> None:
        for one in bindings:
            self.usrloc.remove(one)
            self.removed.append(one)

    def dialogs(self) -> Iterable[Dialog]:
        return self._dialogs

    def sessions(self) -> list[dict[str, Any]]:
        return [SESSION]

    def ports(self) -> dict[str, int]:
        return {"total": 100, "leased": 4, "resting": 2, "free": 94}

    def counters(self) -> Mapping[str, int]:
        return {
            "tmx:inuse_transactions": 5,
            "tmx:active_transactions": 2,
            "tmx:2xx_transactions": 40,
            "core:rcv_requests": 9,
            **self.usrloc.counters,
        }


def rooms_fit(twin: RoomsTwin) -> tuple[Rooms, Location]:
    """The type checker's proof that the twin is both."""
    return twin, twin

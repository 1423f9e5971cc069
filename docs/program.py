"""What the program says of itself: docstrings, verbs, a running server's answers, its log lines.

Reads, imports and asks; knows nothing of pages.
"""

from __future__ import annotations

import ast
import asyncio
import socket
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import typer
from click import Command, Group

from edgesip import profile
from edgesip.address import Addr, Flow
from edgesip.app import provision
from edgesip.cli.client import ask
from edgesip.cli.main import app
from edgesip.control import subscriptions, views
from edgesip.control.ring import Ring
from edgesip.control.rtp import methods_for as rtp_methods_for
from edgesip.relay.cases import Media, Seen
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.relay.why import Side
from edgesip.sections import Relay
from edgesip.signal.dialog.state import Dialog, Leg
from edgesip.signal.dialog.subscriptions import End, opened
from edgesip.signal.dialog.table import Dialogs, DialogSettings
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.wire.message import Request, parse
from edgesip.whying import Whys

LOG_FUNCTIONS = frozenset({"note", "_log", "write"})
"""Functions that make a log line of a level and an event, in this order."""


class Server(NamedTuple):
    """What a running server says of itself."""

    methods: dict[str, str]
    statistics: list[str]


@cache
def server() -> Server:
    """Start one on loopback, in a state directory of its own, and ask it."""
    with tempfile.TemporaryDirectory() as state, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"udp:127.0.0.1:{probe.getsockname()[1]}"
        loaded = profile.load("nat-sbc", default_state_dir=Path(state), listen=[listen])
        probe.close()
        return asyncio.run(_asked(loaded))


async def _asked(loaded: profile.Profile) -> Server:
    ready = asyncio.Event()
    serving = asyncio.ensure_future(provision(loaded).run(lambda line: ready.set()))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()

    def questions() -> Server:
        names = ask(loaded.socket, "system.listMethods")
        helps = {name: ask(loaded.socket, "system.methodHelp", name) for name in names}
        lines = ask(loaded.socket, "stats.get_statistics")
        return Server(helps, [line.partition(" = ")[0] for line in lines])

    answers = await asyncio.to_thread(questions)
    serving.cancel()
    await asyncio.wait((serving,))
    return answers


def root() -> Group:
    """The command line's own object."""
    found = typer.main.get_command(app)
    assert isinstance(found, Group)
    return found


def leaves(group: Group, path: str = "edgesip") -> Iterable[tuple[str, Command]]:
    """Every command with its words, in the order of `--help`."""
    for name, command in group.commands.items():
        if isinstance(command, Group):
            yield from leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def attribute_docstrings(module: Path) -> dict[tuple[str, str], str]:
    """(class, attribute) to the string below its line; class "" for the module's own names."""
    tree = ast.parse(module.read_text("utf-8"))
    scopes: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    scopes += [(node.name, node.body) for node in tree.body if isinstance(node, ast.ClassDef)]
    found = {}
    for scope, body in scopes:
        for node, below in pairwise(body):
            if isinstance(node, ast.AnnAssign):
                name = node.target
            elif isinstance(node, ast.Assign):
                name = node.targets[0]  # type: ignore[assignment]
            else:
                continue
            if isinstance(name, ast.Name) and isinstance(below, ast.Expr):
                text = below.value.value if isinstance(below.value, ast.Constant) else None
                if isinstance(text, str):
                    found[scope, name.id] = " ".join(text.split())
    return found


def events_in(module: Path) -> Iterable[tuple[str, str]]:
    """(level, event) of every log line that a module can write and whose event is in its text."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
        if name in LOG_FUNCTIONS and len(words) > 1:
            level, event = words[:2]
        elif name == "_written_off" and len(words) > 1:
            level, event = "info", words[1]
        elif name in ("info", "warning", "error", "exception") and words:
            level, event = ("error" if name == "exception" else name), words[0]
        else:
            continue
        if isinstance(level, str) and isinstance(event, str) and level != "debug":
            yield level, event


def answer_fields() -> dict[str, list[str]]:
    """The fields of the answers that programs read, from one small example each."""
    flow = Flow("udp", Addr("192.0.2.1", 5060), Addr("198.51.100.7", 5060))
    binding = Binding("alice", "sip:alice@192.0.2.9", 60.0, -1.0, "c", 1, "", flow, "", True, "", 0, "r")
    dialog = Dialog("c", "sip:bob@192.0.2.1", Leg("<sip:a@b>"), Leg("<sip:b@b>"), 1, 1, 0.0)
    settings = Settings(True, (), (), 20000, 20007, 60.0, 1)
    media = RelayCore(settings, bind=lambda pair: True, unbind=print, path=UserPath(), entropy=bytes)
    sdp = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0\r\n"
    media.offer(("c", "f"), "b", "", "caller", sdp, flow, flow, 0.0)
    session = media.sessions(0.0)[0]
    [shown] = media.desk.show("c", 0.0)
    rtp = {method.name: method for method in rtp_methods_for(media, lambda: 0.0)}
    head = b"Via: SIP/2.0/UDP a;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=a\r\nTo: <sip:b@b>\r\nCall-ID: c\r\n"
    asked = parse(b"SUBSCRIBE sip:b@b SIP/2.0\r\n" + head + b"CSeq: 1 SUBSCRIBE\r\n\r\n")
    assert isinstance(asked, Request)
    whys = Whys(Relay(), Dialogs(DialogSettings()), None, Ring(False, 65536, 100), lambda *line: None)
    side = Side("caller", "audio", Addr("192.0.2.1", 20000), "198.51.100.7", None, None)
    whys.ended(Media(("c", "f"), 0.0, 0.0, time.monotonic(), True, (Seen(0, side, {}),)))
    [why] = whys.why("c")
    contact = views.contact(binding, views.Facts(), 0.0, 0.0)
    return {
        "ul.lookup": ["AoR", "Contacts", *contact],
        "dlg.list": list(views.dialog(dialog, 0.0, 0.0)),
        "dlg.subscriptions": list(subscriptions.view(opened(asked, End(flow), 0.0), 0.0, 0.0)),
        "call.why": [*why, *why["legs"][0]],
        "rtp.list": [*session, *session["legs"][0]],
        "rtp.ports": list(media.ports(0.0)),
        "rtp.show": [
            *(name for name in shown if name not in session),
            *(name for name in shown["legs"][0] if name not in session["legs"][0]),
        ],
        "rtp.stats": list(rtp["rtp.stats"].call([])),
        "rtpproxy.list": list(rtp["rtpproxy.list"].call([])[0]),
    }

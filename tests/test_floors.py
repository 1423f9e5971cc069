"""The house holds: no file imports a floor above its own, no circle, every dependency in its one room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgesip"

FLOORS: tuple[tuple[str, int], ...] = (
    ("edgesip.cli", 5),
    ("edgesip.app", 4),
    ("edgesip.reloading", 4),
    ("edgesip.registering", 4),
    ("edgesip.dryrun", 4),
    ("edgesip.naming", 4),
    ("edgesip.locating", 4),
    ("edgesip.answers", 4),
    ("edgesip.proving", 4),
    ("edgesip.lasting", 4),
    ("edgesip.resuming", 4),
    ("edgesip.keeping", 4),
    ("edgesip.keepsakes", 4),
    ("edgesip.spoofing", 4),
    ("edgesip.guarding", 4),
    ("edgesip.whying", 4),
    ("edgesip.signal.net", 3),
    ("edgesip.relay.service", 3),
    ("edgesip.relay.links", 3),
    ("edgesip.relay.rtpp_sockets", 3),
    ("edgesip.relay.recorder", 3),
    ("edgesip.relay.kernel", 3),
    ("edgesip.relay.shelf", 3),
    ("edgesip.control", 3),
    ("edgesip.store.api", 0),
    ("edgesip.store", 3),
    ("edgesip.signal.core", 2),
    ("edgesip.relay.core", 2),
    ("edgesip.relay.stated", 2),
    ("edgesip.relay.tally", 2),
    ("edgesip.relay.kept", 2),
    ("edgesip.relay.commands", 2),
    ("edgesip.relay.seating", 2),
    ("edgesip.script", 2),
    ("edgesip.testing", 2),
    ("edgesip.profiles", 2),
    ("edgesip.signal.wire", 0),
    ("edgesip.signal.decision", 0),
    ("edgesip.signal", 1),
    ("edgesip.wish", 0),
    ("edgesip.relay.flags", 0),
    ("edgesip.relay.rtp", 0),
    ("edgesip.relay.rtpp", 0),
    ("edgesip.relay.rule", 0),
    ("edgesip.relay.sdp", 0),
    ("edgesip.relay", 1),
    ("edgesip.address", 0),
    ("edgesip.forms", 0),
    ("edgesip.places", 0),
    ("edgesip.pcap", 0),
    ("edgesip.profile", 0),
    ("edgesip.live", 0),
    ("edgesip.sections", 0),
    ("edgesip.sections_registrar", 0),
    ("edgesip.sections_guard", 0),
    ("edgesip.sections_location", 0),
    ("edgesip.pinging", 4),
    ("edgesip.prompting", 4),
    ("edgesip.silencing", 4),
    ("edgesip.shunning", 4),
    ("edgesip.sections_rtpproxy", 0),
    ("edgesip.forms_rtp", 0),
    ("edgesip.forms_nat", 0),
    ("edgesip.forms_rtpp", 0),
    ("edgesip.sections_rtpp", 0),
    ("edgesip.lending", 4),
    ("edgesip.subscribing", 4),
    ("edgesip.relaying", 4),
    ("edgesip.carrying", 4),
    ("edgesip.forms_relay", 0),
    ("edgesip.publicity", 4),
    ("edgesip.doctor", 4),
    ("edgesip.securing", 4),
    ("edgesip.recording", 4),
    ("edgesip.sections_nat", 0),
    ("edgesip.forms_location", 0),
    ("edgesip.sections_traversal", 0),
)

HOMES: dict[str, tuple[str, ...]] = {
    "typer": ("edgesip.cli",),
    "rich": ("edgesip.cli",),
    "uvloop": ("edgesip.cli.run", "edgesip.cli"),
    "pydantic": ("edgesip.profile", *(name for name, _ in FLOORS if name.startswith("edgesip.sections"))),
    "dns": ("edgesip.signal.net.resolver",),
    "orjson": ("edgesip.store", "edgesip.control"),
    "structlog": ("edgesip.control",),
    "sqlite3": ("edgesip.store",),
    "numpy": ("edgesip.relay",),
}

FORBIDDEN_BELOW = {"asyncio", "socket", "time", "random", "secrets", "logging", "threading", "select"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int:
    if module == "edgesip":
        return 0
    for prefix, floor in FLOORS:
        if module == prefix or module.startswith(prefix + "."):
            return floor
    raise AssertionError(f"{module} has no floor")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if (ROOT / Path(*name.split("."))).with_suffix(".py").exists():
                    yield name


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = {module: sorted(set(imports_of(path))) for module, path in FILES.items()}


def test_there_is_a_house() -> None:
    assert len(FILES) > 40
    assert floor_of("edgesip.signal.net.service") == 3


@pytest.mark.parametrize("module", FILES)
def test_no_file_imports_a_floor_above_its_own(module: str) -> None:
    for name in IMPORTS[module]:
        if name.startswith("edgesip."):
            assert floor_of(name) <= floor_of(module), f"{module} imports {name}"


@pytest.mark.parametrize("module", [module for module in FILES if floor_of(module) <= 2])
def test_clocks_sockets_and_loops_live_on_floor_three(module: str) -> None:
    for name in IMPORTS[module]:
        assert name.split(".")[0] not in FORBIDDEN_BELOW, f"{module} imports {name}"


@pytest.mark.parametrize("module", FILES)
def test_each_dependency_has_its_home(module: str) -> None:
    for name in IMPORTS[module]:
        homes = HOMES.get(name.split(".")[0])
        if homes:
            assert module.startswith(homes), f"{module} imports {name}, whose home is {homes}"


def test_signal_and_relay_do_not_know_each_other() -> None:
    for module, names in IMPORTS.items():
        for one, other in (("edgesip.signal", "edgesip.relay"), ("edgesip.relay", "edgesip.signal")):
            if module.startswith(one):
                assert not [name for name in names if name.startswith(other)], module


def test_no_circles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for name in IMPORTS[module]:
            if name in FILES and name != module and FILES[name].name != "__init__.py":
                visit(name, (*path, module))
        done.add(module)

    for module in FILES:
        visit(module, ())


@pytest.mark.parametrize("module", FILES)
def test_files_are_small_and_say_what_they_hold(module: str) -> None:
    text = FILES[module].read_text()
    assert text.count("\n") <= 500, f"{module} is too long"
    assert ast.get_docstring(ast.parse(text)), f"{module} does not say what it holds"

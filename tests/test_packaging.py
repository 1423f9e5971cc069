"""What the Debian package says of the program: its profile, its unit, its man page."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import typer

import edgesip
from edgesip.cli.main import app
from edgesip.profile import BUILT_IN, load
from edgesip.relay.kernel.bpffs import HOST, INSIDE, OURS, name_of

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"


@pytest.fixture
def describe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """packaging/describe.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("describe", PACKAGING / "describe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "describe", module)
    spec.loader.exec_module(module)
    return module


def effective(file: Path) -> dict[str, Any]:
    profile = load(str(file), default_state_dir=Path("/var/lib/edgesip"))
    placed = {"name", "file", "socket", "origins", "route"}
    return {key: value for key, value in profile if key not in placed}


def test_what_the_service_runs_is_the_nat_sbc_profile(tmp_path: Path) -> None:
    shutil.copytree(BUILT_IN, tmp_path / "profiles")
    shutil.copy(PACKAGING / "edgesip.toml", tmp_path)
    assert effective(tmp_path / "edgesip.toml") == effective(tmp_path / "profiles" / "nat-sbc.toml")


def test_the_unit_asks_for_three_capabilities_and_no_more() -> None:
    unit = (PACKAGING / "debian" / "edgesip.service").read_text()
    three = "CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_BPF"
    assert re.findall(r"^(\w+)=(.*CAP_.*)$", unit, re.MULTILINE) == [
        ("AmbientCapabilities", three),
        ("CapabilityBoundingSet", three),
    ]
    assert "LimitNOFILE=262144\n" in unit


def test_the_unit_gives_the_service_the_pins_of_its_state_directory() -> None:
    unit = (PACKAGING / "debian" / "edgesip.service").read_text()
    ours = HOST / OURS / name_of(Path("/var/lib/edgesip"))
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert settings["ExecStartPre"] == f"+-/usr/bin/install -d -o edgesip -g edgesip -m 0700 {ours}"
    assert settings["BindPaths"] == f"-{ours}:/var/lib/{settings['StateDirectory']}/{INSIDE}"
    gone = f"rmdir --ignore-fail-on-non-empty {ours} {HOST / OURS}"
    assert settings["ExecStopPost"] == f"+-/usr/bin/{gone}"
    assert f"rmdir {ours} {HOST / OURS} " in (PACKAGING / "debian" / "edgesip.prerm").read_text()


def test_the_man_page_has_every_verb_and_option(describe: ModuleType) -> None:
    page = describe.man().replace("\\-", "-")
    command = typer.main.get_command(app)
    assert isinstance(command, click.Group)
    for name, verb in command.commands.items():
        below = verb.commands.items() if isinstance(verb, click.Group) else [("", verb)]
        for word, one in below:
            section = page.partition(f".SS \\fBedgesip {f'{name} {word}'.rstrip()}\\fR")[2].partition("\n.S")[
                0
            ]
            assert section, f"{name} {word}"
            for parameter in one.params:
                assert all(f"\\fB{option}\\fR" in section for option in parameter.opts if option[0] == "-")
    assert f'"edgesip {edgesip.__version__}"' in page
    assert not re.search(r"^'|^\.(?!TH|SH|SS|TP|PP|RS|RE)", page, re.MULTILINE)


def test_the_version_is_one() -> None:
    assert f'\nversion = "{edgesip.__version__}"\n' in (ROOT / "pyproject.toml").read_text()

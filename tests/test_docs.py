"""The documentation is true: generated parts are current, commands parse, names exist, the README works."""

from __future__ import annotations

import importlib.util
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import typer
from talk import Talk

from edgesip import profile, script
from edgesip.cli.main import app
from edgesip.places import ConfigError

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
FOR_OPERATORS = [
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("operating", "troubleshooting", "profile")),
]
EDGESIP = [sys.executable, "-m", "edgesip.cli.main"]
DEADLINE = 60.0

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


def named(page: Path) -> str:
    return page.name


# ---- reference pages


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/generate.py as a module."""
    monkeypatch.syspath_prepend(str(DOCS))
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_what_the_program_says() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_page_that_differs_is_found(generate: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "# Codes\n\n<!-- generated: exit-codes -->\n<!-- end -->\n\nby hand\n"
    page.write_text(text)
    assert generate.stale([page]) == [page]
    page.write_text(generate.rendered(text))
    assert "| 78 |" in page.read_text()
    assert page.read_text().endswith("\n\nby hand\n")
    assert generate.stale([page]) == []
    page.write_text(page.read_text().replace("| 78 |", "| 79 |"))
    assert generate.stale([page]) == [page]


def test_a_name_without_a_meaning_and_a_meaning_without_a_name_are_found(generate: ModuleType) -> None:
    assert generate.explained("x", ["a"], {"a": "A"}) == {"a": "A"}
    for names in (["a", "b"], []):
        with pytest.raises(generate.Mismatch):
            generate.explained("x", names, {"a": "A"})


def test_every_generated_part_is_on_a_page(generate: ModuleType) -> None:
    found = [
        name
        for page in DOCS.glob("*.md")
        for name in re.findall(r"<!-- generated: (\S+) -->", page.read_text())
    ]
    assert sorted(found) == sorted(generate.MAKERS)


# ---- command lines


def blocks(text: str) -> Iterator[str]:
    """The lines of blocks of code, those of other languages left out."""
    for language, body in FENCED.findall(text):
        if language in ("", "sh"):
            yield from body.splitlines()
    for line in FENCED.sub("", text).splitlines():
        if line.startswith("    "):
            yield line.strip()


def words_of(line: str) -> list[list[str]]:
    """The commands of a shell line, each as its words; comments are gone."""
    reader = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    reader.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in reader:
        if set(word) <= set("|&;"):
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words after `edgesip` of every command of ours in a block of code."""
    for line in blocks(page.read_text()):
        if "edgesip" not in line or line.startswith("AoR"):
            continue
        for words in words_of(line):
            if words and Path(words[0]).name == "edgesip":
                yield words[1:]


def mentions(page: Path) -> Iterator[list[str]]:
    """The words after `edgesip` of every `edgesip verb...` within a sentence."""
    for text in INLINE.findall(FENCED.sub("", page.read_text())):
        words = text.split()
        if Path(words[0]).name == "edgesip" and len(words) > 1:
            yield words[1:]


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The verb and its parameters as the program reads them, and nothing done; else UsageError."""
    root = typer.main.get_command(app)
    seen: list[tuple[str, dict[str, Any]]] = []

    def watch(command: click.Command, verb: str) -> None:
        if isinstance(command, click.Group):
            for name, below in command.commands.items():
                watch(below, f"{verb} {name}".strip())
        else:
            command.callback = note(verb)

    def note(verb: str) -> Callable[..., None]:
        return lambda **parameters: seen.append((verb, parameters))

    watch(root, "")
    root.main(words, "edgesip", standalone_mode=False)
    return seen[0] if seen else ("", {})


def test_wrong_command_lines_are_found() -> None:
    for line in (
        "ul lokup alice",
        "ul lookup",
        "ul lookup alice --jason",
        "run",
        "dlg list 1",
        "stats -o xml",
    ):
        with pytest.raises(click.UsageError):
            parsed(line.split())
    assert parsed(["ul", "lookup", "alice"])[0] == "ul lookup"


def test_a_page_has_what_it_seems_to_have(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Say `edgesip ul lookup`:\n\n    make x\n"
        "    printf x | .venv/bin/edgesip subscriber add a --password -  # b\n\n"
        "```sh\nedgesip status && edgesip stop\n```\n\n```python\nedgesip = 1\n```\n"
    )
    lines = [["status"], ["stop"], ["subscriber", "add", "a", "--password", "-"]]
    assert list(command_lines(page)) == lines
    assert list(mentions(page)) == [["ul", "lookup"]]
    assert len(list(command_lines(DOCS / "operating.md"))) >= 25


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_line_is_one_that_the_program_takes(page: Path, tmp_path: Path) -> None:
    for words in command_lines(page):
        try:
            verb, given = parsed(words)
        except click.UsageError as error:
            raise AssertionError(f"{page.name}: edgesip {' '.join(words)}: {error.message}") from None
        if verb in ("run", "start", "check") and given["profile"] in profile.available():
            sets, listen, advertise = (given[name] or () for name in ("set_", "listen", "advertise"))
            try:
                profile.load(
                    given["profile"],
                    default_state_dir=tmp_path,
                    sets=sets,
                    listen=listen,
                    advertise=advertise,
                )
            except ConfigError as error:
                raise AssertionError(f"{page.name}: edgesip {' '.join(words)}: {error}") from None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_verb_and_option_that_a_sentence_mentions_exists(page: Path) -> None:
    for words in mentions(page):
        command: click.Command = typer.main.get_command(app)
        for word in words:
            if isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", word) and word[0] != "-":
                assert word in command.commands, f"{page.name}: edgesip {' '.join(words)}"
                command = command.commands[word]
            elif re.match("-[a-z-]", word):
                known = {name for one in command.params for name in one.opts} | {"--help"}
                assert word in known, f"{page.name}: edgesip {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_target_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in blocks(page.read_text()):
        if line.startswith("make "):
            assert line.split()[1] in targets, f"{page.name}: {line}"


# ---- names and links


@pytest.mark.parametrize("page", FOR_OPERATORS, ids=named)
def test_every_key_and_statistic_that_is_named_exists(page: Path) -> None:
    meanings = tomllib.loads((DOCS / "meanings.toml").read_text())
    groups = {name.partition(":")[0] for name in meanings["statistics"]}
    models = {name: field.annotation for name, field in profile.Profile.model_fields.items()}
    for text in INLINE.findall(FENCED.sub("", page.read_text())):
        group, colon, name = text.partition(":")
        if colon and name and group in groups and re.fullmatch(r"\w+", name):
            assert text in meanings["statistics"], f"{page.name}: {text}"
        section, dot, key = text.partition(".")
        fields = getattr(models.get(section), "model_fields", None)
        if dot and fields is not None and re.fullmatch(r"\w+", key):
            assert key in fields, f"{page.name}: {text}"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    heads = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", FENCED.sub("", page.read_text())):
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


# ---- the route script in the text


def test_the_script_in_the_text_routes_a_call(tmp_path: Path) -> None:
    found = [text for language, text in FENCED.findall((DOCS / "route-scripts.md").read_text()) if language]
    file = tmp_path / "route.py"
    file.write_text(found[0])
    talk = Talk(script=script.load(file))
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(bob)
    talk >> alice.invite("sip:bob@elsewhere.example") << (alice, 403)
    talk.call(alice, "nobody")
    talk << (alice, 404)
    talk.call(alice, "bob")
    talk << (alice, 100)
    assert talk.request(bob, "INVITE").headers.get("Proxy-Authorization") is None
    assert talk.media.open


# ---- the README, from top to bottom


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(words: list[str], directory: Path) -> Iterator[str]:
    """The server of a `run` line, on a loopback port of its own; its `ready` line."""
    log = directory / "log"
    listen = ["--listen", f"udp:127.0.0.1:{free_port()}", "--state-dir", str(directory)]
    with log.open("w") as sink:
        server = subprocess.Popen([*EDGESIP, *words, *listen], stderr=sink, text=True)
    try:
        end = time.monotonic() + DEADLINE
        while not (ready := [line for line in log.read_text().splitlines() if line.startswith("ready")]):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, f"not ready within {DEADLINE:.0f} s: {log.read_text()}"
            time.sleep(0.05)
        yield ready[0]
        server.terminate()
        assert server.wait(DEADLINE) == 0
    finally:
        server.kill()
        server.wait()


def test_the_readme_works(tmp_path: Path) -> None:
    lines = [list(words) for words in dict.fromkeys(map(tuple, command_lines(ROOT / "README.md")))]
    runs = [words for words in lines if words[0] in ("run", "start")]
    assert "edgesip run --profile nat-sbc" in (ROOT / "Makefile").read_text()
    assert ["subscriber", "add", "alice"] in lines
    for number, words in enumerate(runs):
        directory = tmp_path / str(number)
        directory.mkdir()
        with running(["run", *words[1:]], directory) as ready:
            if "--advertise" in words:
                assert f" advertise={words[words.index('--advertise') + 1]} " in ready
            for asked in (words for words in lines if words not in runs):
                options = [] if asked[0] == "profiles" else ["--state-dir", str(directory)]
                line = [*EDGESIP, *asked, *options]
                done = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE)
                expected = 3 if asked[:2] == ["ul", "lookup"] else 0
                assert done.returncode == expected, f"edgesip {' '.join(asked)}: {done.stderr}"
                assert done.stdout or done.stderr, f"edgesip {' '.join(asked)} says nothing"
    assert runs

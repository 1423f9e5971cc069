"""Writes the reference parts of the documentation from the program itself.

    .venv/bin/python docs/generate.py            writes them
    .venv/bin/python docs/generate.py --check    fails when a committed page differs

A page keeps its hand-written text; what stands between `<!-- generated: NAME -->` and the next `<!-- end -->`
is made here: keys from the models and their docstrings, commands from the command line's own objects, methods
and statistics from a running server, the script's API by inspection. What a
name means where the code does not say it is in `meanings.toml`, which must know all names and no others.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import program
from click import Argument, Command, Option, Parameter
from pydantic import PlainValidator
from pydantic.fields import FieldInfo

from edgesip import profile, script, sections
from edgesip import testing as stage
from edgesip.cli import fail
from edgesip.relay import flags
from edgesip.script.aimed import Aimed
from edgesip.script.credentials import Identified
from edgesip.script.described import Described
from edgesip.script.edited import Edited
from edgesip.script.heard import Heard
from edgesip.script.hooks import PLAIN
from edgesip.script.message import Message
from edgesip.script.nated import Nated
from edgesip.script.prompted import Prompted
from edgesip.script.relayed import Relayed
from edgesip.script.screened import Screened
from edgesip.script.transform import TRANSFORMATIONS
from edgesip.script.variables import FUNCTIONS, VARIABLES
from edgesip.signal import decision
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.nat import detect
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import CSeq, NameAddr, Via

DOCS = Path(__file__).parent
PACKAGE = Path(profile.__file__).parent
SPEC = r"[a-z-]+\.md (?:§[0-9.]*[0-9](?:, )?)+"
BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Mismatch(Exception):
    """The program and `meanings.toml` do not have the same names; the message says which."""


# ---- what the program is asked


@cache
def meanings() -> dict[str, Any]:
    """The tables of meanings.toml."""
    return tomllib.loads((DOCS / "meanings.toml").read_text("utf-8"))


def explained(what: str, names: Iterable[str], table: Mapping[str, str]) -> Mapping[str, str]:
    """The table, if it explains exactly these names."""
    have = set(names)
    if missing := have - set(table):
        raise Mismatch(f"meanings.toml does not explain {what} {', '.join(sorted(missing))}")
    if gone := set(table) - have:
        raise Mismatch(
            f"meanings.toml explains {what} {', '.join(sorted(gone))}: the program has no such name"
        )
    return table


# ---- Markdown


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars in cells are escaped."""
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    lines += [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def code(text: object) -> str:
    """Inline code, empty for nothing."""
    return f"`{text}`" if str(text) else ""


def one_line(text: str | None) -> str:
    """A docstring as one line, without the specifications that are not in this repository."""
    line = " ".join((text or "").split())
    return re.sub(rf" \({SPEC}(, {SPEC})*\)|, {SPEC}|{SPEC}, ", "", line)


# ---- profile.md

UNITS = ("Seconds", "Milliseconds", "Contacts")


def form_of(field: FieldInfo) -> str:
    """What may be written for a key."""
    if field.annotation is bool:
        return "`true` or `false`"
    if get_origin(field.annotation) is Literal:
        return " or ".join(code(toml_of(word)) for word in get_args(field.annotation))
    for mark in field.metadata:
        if isinstance(mark, PlainValidator):
            return one_line(mark.func.__doc__).rstrip(".")
    low, high = (
        next(getattr(mark, name) for mark in field.metadata if hasattr(mark, name)) for name in ("ge", "le")
    )
    return f"whole number, {low} to {high}"


def toml_of(value: object) -> str:
    """A default as it would stand in a profile."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return "[" + ", ".join(f'"{one}"' for one in value) + "]"
    if isinstance(value, re.Pattern):
        return f"'{value.pattern}'"
    return str(value) if isinstance(value, int) else f'"{value}"'


def keys_of(model: type[Any], section: str, names: Iterable[str]) -> str:
    """The table of one section."""
    docs = program.attribute_docstrings(Path(profile.__file__))
    for file in sorted(Path(sections.__file__).parent.glob("sections*.py")):
        docs |= program.attribute_docstrings(file)
    rows = []
    for name in names:
        field: FieldInfo = model.model_fields[name]
        meaning = docs.get((model.__name__, name))
        if not meaning:
            raise Mismatch(f"{section}{name} has no docstring")
        unit = next((one.lower() for one in UNITS if meaning.startswith(f"{one} ")), "")
        is_set = not field.is_required() and field.default is not None
        default = code(toml_of(field.default)) if is_set else ""
        rows.append((code(section + name), form_of(field), default, unit, meaning))
    return table(("key", "form", "default", "unit", "meaning"), rows)


def keys() -> str:
    """Every key of a profile."""
    fields = profile.Profile.model_fields
    sections = {name: field.annotation for name, field in fields.items() if _is_section(field.annotation)}
    top = [name for name in fields if name not in (*sections, "name", "file", "socket", "origins")]
    parts = [f"### Top keys\n\n{keys_of(profile.Profile, '', top)}"]
    for name, model in sections.items():
        assert isinstance(model, type)
        names = list(getattr(model, "model_fields"))  # noqa: B009 - the type checker knows no model here
        parts.append(f"### [{name}]\n\n{keys_of(model, f'{name}.', names)}")
    return "\n".join(parts)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "model_fields")


# ---- commands.md


Row = tuple[str, str, str]


def parameter(one: Parameter) -> Row:
    """Name, default and meaning of an option or argument."""
    default = one.default.value if isinstance(one.default, enum.Enum) else one.default
    shown = code(default) if default and getattr(one, "show_default", True) else ""
    names = _metavar(one)
    if isinstance(one, Option):
        value = "" if one.is_flag else f" {_metavar(one)}"
        names = f"{', '.join(one.opts)}{value}"
    return code(names), shown, getattr(one, "help", None) or ""


def _metavar(one: Parameter) -> str:
    choices = getattr(one.type, "choices", None)
    words = [choice.value if isinstance(choice, enum.Enum) else str(choice) for choice in choices or ()]
    return one.metavar or "|".join(words) or one.type.name.upper()


def usage(words: str, command: Command) -> str:
    """What to type: the verb, options that must be there, arguments; what may be left out in brackets."""
    typed = [words]
    for one in command.params:
        if isinstance(one, Argument):
            name = _metavar(one)
            typed.append(name if one.required or name.startswith("[") else f"[{name}]")
        elif one.required:
            typed.append(f"{one.opts[0]} {_metavar(one)}")
    return " ".join(typed)


def common() -> dict[str, Row]:
    """The options that most verbs have: first word to row."""
    rows = map(parameter, program.root().commands["status"].params)
    return {row[0].split()[0].strip("`,"): row for row in rows}


def common_options() -> str:
    """The table of those."""
    return table(("option", "default", "meaning"), common().values())


def commands() -> str:
    """Every command with its arguments and its own options, the common ones by name."""
    shared = set(common().values())
    parts = []
    for words, command in program.leaves(program.root()):
        rows = [parameter(one) for one in command.params]
        own = [row for row in rows if row not in shared]
        too = [name for name, row in common().items() if row in rows]
        text = f"### {words}\n\n{one_line(command.help)}\n\n    {usage(words, command)}\n"
        if own:
            text += f"\n{table(('option', 'default', 'meaning'), own)}"
        if too:
            text += f"\nAnd {', '.join(map(code, too))}.\n"
        parts.append(text)
    return "\n".join(parts)


def exit_codes() -> str:
    """Every exit code."""
    docs = program.attribute_docstrings(Path(fail.__file__))
    codes = {0: "Done."} | {getattr(fail, name): text for (scope, name), text in docs.items() if not scope}
    return table(("code", "meaning"), [(str(number), text) for number, text in sorted(codes.items())])


def methods() -> str:
    """Every RPC method with the server's own help."""
    found = program.server().methods
    return table(("method", "what it does"), [(code(name), text) for name, text in found.items()])


def statistics() -> str:
    """Every statistic."""
    found = explained("the statistic", program.server().statistics, meanings()["statistics"])
    return table(("statistic", "meaning"), [(code(name), text) for name, text in sorted(found.items())])


def answers() -> str:
    """The fields of the answers that programs read."""
    real = program.answer_fields()
    parts = []
    for method, fields in meanings()["answers"].items():
        found = explained(f"{method}'s", real[method], fields)
        rows = [(code(name), text) for name, text in found.items()]
        parts.append(f"### {method}\n\n{table(('field', 'meaning'), rows)}")
    return "\n".join(parts)


# ---- operating.md


def log_lines() -> str:
    """Every line of the log that is worth one."""
    known = [(level, event) for level, events in meanings()["log"].items() for event in events]
    modules = sorted(PACKAGE.rglob("*.py"))
    found = {pair for module in modules for pair in program.events_in(module)}
    texts = "".join(module.read_text("utf-8") for module in modules)
    if missing := found - set(known):
        raise Mismatch(f"meanings.toml does not explain the log lines {sorted(missing)}")
    if gone := [event for _, event in known if f'"{event}"' not in texts]:
        raise Mismatch(f"meanings.toml explains the log lines {gone}: the program writes none like that")
    rows = [(level, code(event), meanings()["log"][level][event]) for level, event in known]
    return table(("level", "event", "meaning"), rows)


# ---- route-scripts.md


def signature_of(name: str, value: object) -> str:
    """`name(parameters)` of a method, `name` of a property, with what comes out."""
    function = value.fget if isinstance(value, property) else getattr(value, "work", value)
    assert callable(function)
    signature = inspect.signature(function)
    given = list(signature.parameters.values())[1:]
    text = str(signature.replace(parameters=given, return_annotation=signature.empty)).replace("'", "")
    result = str(signature.return_annotation).replace("'", "")
    return (name + text if inspect.isfunction(value) else name) + (
        "" if result == "None" else f" -> {result}"
    )


def members(kind: type[Any], leave_out: frozenset[str] = frozenset()) -> str:
    """Every public attribute and method of a class, as its text has them in order."""
    rows = []
    for name, value in vars(kind).items():
        if name.startswith("_") or name in leave_out or not (inspect.isfunction(value) or _is_read(value)):
            continue
        rows.append((code(signature_of(name, value)), one_line(value.__doc__)))
    return table((kind.__name__, "meaning"), rows)


def _is_read(value: object) -> bool:
    return isinstance(value, property) or hasattr(value, "work")


def fields(kind: type[Any]) -> str:
    """`name: type` of each field of a value."""
    types = {name: getattr(one, "__forward_arg__", one) for name, one in kind.__annotations__.items()}
    return ", ".join(code(f"{name}: {text}") for name, text in types.items())


def message() -> str:
    """What every message tells."""
    return members(Message)


def edited() -> str:
    """What may be changed in every message that goes on."""
    return members(Edited)


def described() -> str:
    """What SDP tells, and what may be taken out of it."""
    return members(Described)


def prompted() -> str:
    """Prompts that begin or end with a message."""
    return members(Prompted)


def nated() -> str:
    """What may be changed for NAT in every message that goes on."""
    return members(Nated)


def heard() -> str:
    """What is known of a call's media."""
    return members(Heard)


def relayed() -> str:
    """What is wanted of the media relay."""
    return members(Relayed)


def relay_flags() -> str:
    """Letters and words of the relay."""
    rows = []
    for flag in flags.TABLE:
        letter = f"{flag.letter}NN" if flag.letter == "z" else flag.letter
        words = ", ".join(code(f"{word}..." if word.endswith("=") else word) for word in flag.words)
        rows.append((code(letter), words, flag.meaning))
    return table(("letter", "words", "meaning"), rows)


def aimed() -> str:
    """Where a request is going."""
    return members(Aimed)


def credentials() -> str:
    """Who sent a request."""
    return members(Identified)


def call() -> str:
    """What a request script sees besides."""
    kinds = (Screened, script.Call, script.BranchCall, script.FailureCall, script.UndoneCall)
    return "\n".join(members(kind) for kind in kinds)


def events() -> str:
    """What event hooks see."""
    kinds = (script.DialogEvent, script.ContactEvent, script.FlowEvent)
    return "\n".join(members(kind) for kind in kinds)


def variables() -> str:
    """Kamailio's pseudo-variables, and our names for what they say."""
    rows = [(code(f"${name}"), code(ours), _meaning(ours)) for name, ours in VARIABLES.items()]
    rows += [(code(f"${name}(x)"), code(f"{ours}(x)"), _meaning(ours)) for name, ours in FUNCTIONS.items()]
    return table(("in a text", "in Python", "meaning"), rows)


def _meaning(name: str) -> str:
    """What an attribute says of itself, without the variables that it stands for."""
    kinds = (script.Call, script.ReplyCall, script.FailureCall, script.DialogEvent, script.ContactEvent)
    found = next(
        value for kind in kinds for one in kind.__mro__ if (value := vars(one).get(name)) is not None
    )
    return re.sub(r"^(`\$[^`]*`(, )?)+: ", "", one_line(found.__doc__))


def testing() -> str:
    """What tests of scripts are written with."""
    return members(stage.Stage)


def transformations() -> str:
    """What may be done to a pseudo-variable."""
    rows = [(code(f"{{{name}}}"), text) for name, (_, _, text) in TRANSFORMATIONS.items()]
    return table(("transformation", "gives"), rows)


def nat_bits() -> str:
    """The bits of nat_uac_test."""
    rows = {}
    for test in vars(detect).values():
        bit, colon, text = (getattr(test, "__doc__", None) or "").partition(": ")
        if inspect.isfunction(test) and colon and bit.isdigit():
            rows[int(bit)] = one_line(text)
    assert sum(rows) == 1023, "a test of nat_uac_test is missing"
    return table(("bit", "true when"), [(str(bit), text) for bit, text in sorted(rows.items())])


def reply_call() -> str:
    """What a reply script sees besides."""
    return members(script.ReplyCall)


def values() -> str:
    """What the values are that calls give."""
    ours = frozenset({"read_mandatory", "make_answerable", "altered"})
    parts = [
        f"#### Uri\n\nFields: {fields(Uri)}. `str(uri)` is its text.\n\n{members(Uri)}",
        f"#### Headers\n\n`name in headers` says whether there is one.\n\n{members(Headers, ours)}",
        f"#### NameAddr\n\nFields: {fields(NameAddr)}.\n\n{members(NameAddr)}",
        f"#### Via\n\nFields: {fields(Via)}.\n\n{members(Via)}",
        f"#### CSeq\n\nFields: {fields(CSeq)}.",
        f"#### Binding\n\n{one_line(Binding.__doc__)}\n\nFields: {fields(Binding)}.",
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def decisions() -> str:
    """What a script may return."""
    rows = []
    for kind in get_args(decision.Decision):
        names = dataclasses.fields(kind)
        given = [f"{one.name}={one.default!r}" if _has_default(one) else one.name for one in names]
        rows.append((code(f"{kind.__name__}({', '.join(given)})"), one_line(kind.__doc__)))
    return table(("decision", "what happens"), rows)


def _has_default(one: dataclasses.Field[Any]) -> bool:
    return one.default is not dataclasses.MISSING


def hooks() -> str:
    """The functions of a script that the server calls, and those that it refuses."""
    groups = ("path", "undone", "events")
    calls = [one.name for one in dataclasses.fields(script.Script) if one.name not in groups]
    calls += script.UNDONE
    found = explained("the hook", [*calls, *script.EVENTS], meanings()["hooks"])
    rows = [(code(f"{name}({PLAIN.get(name, 'call')})"), found[name]) for name in calls]
    rows += [(code(f"{name}(event)"), found[name]) for name in script.EVENTS]
    later = ", ".join(code(name) for name in script.LATER)
    refused = f"Refused at the start, since this version does not call them: {later}."
    return f"{table(('function', 'when, and what it returns'), rows)}\n{refused}\n"


# ---- architecture.md


def files() -> str:
    """Every file of the program, folder by folder, with the first sentence that it says of itself."""
    folders: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        first = re.split(r"(?<=[.?])\s", one_line(ast.get_docstring(ast.parse(text))))[0]
        folder = path.parent.relative_to(PACKAGE.parent).as_posix()
        if path.name != "__init__.py":
            folders.setdefault(folder, []).append((code(path.name), first))
    return "\n".join(f"### {name}/\n\n{table(('file', 'holds'), rows)}" for name, rows in folders.items())


MAKERS: dict[str, Callable[[], str]] = {
    "keys": keys,
    "commands": commands,
    "common-options": common_options,
    "exit-codes": exit_codes,
    "methods": methods,
    "answers": answers,
    "statistics": statistics,
    "log-lines": log_lines,
    "hooks": hooks,
    "decisions": decisions,
    "message": message,
    "edited": edited,
    "described": described,
    "prompted": prompted,
    "heard": heard,
    "nated": nated,
    "relayed": relayed,
    "relay-flags": relay_flags,
    "aimed": aimed,
    "call": call,
    "credentials": credentials,
    "events": events,
    "variables": variables,
    "transformations": transformations,
    "testing": testing,
    "nat-bits": nat_bits,
    "reply-call": reply_call,
    "values": values,
    "files": files,
}


# ---- pages


def rendered(page: str) -> str:
    """The page with its generated parts made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{MAKERS[found[2]]()}\n{found[3]}", page)


def stale(pages: Iterable[Path]) -> list[Path]:
    """The pages that are not what they would be."""
    return [page for page in pages if rendered(text := page.read_text("utf-8")) != text]


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them; the exit code."""
    pages = sorted(DOCS.glob("*.md"))
    try:
        changed = stale(pages)
    except Mismatch as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    if "--check" in arguments:
        for page in changed:
            print(f"{page}: differs from the program; run .venv/bin/python docs/generate.py", file=sys.stderr)
        return 1 if changed else 0
    for page in changed:
        page.write_text(rendered(page.read_text("utf-8")), "utf-8")
        print(f"{page}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

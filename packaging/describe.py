"""The man page and the bash completion, written from the commands themselves: `describe.py man|bash`.

Holds what the commands cannot say: exit codes, files, and the words around them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click
import typer

import edgesip
from edgesip.cli.main import app

EXIT_CODES = (
    (0, "Done."),
    (1, "Failed."),
    (2, "The command line cannot be understood."),
    (3, "Not found."),
    (4, "The server is not reachable."),
    (78, "The configuration cannot be used; the message names the file, the line and the key."),
)
FILES = (
    ("/etc/edgesip/edgesip.toml", "The profile that the service runs."),
    ("/etc/edgesip/profiles/", "Profiles for --profile NAME, looked up before the built-in ones."),
    ("/var/lib/edgesip/", "The state directory of root and of the service: users and bindings."),
    ("/run/edgesip/edgesip.sock", "The control socket of the service; its group may ask."),
)
EXAMPLES = (
    ("Add a user; the password is printed:", "edgesip subscriber add alice"),
    ("See where the phone of a user is:", "edgesip ul lookup alice"),
    ("Try a changed profile first:", "edgesip check --profile /etc/edgesip/edgesip.toml"),
)
A_FILE = ("PATH", "FILE", "DIR")
"""Words in a metavar that say that the value is a path."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: its words, its click object, and the verbs below it, none for one that runs."""

    words: tuple[str, ...]
    command: click.Command
    below: tuple[str, ...]

    @property
    def path(self) -> str:
        """Its words, each after a space."""
        return "".join(f" {word}" for word in self.words)

    @property
    def options(self) -> list[click.Option]:
        """Its options, `--help` included."""
        context = click.Context(self.command)
        return [one for one in self.command.get_params(context) if isinstance(one, click.Option)]

    @property
    def arguments(self) -> list[click.Argument]:
        """Its arguments, in order."""
        return [one for one in self.command.params if isinstance(one, click.Argument)]


def verbs(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[Verb]:
    """A command and all below it, in the order in which they were added."""
    below = command.commands if isinstance(command, click.Group) else {}
    yield Verb(words, command, tuple(below))
    for name, one in below.items():
        yield from verbs(one, (*words, name))


# ---- the man page


def roff(text: str) -> str:
    """Text as roff takes it: no line that begins a request, no dash that becomes a hyphen."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _metavar(parameter: click.Parameter) -> str:
    """How its value is called, without the brackets that click puts around what is optional."""
    return parameter.metavar or parameter.make_metavar(click.Context(click.Command("edgesip"))).strip("[]")


def _takes_value(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def _synopsis(verb: Verb) -> str:
    parts = [f"\\fB{roff(' '.join(('edgesip', *verb.words)))}\\fR"]
    parts += [] if verb.below else ["[options]"]
    for argument in verb.arguments:
        name = f"\\fI{roff(_metavar(argument))}\\fR"
        parts.append(name if argument.required or "[" in name else f"[{name}]")
    return " ".join(parts)


def man() -> str:
    """edgesip(1)."""
    lines = [
        f'.TH EDGESIP 1 "" "edgesip {edgesip.__version__}" "User Commands"',
        ".SH NAME",
        "edgesip \\- SIP registrar, proxy and NAT edge with an RTP relay",
        ".SH SYNOPSIS",
        "\\fBedgesip\\fR \\fIverb\\fR [options] [arguments]",
        ".SH DESCRIPTION",
        "Phones behind any NAT register here, call and hear each other: registrar, proxy and media relay in",
        "one process, set up by one profile. As a service it is started by",
        "\\fBsystemctl start edgesip\\fR; every other verb asks the running server.",
        ".SH VERBS",
    ]
    for verb in verbs(typer.main.get_command(app)):
        if not verb.words or verb.below:
            continue
        lines += [f".SS {_synopsis(verb)}", roff(verb.command.help or "")]
        for argument in verb.arguments:
            if text := getattr(argument, "help", None):
                lines += [".TP", f"\\fI{roff(_metavar(argument))}\\fR", roff(str(text))]
        for option in verb.options:
            if option.name == "help":
                continue
            names = ", ".join(f"\\fB{roff(name)}\\fR" for name in option.opts)
            names += f" \\fI{roff(_metavar(option))}\\fR" if _takes_value(option) else ""
            lines += [".TP", names, roff(option.help or "")]
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES:
        lines += [".TP", f"\\fB{code}\\fR", roff(meaning)]
    lines += [".SH FILES"]
    for name, meaning in FILES:
        lines += [".TP", f"\\fI{roff(name)}\\fR", roff(meaning)]
    lines += [".SH EXAMPLES"]
    for told, line in EXAMPLES:
        lines += [".PP", roff(told), ".PP", ".RS", f"\\fB{roff(line)}\\fR", ".RE"]
    return "\n".join(lines) + "\n"


# ---- the completion of bash

BASH = """\
# bash completion for edgesip, written from its commands.

_edgesip()
{{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb= word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$verb $word" in
            {paths}) verb="$verb $word" ;;
        esac
    done
    COMPREPLY=()
    case "$before" in
        {files}) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
{choices}
        {values}) return ;;
    esac
    local words=
    case "$verb" in
{words}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o filenames -F _edgesip edgesip
"""


def bash() -> str:
    """A function for complete(1): verbs, then options, then files for options that take one."""
    every = list(verbs(typer.main.get_command(app)))
    files, values, choices, words = set(), set(), {}, []
    for verb in every:
        names: list[str] = []
        for option in verb.options:
            names += option.opts
            if not _takes_value(option):
                continue
            if isinstance(option.type, click.Choice):
                choices["|".join(option.opts)] = " ".join(str(one) for one in option.type.choices)
            elif re.search("|".join(A_FILE), _metavar(option)):
                files.update(option.opts)
            else:
                values.update(option.opts)
        offered = " ".join(verb.below or names)
        words.append(f'        "{verb.path}") words="{offered}" ;;')
    lists = (
        f'        {names}) mapfile -t COMPREPLY < <(compgen -W "{offered}" -- "$current"); return ;;'
        for names, offered in choices.items()
    )
    return BASH.format(
        paths="|".join(f'"{verb.path}"' for verb in every if verb.words),
        files="|".join(sorted(files)),
        values="|".join(sorted(values)),
        choices="\n".join(lists),
        words="\n".join(words),
    )


if __name__ == "__main__":
    print({"man": man, "bash": bash}[sys.argv[1]](), end="")

"""`edgesip subscriber add|list|show|passwd|rm|import|export`: the users, with the server running or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesip.cli.fail import FAILED, NOT_FOUND, Fail
from edgesip.cli.options import Output, OutputOption, StateDirOption
from edgesip.cli.output import put, say, show_json, show_table
from edgesip.cli.paths import made_state_dir, state_dir_of
from edgesip.places import subscribers_db

if TYPE_CHECKING:
    from edgesip.store.subscribers import SqliteSubscribers

REALM = "edgesip"
"""The default of `auth.realm`."""

app = typer.Typer(help="Users who may register and call.", no_args_is_help=True, suggest_commands=False)

NameArgument = Annotated[
    str, typer.Argument(metavar="USER", help="the name, which is also the number", show_default=False)
]
PasswordOption = Annotated[
    str | None, typer.Option("--password", metavar="P|-", help="- reads it from stdin; none makes one")
]


@app.command()
def add(
    name: NameArgument,
    password: PasswordOption = None,
    realm: Annotated[str, typer.Option("--realm", help="the profile's auth.realm")] = REALM,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Add a user; without --password one is made up and printed."""
    secret = _password(password)
    with _users(state_dir) as users:
        users.add(name, secret, realm)
    say(f"user {name} added, realm {realm}")
    _show_secret(name, realm, None if password else secret, output)


@app.command("list")
def list_(state_dir: StateDirOption = None, output: OutputOption = Output.table) -> None:
    """All users and their realms."""
    found = []
    if _has_users(state_dir_of(state_dir)):
        with _users(state_dir) as users:
            found = users.users()
    if output is Output.json:
        show_json([{"username": user.username, "realm": user.realm} for user in found])
    else:
        show_table(("User", "Realm"), [(user.username, user.realm) for user in found])


@app.command()
def show(name: NameArgument, state_dir: StateDirOption = None, output: OutputOption = Output.table) -> None:
    """A user's realm, and which digest algorithms the password can be proved by."""
    with _users(state_dir) as users:
        user = users.user(name)
    algorithms = list(user.algorithms)
    if output is Output.json:
        show_json({"username": user.username, "realm": user.realm, "algorithms": algorithms})
    else:
        show_table(("User", "Realm", "Algorithms"), [(user.username, user.realm, ", ".join(algorithms))])


@app.command()
def passwd(
    name: NameArgument,
    password: PasswordOption = None,
    realm: Annotated[str | None, typer.Option("--realm", help="a new realm")] = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Change a user's password; without --password one is made up and printed."""
    secret = _password(password)
    with _users(state_dir) as users:
        users.passwd(name, secret, realm)
    say(f"password of user {name} changed")
    _show_secret(name, realm, None if password else secret, output)


@app.command()
def rm(name: NameArgument, state_dir: StateDirOption = None, output: OutputOption = Output.table) -> None:
    """Remove a user. A phone that is registered stays so until its binding expires: see ul rm."""
    with _users(state_dir) as users:
        users.remove(name)
    say(f"user {name} removed")
    if output is Output.json:
        show_json({"username": name})


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="USER:REALM:HA1 lines; - for stdin")],
    passwords: Annotated[bool, typer.Option("--passwords", help="lines are USER:REALM:PASSWORD")] = False,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Add users from lines as htdigest and `export` write them, or replace those of the same name.

    Hashes by SHA-256 and SHA-512-256 may follow that by MD5, after colons. All lines are taken, or none.
    """
    from edgesip.store.users_file import read_line

    found = {}
    for number, line in enumerate(_text_of(file).split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        user = read_line(line, passwords)
        if user is None or user.username in found:
            raise Fail(FAILED, f"{file}: line {number} is no user, or has the name of another line's")
        found[user.username] = user
    with _users(state_dir) as users:
        new, replaced = users.put(found.values())
    say(f"{new} users added, {replaced} replaced")
    if output is Output.json:
        show_json({"added": new, "replaced": replaced})


@app.command()
def export(state_dir: StateDirOption = None) -> None:
    """All users as USER:REALM:HA1:HA1-BY-SHA-256:HA1-BY-SHA-512-256 lines: as secret as passwords are."""
    from edgesip.store.users_file import line_of

    if _has_users(state_dir_of(state_dir)):
        with _users(state_dir) as users:
            for user in users.users():
                put(f"{line_of(user)}\n")


def _text_of(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read() if sys.stdin is not None else ""
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Fail(FAILED, f"{file}: cannot be read: {error}") from None


def made_up_password() -> str:
    """About 70 random bits in characters that are easy to type on a phone and hard to mistake."""
    import secrets

    return "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(14))


def _password(option: str | None) -> str:
    if option is None:
        return made_up_password()
    if option != "-":
        return option
    if sys.stdin is None:
        raise Fail(FAILED, "no password can be read: stdin is closed")
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise Fail(FAILED, f"no password can be read from stdin: {error}") from None


def _show_secret(name: str, realm: str | None, secret: str | None, output: Output) -> None:
    """The password that was made up, alone on stdout."""
    if output is Output.json:
        shown = {"username": name, "realm": realm, "password": secret}
        show_json({key: value for key, value in shown.items() if value is not None})
    elif secret is not None:
        put(f"{secret}\n")


def _has_users(directory: Path) -> bool:
    try:
        return subscribers_db(directory).exists()
    except OSError as error:
        raise Fail(FAILED, f"{directory}: {error.strerror}; ask as its owner or as root") from None


@contextmanager
def _users(option: Path | None) -> Iterator[SqliteSubscribers]:
    """The users of a state directory, opened as its owner; store errors become exit codes."""
    from edgesip.store.api import StoreError
    from edgesip.store.subscribers import NoSubscriber, SqliteSubscribers

    directory = made_state_dir(state_dir_of(option))
    _become_owner_of(directory)
    try:
        users = SqliteSubscribers(subscribers_db(directory), busy_ms=5000)
        try:
            yield users
        finally:
            users.close()
    except NoSubscriber as error:
        raise Fail(NOT_FOUND, str(error)) from None
    except StoreError as error:
        raise Fail(FAILED, str(error)) from None


def _become_owner_of(directory: Path) -> None:
    """As root, go on as the owner of the state directory, so that the files are the server's to open."""
    owner = directory.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)

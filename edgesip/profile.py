"""The profile: everything an operator can set, checked, typed and frozen.

The models of its sections are in `sections.py`; `load` reads a TOML file, lays the command line's wishes
over it and either answers a `Profile` or raises `ConfigError` that names file, line, key and the nearest
valid name. It knows no socket, no script and no store: each constructor elsewhere gets its own slice.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationError

from edgesip import forms
from edgesip.forms import Advertised, Listen, PortRange, TlsDomain, Upstream
from edgesip.places import ConfigError, location_db, socket_in, subscribers_db
from edgesip.sections import (
    Auth,
    AuthDb,
    Dialog,
    Dns,
    Relay,
    Rr,
    Section,
    Siptrace,
    Tls,
    Tm,
)
from edgesip.sections_guard import Ban, Permissions, Pike
from edgesip.sections_location import Usrloc
from edgesip.sections_nat import Nathelper, Stun
from edgesip.sections_registrar import Outbound, Registrar
from edgesip.sections_registrar import Path as PathSection
from edgesip.sections_rtpp import Rtpp
from edgesip.sections_rtpproxy import Rtpproxy
from edgesip.sections_traversal import NatTraversal

__all__ = [
    "BUILT_IN",
    "SEARCH",
    "Advertised",
    "ConfigError",
    "Listen",
    "PortRange",
    "Profile",
    "Upstream",
    "available",
    "find",
    "load",
]

BUILT_IN = Path(__file__).parent / "profiles"
"""Where the profiles live that come with edgesip."""

SEARCH: tuple[Path, ...] = (Path("/etc/edgesip/profiles"), BUILT_IN)
"""Where `--profile NAME` is looked up, in this order."""


class Profile(Section):
    """A whole profile. The first four fields are placed by `load`; the rest are keys of the TOML."""

    name: str
    file: Path
    socket: Path
    origins: Mapping[str, str]
    """Where each key that was given stands: `tm.wt_timer` to `FILE:LINE` or `--set tm.wt_timer=5`."""

    listen: Annotated[tuple[Listen, ...], PlainValidator(forms.listen)] = (Listen("udp", "0.0.0.0", 5060),)
    """Where SIP is listened for, over UDP, TCP or TLS. 0.0.0.0 and [::] stand for the addresses that this
    host has at the start, link-local ones left out; every socket is bound to one address."""
    advertise: Annotated[tuple[Advertised, ...], PlainValidator(forms.advertise)] = ()
    """The address others reach us by when it is not one of this host's own. It stands in Via, Record-Route
    and SDP in place of every local address of its family but loopback. "auto": the IPv4 one is found at the
    start, by the routes of this host and, behind a NAT, by `stun.servers`."""
    domains: Annotated[tuple[str, ...], PlainValidator(forms.domains)] = ()
    """Hosts that are ours in SIP URIs, besides this host's name and every address that is listened on or
    advertised."""
    upstream: Annotated[Upstream | None, PlainValidator(forms.upstream)] = None
    """The server for calls to `upstream_users` that nobody here is. Its addresses call without a password."""
    upstream_users: Annotated[re.Pattern[str], PlainValidator(forms.pattern)] = re.compile(r"\+?[0-9*#]+")
    """Who is looked for at the upstream: must match the whole user part of the request URI."""
    route: Annotated[Path, PlainValidator(forms.path)]
    """The route script; a relative path starts at the profile's own directory. Must be given."""
    state_dir: Annotated[Path, PlainValidator(forms.path)]
    """Where users, bindings and the control socket live; without it /var/lib/edgesip for root and the user
    edgesip, else $XDG_STATE_HOME/edgesip or ~/.local/state/edgesip."""

    auth: Auth = Auth()
    auth_db: AuthDb = AuthDb()
    permissions: Permissions = Permissions()
    pike: Pike = Pike()
    ban: Ban = Ban()
    registrar: Registrar = Registrar()
    path: PathSection = PathSection()
    outbound: Outbound = Outbound()
    usrloc: Usrloc = Usrloc()
    nathelper: Nathelper = Nathelper()
    stun: Stun = Stun()
    nat_traversal: NatTraversal = NatTraversal()
    tm: Tm = Tm()
    rr: Rr = Rr()
    dialog: Dialog = Dialog()
    dns: Dns = Dns()
    tls: Tls = Tls()
    relay: Relay = Relay()
    rtpproxy: Rtpproxy = Rtpproxy()
    rtpp: Rtpp = Rtpp()
    siptrace: Siptrace = Siptrace()

    def where(self, key: str) -> str:
        """The place of a key, or the file when it has its default: the head of a message about its value."""
        return self.origins.get(key, str(self.file))

    @property
    def location_db(self) -> Path | None:
        """The SQLite file that keeps bindings, or None when they live in memory only.

        A relative path in the URL starts at the state directory; four slashes make it absolute.
        """
        url = self.usrloc.db_url
        if url == "" or self.usrloc.db_mode == 0:
            return None
        if url is None:
            return location_db(self.state_dir)
        return self.state_dir / url.removeprefix("sqlite:///")

    @property
    def users_file(self) -> Path | None:
        """The text file that keeps the users, or None where the database does."""
        url = self.auth_db.db_url
        return Path("/" + url.removeprefix("text:///").lstrip("/")) if url else None

    @property
    def subscribers_db(self) -> Path:
        """The SQLite file that keeps the users."""
        return subscribers_db(self.state_dir)

    def advertised_for(self, host: str) -> Advertised | None:
        """What to say instead of our address `host`, if its family has an advertised address."""
        for one in self.advertise:
            if (":" in one.host) == (":" in host):
                return one
        return None


# ---- reading

_PLACED = ("name", "file", "socket", "origins")
_SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {
        name: field.annotation
        for name, field in Profile.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
)
_TOP = tuple(name for name in Profile.model_fields if name not in _SECTIONS and name not in _PLACED)

Origins = dict[tuple[str, str], str]
"""Where the value of (section or "", key) was written, as it stands in a message."""


def available(search: Sequence[Path] = SEARCH) -> dict[str, Path]:
    """Every profile that `--profile NAME` finds: name to file, the first directory wins."""
    found: dict[str, Path] = {}
    for directory in search:
        for file in sorted(directory.glob("*.toml")):
            found.setdefault(file.stem, file)
    return found


def find(name_or_path: str, search: Sequence[Path] = SEARCH) -> Path:
    """The file of a profile: what looks like a path is one, anything else is a name to look up."""
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        file = Path(name_or_path)
        with contextlib.suppress(OSError):  # not permitted to look: reading it will say so
            if not file.is_file():
                raise ConfigError(f"{name_or_path}: no such profile file")
        return file
    known = available(search)
    if name_or_path not in known:
        raise ConfigError(f"no profile is called {name_or_path!r}{_nearest(name_or_path, known)}")
    return known[name_or_path]


def load(
    name_or_path: str,
    *,
    default_state_dir: Path | None,
    sets: Sequence[str] = (),
    listen: Sequence[str] = (),
    advertise: Sequence[str] = (),
    state_dir: Path | None = None,
    socket: Path | None = None,
    search: Sequence[Path] = SEARCH,
) -> Profile:
    """Read a profile by name or path and lay the command line over it, or raise `ConfigError`.

    `sets` are `SECTION.KEY=VALUE` texts, later ones win; `listen` and `advertise` replace the profile's
    lists; `state_dir` beats the file's key, which beats `default_state_dir` (None: there is no default).
    """
    file = find(name_or_path, search)
    try:
        text = file.read_bytes().decode("utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise ConfigError(f"{file}:{line}: {error}") from None

    origins: Origins = {}
    for section, key in _keys(data):
        origins[section, key] = f"{file}:{_line_of(text, section, key)}"
        _known(section, key, origins[section, key])
    for wish in sets:
        _lay_over(data, origins, wish)
    for option, wishes in (("listen", listen), ("advertise", advertise)):
        if wishes:
            data[option] = [item for wish in wishes for item in wish.split(",")]
            origins["", option] = f"--{option} {' '.join(wishes)}"
    if state_dir is not None:
        data["state_dir"] = state_dir
        origins["", "state_dir"] = "--state-dir"
    if "state_dir" not in data and default_state_dir is None:
        raise ConfigError(f"{file}: state_dir: this user has no home directory: name one by --state-dir")
    data.setdefault("state_dir", default_state_dir)

    written = {f"{section}.{key}".lstrip("."): where for (section, key), where in origins.items()}
    data |= {"name": file.stem, "file": file.absolute(), "socket": Path(), "origins": written}
    profile = _validated(data, file, origins)
    if not profile.listen and not profile.rtpp.listen:
        raise ConfigError(f"{origins['', 'listen']}: listen: must name at least one TRANSPORT:ADDR:PORT")
    route = profile.file.parent / profile.route
    try:
        if not route.is_file():
            raise ConfigError(f"{origins['', 'route']}: route: there is no file {route}")
    except OSError as error:
        raise ConfigError(f"{origins['', 'route']}: route: {route}: {error.strerror}") from None
    tls = _tls_files(profile.tls, profile.file.parent)
    state = profile.state_dir.absolute()
    relay = profile.relay
    if "advertise" not in relay.model_fields_set:
        relay = relay.model_copy(update={"advertise": tuple(one.host for one in profile.advertise)})
    return profile.model_copy(
        update={
            "route": route,
            "state_dir": state,
            "socket": socket_in(state, socket),
            "relay": relay,
            "tls": tls,
        }
    )


def _tls_files(section: Tls, directory: Path) -> Tls:
    """The section with every file where it is, whatever the working directory."""
    files = {name: getattr(section, name) for name in ("certificate", "private_key", "ca_list")}
    placed: dict[str, object] = {name: directory / file for name, file in files.items() if file is not None}
    placed["domain"] = tuple(
        TlsDomain(one.name, directory / one.certificate, directory / (one.private_key or one.certificate))
        for one in section.domain
    )
    return section.model_copy(update=placed)


def _keys(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in data.items():
        if name in _SECTIONS and isinstance(value, dict):
            yield from ((name, key) for key in value)
        else:
            yield ("", name)


def _known(section: str, key: str, where: str) -> None:
    """Refuse a name that is no key, saying the nearest one that is."""
    if section:
        fields = _SECTIONS[section].model_fields
        if key not in fields:
            names = [f"{section}.{name}" for name in fields]
            raise ConfigError(f"{where}: unknown key {section}.{key}{_nearest(f'{section}.{key}', names)}")
        return
    if key in _SECTIONS:
        raise ConfigError(f"{where}: {key} is a section: write [{key}] and its keys below, or {key}.KEY")
    if key not in _TOP:
        inside = [f"{name}.{field}" for name, model in _SECTIONS.items() for field in model.model_fields]
        same = [name for name in inside if name.partition(".")[2] == key]
        names = same or [*_TOP, *(f"[{name}]" for name in _SECTIONS)]
        raise ConfigError(f"{where}: unknown key {key}{_nearest(key, names)}")


def _nearest(name: str, names: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest valid one, else all of them."""
    known = {one.strip("[]"): one for one in names}
    if len(known) == 1:
        return f"; did you mean {next(iter(known.values()))}?"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {known[close[0]]}?" if close else f"; there are {', '.join(known.values())}"


def _line_of(text: str, section: str, key: str) -> int:
    """The line where a key of a TOML text stands (its section's when it is inside an inline table)."""
    within, best = "", 1
    whole = f"{section}.{key}".lstrip(".")
    name = r"[\"']?{}[\"']?".format
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[\[?([^\]]+)\]", line):
            within = ".".join(part.strip(" \t\"'") for part in header[1].split("."))
            if f"{within}.".startswith(f"{whole}."):
                return number
            if within == section:
                best = number
            continue
        if within == section and re.match(rf"\s*{name(re.escape(key))}\s*[=.]", line):
            return number
        if section and not within:
            if re.match(rf"\s*{name(section)}\s*\.\s*{name(re.escape(key))}\s*[=.]", line):
                return number
            if re.match(rf"\s*{name(section)}\s*=", line):
                best = number
    return best


def _lay_over(data: dict[str, Any], origins: Origins, wish: str) -> None:
    """Put one `--set KEY=VALUE` into the data, as the type its key has."""
    name, equals, value = wish.partition("=")
    where = f"--set {wish}"
    section, dot, key = name.rpartition(".")
    if not equals or not key or (dot and not section):
        raise ConfigError(f"{where}: must be KEY=VALUE or SECTION.KEY=VALUE")
    if section and section not in _SECTIONS:
        raise ConfigError(f"{where}: unknown section {section}{_nearest(section, _SECTIONS)}")
    _known(section, key, where)
    table = data.setdefault(section, {}) if dot else data
    fields = _SECTIONS[section].model_fields if section else Profile.model_fields
    table[key] = _typed(fields[key].annotation, value)
    origins[section, key] = where


_WORDS = MappingProxyType({"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False})


def _typed(annotation: object, value: str) -> object:
    """A command line's text as TOML would have given it; the model refuses what does not fit."""
    if annotation is bool:
        return _WORDS.get(value.lower(), value)
    if annotation is int and re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII):
        return int(value)
    return value


_MEANING = MappingProxyType(
    {
        "int_type": "must be a whole number",
        "bool_type": "must be true or false",
        "model_type": "must be a section",
        "missing": "is missing",
    }
)


def _validated(data: dict[str, Any], file: Path, origins: Origins) -> Profile:
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        section, key = (place[0], place[1]) if len(place) > 1 else ("", place[0])
        cause = first.get("ctx", {}).get("error")
        why = str(cause) if cause else _MEANING.get(first["type"], first["msg"])
        where = origins.get((section, key)) or _origin_of_section(key, why, origins) or str(file)
        given = first["input"]
        told = f", not {given!r}" if first["type"] in ("int_type", "bool_type") else ""
        raise ConfigError(f"{where}: {'.'.join(place)}: {why}{told}") from None


def _origin_of_section(section: str, why: str, origins: Origins) -> str | None:
    """Where to look when keys of a section do not fit together: at one that `why` names, and that was wished
    on the command line rather than written in the file."""
    inside = {key: where for (its, key), where in origins.items() if its == section}
    named = [where for key, where in inside.items() if re.search(rf"\b{re.escape(key)}\b", why)]
    wished = [where for where in named if where.startswith("--")]
    return next(iter([*wished, *named, *inside.values()]), None)

"""What `[rtpp]` means to the rooms: other servers command this relay, and whom they name is told of ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesip.control.server import listener
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.relay.commands import Commands
from edgesip.relay.rtpp_sockets import CommandSockets, Stream
from edgesip.relay.service import RelayService
from edgesip.signal.net.links import expand, is_local, route

Log = Callable[[str, str, dict[str, Any]], None]


def check(profile: Profile) -> None:
    """Raises `ConfigError` when commands can never arrive, or nothing could be done for them."""
    where = profile.where("rtpp.listen")
    if profile.rtpp.listen and not profile.relay.enabled:
        raise ConfigError(f"{where}: rtpp.listen: there is no relay to command (relay.enabled)")
    for one in profile.rtpp.listen:
        if one.addr is not None and not all(is_local(addr.host) for addr in expand(one.addr)):
            raise ConfigError(f"{where}: rtpp.listen: {one}: {one.addr.host} is no address of this host")


def commands_of(profile: Profile, media: RelayService | None) -> Commands | None:
    """The relay as commands see it, None where nobody commands it."""
    section = profile.rtpp
    return Commands(media.core, route, section.notify) if media is not None and section.listen else None


async def serve(commands: Commands, profile: Profile, log: Log, stack: contextlib.AsyncExitStack) -> None:
    """Take commands until the stack unwinds. Raises `ConfigError` when a socket cannot be had."""
    section = profile.rtpp
    sockets = CommandSockets(commands, section.allow, log)
    stack.push_async_callback(sockets.close)
    datagrams = [addr for one in section.listen if one.addr is not None for addr in expand(one.addr)]
    streams = []
    for one in section.listen:
        if one.addr is None:
            streams.append(Stream(listener(Path(one.path)), one.kind == "cunix"))
            stack.callback(Path(one.path).unlink, missing_ok=True)
    try:
        await sockets.open(datagrams, streams)
    except OSError as error:
        raise ConfigError(f"{profile.where('rtpp.listen')}: rtpp.listen: {error.strerror}") from None

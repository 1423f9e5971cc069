"""What `[rtpp]` means to the rooms: other servers command this relay, and whom they name is told of ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edgesip.control.server import listener
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.relay.commands import Commands
from edgesip.relay.core import RelayCore
from edgesip.relay.rtpp_sockets import CommandSockets, Stream
from edgesip.relay.session import Key
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


class Lent:
    """The relay as others use it: by the sockets of the profile, which may be none."""

    def __init__(self, profile: Profile, core: RelayCore, log: Log) -> None:
        self._section = profile.rtpp
        self._where = profile.where("rtpp.listen")
        self._commands = Commands(core, route, profile.rtpp.notify)
        self._sockets = CommandSockets(self._commands, profile.rtpp.allow, log)

    @property
    def counters(self) -> dict[str, int]:
        """Commands and who sends them, by `rtpp:` names."""
        return self._commands.counters | self._sockets.counters

    def timed_out(self, key: Key, now: float) -> bool:
        """The media of this session has ended; False when it is not lent."""
        return self._commands.timed_out(key, now)

    def adopt(self, keys: Iterable[Key], now: float) -> None:
        """Those of these sessions that were lent are so again, to whoever knows their names."""
        for key in keys:
            self._commands.adopt(key, now)

    def use(self, profile: Profile) -> None:
        """Who may ask, and who may be told, in force from now on."""
        self._sockets.allow(profile.rtpp.allow)
        self._commands.may_be_told(profile.rtpp.notify)

    async def serve(self, stack: contextlib.AsyncExitStack) -> None:
        """Take commands until the stack unwinds. Raises `ConfigError` when a socket cannot be had."""
        listen = self._section.listen
        stack.push_async_callback(self._sockets.close)
        datagrams = [addr for one in listen if one.addr is not None for addr in expand(one.addr)]
        streams = []
        for one in listen:
            if one.addr is None:
                streams.append(Stream(listener(Path(one.path)), one.kind == "cunix"))
                stack.callback(Path(one.path).unlink, missing_ok=True)
        try:
            await self._sockets.open(datagrams, streams)
        except OSError as error:
            raise ConfigError(f"{self._where}: rtpp.listen: {error.strerror}") from None

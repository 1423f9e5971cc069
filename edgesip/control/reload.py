"""The method that takes up a changed route script and profile; what that means is the edge's business."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgesip.control.rpc import Method, RpcFault
from edgesip.places import ConfigError


def methods_for(reload: Callable[[], Mapping[str, Any]]) -> list[Method]:
    """The one method; `reload` answers what has changed, or raises `ConfigError` and nothing has."""

    def work(params: list[Any]) -> Mapping[str, Any]:
        try:
            return reload()
        except ConfigError as error:
            raise RpcFault(500, str(error)) from None

    return [
        Method(
            "app_python.reload",
            work,
            "Take up the route script and what of the profile can change; the old ones stay on any error.",
        )
    ]

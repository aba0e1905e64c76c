"""Bound paths of processes of other nodes, by which clients here reach them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from guesthouse.core.address import ForeignProcess
from guesthouse.http_server.routing.bindings import Bindings
from guesthouse.link.calls import BindHttpPath, BindWsPath, ServeUi

_MOST_SECONDS: Final = 10**6


class BoundPath(Protocol):
    """A path that a process binds at its own node."""

    @property
    def path(self) -> str:
        """As it bound it."""

    @property
    def authenticated(self) -> bool:
        """Whether it requires a login."""


class BoundSocket(BoundPath, Protocol):
    """One for WebSockets."""

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """Of the process."""


class BoundRequests(BoundPath, Protocol):
    """One for HTTP."""

    @property
    def content(self) -> bool:
        """Whether it is content, which its node has."""

    @property
    def response_seconds(self) -> float | None:
        """Time-out of a response; None for the node's default."""


def bind_foreign(
    bindings: Bindings,
    process: ForeignProcess,
    ws: Iterable[BoundSocket],
    http: Iterable[BoundRequests],
    ui: Iterable[BoundPath],
    *,
    has_files: bool,
) -> list[str]:
    """Bind all that a process of another node binds there, in place of what it did before.

    Args:
        bindings: of this node.
        process: the process.
        ws: its paths for WebSockets.
        http: its paths for HTTP.
        ui: paths at which the files of its package are.
        has_files: whether there are any.

    Returns:
        The errors of what cannot be bound here.
    """
    bindings.drop(process)
    errors: list[str | None] = [
        bindings.bind_ws(
            process, BindWsPath(each.path, authenticated=each.authenticated, subprotocols=each.subprotocols)
        )
        for each in ws
    ]
    for each in http:
        seconds = each.response_seconds
        call = BindHttpPath(
            each.path,
            authenticated=each.authenticated,
            local_only=False,
            response_seconds=seconds if seconds is not None and 0 < seconds < _MOST_SECONDS else None,
        )
        errors.append(bindings.bind_http(process, call, elsewhere=each.content))
    errors += [
        bindings.bind_ui(process, ServeUi(path.path, authenticated=path.authenticated, local_only=False))
        for path in ui
    ]
    bindings.set_files(process, has_files=has_files)
    return [error for error in errors if error is not None]

"""A client whose socket a subprocess in front of the server holds."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol, TypeAlias

SocketAddress: TypeAlias = tuple[str, int]


class Progress(Enum):
    """What the subprocess says of a client."""

    HEARD = "heard"
    """It sends a message that is not whole yet."""
    CROWDED = "crowded"
    """Its message is not whole, and those of all clients take too much memory."""


class Told(Protocol):
    """The client's WebSocket."""

    def heard(self) -> None:
        """The client is alive."""

    def make_room(self) -> None:
        """Give up its message, and close the connection."""


class Behind:
    """One client.

    Args:
        client: its address and port.
        server: the address and port that it has connected to.
        secure: whether it speaks TLS.
        left: called once, when the connection is closed.
    """

    __slots__ = ("client", "compresses", "left", "secure", "server", "websocket")

    def __init__(
        self, client: SocketAddress, server: SocketAddress, *, secure: bool, left: Callable[[], None]
    ) -> None:
        self.client = client
        self.server = server
        self.secure = secure
        self.left = left
        self.compresses = False
        """Whether the subprocess compresses what is sent to the client."""
        self.websocket: Told | None = None
        """Set while it has one."""

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "https" if self.secure else "http"

    def tell(self, progress: Progress) -> None:
        """The subprocess says something of the client."""
        if self.websocket is None:
            return
        if progress is Progress.HEARD:
            self.websocket.heard()
        else:
            self.websocket.make_room()

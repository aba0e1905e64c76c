"""What the HTTP server asks of the part that relays channels between nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from msgspec import Struct

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.messages import Pairs
from guesthouse.http_server.auth.tokens import Claims
from guesthouse.http_server.close_codes import CloseReason


class ContentRequest(Struct, frozen=True):
    """A request for bound content, or for a file of a package's folder `ui`."""

    method: str
    path: str
    """As requested, below the process."""
    headers: Pairs
    authenticated: bool
    """Whether access to it was checked for a binding that requires a login."""
    file: bool
    page: bool = False
    """Whether the page for client-side routes will do."""


Verified: TypeAlias = Callable[[Claims | CloseReason], None]


class Relays(Protocol):
    """Channels of clients here to processes of other nodes, and the other way round. No method blocks."""

    def process_changed(self, process: ProcessId) -> None:
        """A process of this node runs, or what it binds has changed: tell the other nodes."""

    def process_gone(self, process: ProcessId) -> None:
        """A process of this node has ended for good."""

    def started(self) -> None:
        """All packages of this node were added: it has started."""

    def present(self, process: ForeignProcess, channel_id: int, *, away: bool) -> None:
        """The client of a resumable channel of another node's process is away, or back."""

    def fetch(self, process: ForeignProcess, http_id: int, request: ContentRequest) -> bool:
        """Ask a process's node for content. The pending request of that id is answered later. Returns False if that
        node takes no more for now.
        """

    def verify(self, target: ForeignProcess, token: str, otherwise: CloseReason, answered: Verified) -> None:
        """Have a token verified by the node that issued it, which is the target's. `answered` is called once: with its
        claims, whose family no token of this node has, or with how to refuse it, which is `otherwise` if no node has
        that process.
        """

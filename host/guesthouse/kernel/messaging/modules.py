"""Runtime modules: processes implemented by the node, such as `kv:distro:sys`.

A module has no mailbox: it receives a request at once and answers it now or later. It must bound what it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.messages import LazyLoadBlob

Answer = Callable[[bytes, LazyLoadBlob | None], None]
"""Sends the response's body and blob. To be called at most once; has no effect after the time-out."""


class ModuleRequest(Struct, frozen=True):
    """A request to a module. The router sets `source`."""

    source: Address
    body: bytes
    blob: LazyLoadBlob | None
    expects_response: float | None
    """Time-out in seconds; None if no response is expected."""
    answer: Answer
    waits: Callable[[], bool]
    """Whether the sender still waits for the response."""

    @property
    def size(self) -> int:
        """Bytes of body and blob."""
        return len(self.body) + (0 if self.blob is None else len(self.blob.bytes))


class Module(Protocol):
    """A runtime module. Must not block."""

    @property
    def id(self) -> ProcessId:
        """Its canonical id."""

    def request(self, request: ModuleRequest) -> None:
        """Carry out a request. Must not raise."""

    def go_on(self, request: ModuleRequest, waited_seconds: float) -> None:
        """Carry out a request that the node's run before had not answered after that time. Must not raise."""

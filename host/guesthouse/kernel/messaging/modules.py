"""Runtime modules: processes of the node itself, such as `kv:distro:sys`, that others send requests to.

A module is no wasm and has no mailbox: it takes a request at once, and answers it now or later. What it
may hold for that is its own to bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.messages import LazyLoadBlob

Answer = Callable[[bytes, LazyLoadBlob | None], None]
"""Takes the response's body and blob. Called at most once; too late, it does nothing."""


class ModuleRequest(Struct, frozen=True):
    """A request to a module. The router stamped `source`."""

    source: Address
    body: bytes
    blob: LazyLoadBlob | None
    expects_response: float | None
    """Seconds that somebody waits for the answer; None when nobody does."""
    answer: Answer
    waits: Callable[[], bool]
    """Whether somebody still waits for the answer."""

    @property
    def size(self) -> int:
        """Bytes that it brings."""
        return len(self.body) + (0 if self.blob is None else len(self.blob.bytes))


class Module(Protocol):
    """A runtime module. Nothing in it blocks."""

    @property
    def id(self) -> ProcessId:
        """Its canonical id."""

    def request(self, request: ModuleRequest) -> None:
        """Carry out a request; it raises nothing, whatever the request says."""

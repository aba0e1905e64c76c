"""HTTP requests that wait for a process's response."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import HttpResponse
from guesthouse.core.ports import Answer
from guesthouse.core.responses import answer_of
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import Refusal

TakesAnswer: TypeAlias = Callable[[HttpResponse | Refusal], None]


class PendingResponse(Struct):
    """An HTTP request that was posted to a process."""

    http_id: int
    owner: ProcessId
    answered: TakesAnswer
    """Called once, with the answer."""
    handed_on: int = 0
    """Id of the kernel request whose response is the answer, if the process delegated it; else 0."""
    done: bool = False
    removed: Callable[[], None] | None = None
    """Called when it is pending no more."""

    def settle(self, answer: HttpResponse | Refusal) -> None:
        """Give the answer, unless there is one."""
        if not self.done:
            self.done = True
            self.answered(answer)

    def take_response(self, response: Answer | str) -> None:
        """Receive the response of another process, or a `SendErrorKind`."""
        if response == "timeout":
            return  # the HTTP request has its own time-out
        if isinstance(response, str):
            self.settle(close_codes.ENDED)
            return
        blob = response.blob
        mime, payload = (None, None) if blob is None else (blob.mime, blob.bytes)
        self.settle(answer_of(response.body, mime, payload) or close_codes.BAD_ANSWER)


class PendingResponses:
    """The pending HTTP requests by id.

    Args:
        forget: called with the id of a kernel request that no longer needs a response.
    """

    def __init__(self, forget: Callable[[int], None]) -> None:
        self._forget = forget
        self._ids = itertools.count(1)
        self._open: dict[int, PendingResponse] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, owner: ProcessId, answered: TakesAnswer) -> PendingResponse:
        """Add a request, which is pending until `remove`. `answered` is called with its answer."""
        pending = PendingResponse(next(self._ids), owner, answered)
        self._open[pending.http_id] = pending
        return pending

    def remove(self, pending: PendingResponse) -> None:
        """A request is pending no more."""
        del self._open[pending.http_id]
        if pending.handed_on:
            self._forget(pending.handed_on)
        if pending.removed is not None:
            pending.removed()

    def get(self, owner: ProcessId, http_id: int) -> PendingResponse | None:
        """The pending request of that id, if it was posted to that process and is not answered."""
        pending = self._open.get(http_id)
        return None if pending is None or pending.owner != owner or pending.done else pending

    @contextmanager
    def open(self, owner: ProcessId, answered: TakesAnswer = lambda _: None) -> Iterator[PendingResponse]:
        """Add a request, which is pending until the block exits."""
        pending = self.add(owner, answered)
        try:
            yield pending
        finally:
            self.remove(pending)

    def answer(self, owner: ProcessId, http_id: int, response: HttpResponse) -> bool:
        """Answer a request; False when the process has no such pending request."""
        pending = self._open.get(http_id)
        if pending is None or pending.owner != owner or pending.done:
            return False
        pending.settle(response)
        return True

    def hand_on(
        self, owner: ProcessId, http_id: int, expect: Callable[[Callable[[Answer | str], None]], int]
    ) -> int:
        """Let the response to a kernel request answer an HTTP request.

        Args:
            owner: the process to which the HTTP request was posted.
            http_id: its id.
            expect: makes the kernel request, given the callback for its response; returns its id.

        Returns:
            The kernel request's id; 0 when the process has no such pending request.
        """
        pending = self._open.get(http_id)
        if pending is None or pending.owner != owner or pending.done:
            return 0
        if not pending.handed_on:
            pending.handed_on = expect(pending.take_response)
        return pending.handed_on

    def fail(self, owner: ProcessId, kept: Container[int] = ()) -> None:
        """Fail the requests of a process that ended, except those `kept` for its next run and delegated ones."""
        for pending in tuple(self._open.values()):
            if pending.owner == owner and not pending.handed_on and pending.http_id not in kept:
                pending.settle(close_codes.ENDED)

    def stop(self) -> None:
        """Fail all requests: the node is shutting down."""
        for pending in tuple(self._open.values()):
            pending.settle(close_codes.STOPPING)


class BodyBudget:
    """Memory budget, in bytes, for the request bodies of all clients."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False when not that many are free."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def release(self, size: int) -> None:
        """Return reserved bytes."""
        self._free += size

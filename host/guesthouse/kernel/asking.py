"""Requests that the node itself sends, for people and for clients that are no process.

An `Asker` is a sender like any process (the router stamps its id), except that it awaits each answer
where it asked. It is the operator's own voice: no capability is asked of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from guesthouse.address import Address, ProcessId
from guesthouse.errors import GuesthouseError
from guesthouse.kernel.mailbox import Operation
from guesthouse.link.ops import ToNode, ToWorker
from guesthouse.message import LazyLoadBlob

TERMINAL: Final = ProcessId("terminal", "distro", "sys")
"""Who sends what a person sends with `guesthouse send`."""

_REMEDIES: Final = {
    "no-such-process": "it is not there, or ended before it answered: `guesthouse ps` lists those that are",
    "timeout": "it did not answer in time",
    "mailbox-full": "its mailbox is full, or the message is too large",
    "not-authorised": "it takes no messages from here",
    "offline": "that node cannot be reached from here",
}


class NotDelivered(GuesthouseError):
    """A request was not delivered or not answered. `kind` is the name of a `send-error-kind` case."""

    def __init__(self, target: Address, kind: str) -> None:
        super().__init__(f"{target}: {kind}: {_REMEDIES.get(kind, kind)}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answered:
    """The response to a request."""

    source: str
    body: bytes
    metadata: str | None
    blob: LazyLoadBlob | None


class Asker:
    """Sends requests as `process` through `send`, which is the router's."""

    def __init__(self, process: ProcessId, send: Callable[[Asker, Operation], None]) -> None:
        self.id = process
        self._send = send
        self._waiting: dict[int, asyncio.Future[Operation]] = {}
        self._last_ask = 0
        self._failure: Operation | None = None

    async def ask(self, target: Address, body: bytes, blob: LazyLoadBlob | None, seconds: int) -> Answered:
        """Send a request and wait for its response. Cancelling it forgets the response.

        Raises:
            NotDelivered: it was not delivered, or not answered in time.
        """
        self._last_ask += 1
        number = self._last_ask
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(self, _request(number, target, body, blob, seconds))
            operation = await answer
        finally:
            del self._waiting[number]
        if operation[0] == ToWorker.SEND_FAILURE:
            raise NotDelivered(target, operation[2])
        source, body, metadata, mime, payload = (operation[place] for place in (2, 3, 5, 7, 8))
        return Answered(source, body, metadata, None if payload is None else LazyLoadBlob(mime, payload))

    def tell(self, target: Address, body: bytes, blob: LazyLoadBlob | None) -> None:
        """Send a request that wants no response.

        Raises:
            NotDelivered: it is not in the target's mailbox.
        """
        self._failure = None
        self._send(self, _request(0, target, body, blob, None))
        failure, self._failure = self._failure, None
        if failure is not None:
            raise NotDelivered(target, failure[2])

    def answer_await(self, handle: int, operation: Operation, size: int) -> None:
        """Called by the router: the answer to one that waits."""
        answer = self._waiting.get(handle)
        if answer is not None and not answer.done():
            answer.set_result(operation)

    def is_run(self, handle: int) -> bool:
        """Called by the router: the node has one run."""
        return True

    def post_answer(self, operation: Operation, size: int) -> bool:
        """Called by the router: what becomes of a request that wants no response."""
        if operation[0] == ToWorker.SEND_FAILURE:
            self._failure = operation
        return True


def _request(
    number: int, target: Address, body: bytes, blob: LazyLoadBlob | None, seconds: int | None
) -> Operation:
    mime, payload = (None, None) if blob is None else (blob.mime, blob.bytes)
    head = [int(ToNode.SEND), number, str(target), body, False, seconds, None, None]
    return [*head, mime, payload, number, 0]

"""Requests that the node itself sends, for its operator and its modules.

A `NodeSender` is a sender like a process, except that it awaits responses in asyncio and needs no capabilities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.link.to_node import Send
from guesthouse.link.to_worker import Response, SendFailure

TERMINAL: Final = ProcessId("terminal", "distro", "sys")
"""Sender of `guesthouse send`."""

_EXPLANATIONS: Final = {
    "no-such-process": "it does not exist, or ended before it answered: `guesthouse ps` lists processes",
    "timeout": "it did not answer in time",
    "mailbox-full": "its mailbox is full, or the message is too large",
    "not-authorised": "it takes no messages from here",
    "offline": "that node cannot be reached from here",
}


class NotDelivered(GuesthouseError):
    """A request was not delivered or not answered. `kind` is the name of a `send-error-kind` case."""

    def __init__(self, target: Address, kind: str) -> None:
        super().__init__(f"{target}: {kind}: {_EXPLANATIONS.get(kind, kind)}")
        self.kind = kind


class Answered(Struct, frozen=True):
    """The response to a request."""

    source: str
    body: bytes
    metadata: str | None
    blob: LazyLoadBlob | None


class NodeSender:
    """Sends requests of the node.

    Args:
        process: the id to send as.
        send: the router's `send`.
    """

    def __init__(self, process: ProcessId, send: Callable[[NodeSender, Send], None]) -> None:
        self.id = process
        self._send = send
        self._waiting: dict[int, asyncio.Future[Response | SendFailure]] = {}
        self._last_ask = 0
        self._failure: SendFailure | None = None

    async def ask(self, target: Address, body: bytes, blob: LazyLoadBlob | None, seconds: int) -> Answered:
        """Send a request and wait `seconds` for its response. If cancelled, the response is discarded.

        Raises:
            NotDelivered: it was not delivered, or not answered in time.
        """
        self._last_ask += 1
        number = self._last_ask
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(self, _request(number, target, body, blob, seconds))
            outcome = await answer
        finally:
            del self._waiting[number]
        if isinstance(outcome, SendFailure):
            raise NotDelivered(target, outcome.kind)
        payload = None if outcome.blob is None else LazyLoadBlob(outcome.mime, outcome.blob)
        return Answered(outcome.source, outcome.body, outcome.metadata, payload)

    def tell(self, target: Address, body: bytes, blob: LazyLoadBlob | None) -> None:
        """Send a request without a response.

        Raises:
            NotDelivered: it was not added to the target's mailbox.
        """
        self._failure = None
        self._send(self, _request(0, target, body, blob, None))
        failure, self._failure = self._failure, None
        if failure is not None:
            raise NotDelivered(target, failure.kind)

    def answer_await(self, handle: int, message: Response | SendFailure, size: int) -> None:
        """See `Sender`."""
        answer = self._waiting.get(handle)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def is_run(self, handle: int) -> bool:
        """See `Sender`. The node has one run."""
        return True

    def post_answer(self, message: Response | SendFailure, size: int) -> bool:
        """See `Sender`. Records the failure of `tell`."""
        if isinstance(message, SendFailure):
            self._failure = message
        return True


def _request(
    number: int, target: Address, body: bytes, blob: LazyLoadBlob | None, seconds: int | None
) -> Send:
    mime, payload = (None, None) if blob is None else (blob.mime, blob.bytes)
    return Send(number, str(target), body, expects_response=seconds, mime=mime, blob=payload, await_id=number)

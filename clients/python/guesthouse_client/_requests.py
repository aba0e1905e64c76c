"""Requests over a channel, which a process answers: the envelope of docs/clients.md. Pure but for futures."""

from __future__ import annotations

import json
from asyncio import Future
from typing import Any, Final

from ._control import Message
from .errors import GuesthouseError, RequestFailed

_ANSWER: Final = '{"response":'
_ANSWER_BYTES: Final = _ANSWER.encode()


class Requests:
    """The requests of one channel that wait for their answers."""

    def __init__(self) -> None:
        self._next = 0
        self._waiting: dict[int, Future[Any]] = {}

    def add(self, answer: Future[Any]) -> int:
        """A request is to be sent. Returns its id."""
        self._next += 1
        self._waiting[self._next] = answer
        return self._next

    def envelope(self, number: int, body: object) -> str:
        """The message of a request."""
        return json.dumps({"request": number, "body": body}, separators=(",", ":"))

    def forget(self, number: int) -> None:
        """Nobody waits for that answer any more; if it comes it is dropped."""
        self._waiting.pop(number, None)

    def take(self, message: Message) -> bool:
        """A message came; whether it is an answer, to a request that was made on this channel."""
        if self._next == 0:
            return False
        if not message.startswith(_ANSWER if isinstance(message, str) else _ANSWER_BYTES):  # type: ignore[arg-type]
            return False
        try:
            fields = json.loads(message)
        except (ValueError, RecursionError):
            return False
        number = fields["response"]
        if type(number) is not int or not 0 < number <= self._next:
            return False
        answer = self._waiting.pop(number, None)
        if answer is not None and not answer.done():
            if "error" in fields:
                answer.set_exception(RequestFailed(str(fields["error"])))
            else:
                answer.set_result(fields.get("body"))
        return True

    def fail(self, error: GuesthouseError) -> None:
        """None of them will be answered."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        self._waiting.clear()

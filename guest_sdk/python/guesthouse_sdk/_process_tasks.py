"""Handlers that wait for answers of other processes while the process handles messages of other channels: `async def
on_message`.
"""

from __future__ import annotations

import inspect
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final

from guesthouse_sdk.errors import SendError
from guesthouse_sdk.log import log_exception
from guesthouse_sdk.message import IncomingResponse
from guesthouse_sdk.messaging import Request
from guesthouse_sdk.routes import ROUTES

if TYPE_CHECKING:
    from guesthouse_sdk.channel import Channel

MAX_WAITING: Final = 256
"""Handlers that wait at once. One more waits as any call of the host: the whole process does, until its answer is
there.
"""
MAX_QUEUED_BYTES: Final = 1 << 20
"""What messages may take that wait for the handler before them on their channel."""
MESSAGE_BYTES: Final = 256
"""What a message counts besides its content."""
_CONTEXT: Final = b"guesthouse_sdk.tasks "
"""Begins the context of the requests that handlers wait for."""
MAY_BE_ASYNC: Final = ("on_open", "on_resume", "on_message")
_MUST_NOT: Final = (
    "on_start on_channel_request on_close on_away on_back on_http on_request on_response on_timer on_handover "
    "on_send_error"
)


@dataclass(slots=True)
class _Call:
    """A handler's call that is to be made."""

    name: str
    make: Callable[[], object]
    failed: Callable[[], object] | None
    size: int


@dataclass(slots=True, eq=False)
class _Task:
    """A handler that was called and is not done."""

    channel: Channel
    call: _Call
    coroutine: Coroutine[Any, Any, object]


class Tasks:
    """The handlers of a process that wait, and the messages that wait for those: each channel's are handled in
    order.
    """

    def __init__(self) -> None:
        self._context = _CONTEXT + f"{secrets.token_hex(8)} ".encode()  # of this run alone
        self._numbers = count()
        self._waiting: dict[bytes, _Task] = {}
        self._queues: dict[Channel, deque[_Call]] = {}  # of the channels that have a task
        self._queued_bytes = 0

    def run(
        self,
        channel: Channel,
        name: str,
        make: Callable[[], object],
        size: int,
        failed: Callable[[], object] | None = None,
    ) -> None:
        """Call a handler, now or after those of its channel before it.

        Args:
            channel: whose event it is.
            name: of the handler.
            make: calls it.
            size: of the message.
            failed: called after it failed.
        """
        call = _Call(name, make, failed, size + MESSAGE_BYTES)
        queue = self._queues.get(channel)
        if queue is None:
            self._queues[channel] = deque((call,))
            self._queued_bytes += call.size
            self._go_on(channel)
        elif self._queued_bytes + call.size > MAX_QUEUED_BYTES:
            channel.close(1013, "too many messages while the process waits")
        else:
            self._queued_bytes += call.size
            queue.append(call)

    def answer(self, answer: IncomingResponse | SendError) -> None:
        """The answer came that a handler waits for, or waited for."""
        task = self._waiting.pop(answer.context or b"", None)
        if task is None:  # its channel was closed, or it is of an earlier run
            return
        error = answer if isinstance(answer, SendError) else None
        if not self._waits(task, None if error else answer, error):
            self._go_on(task.channel)

    def cancel(self, channel: Channel) -> None:
        """A channel is closed: its handler goes no further, and its messages are dropped. A handler that runs
        right now ends at its next `await`.
        """
        queue = self._queues.pop(channel, None)
        if queue is None:
            return
        self._queued_bytes -= sum(call.size for call in queue)
        for context, task in list(self._waiting.items()):
            if task.channel is channel:
                del self._waiting[context]
                _end(task)

    def _go_on(self, channel: Channel) -> None:
        """Call the handlers of a channel until one waits."""
        while (queue := self._queues.get(channel)) is not None:
            if not queue:
                del self._queues[channel]
                return
            call = queue.popleft()
            self._queued_bytes -= call.size
            try:
                result = call.make()
            except Exception as error:
                _fail(call, error)
                continue
            if inspect.iscoroutine(result) and self._waits(_Task(channel, call, result), None, None):
                return

    def _waits(self, task: _Task, value: object, error: Exception | None) -> bool:
        """Let a handler go on; returns whether it waits again, and False when it is done."""
        while True:
            try:
                awaited = task.coroutine.send(value) if error is None else task.coroutine.throw(error)
            except StopIteration:
                return False
            except Exception as problem:
                _fail(task.call, problem)
                return False
            if task.channel not in self._queues:
                _end(task)
                return False
            value, error = None, None
            try:
                if not isinstance(awaited, Request):
                    raise TypeError(f"only a Request can be awaited here, not {type(awaited).__name__}")
                if len(self._waiting) < MAX_WAITING:
                    context = self._context + b"%d" % next(self._numbers)
                    awaited.send_awaited(context)
                    self._waiting[context] = task
                    return True
                value = awaited.send_and_await_response()
            except Exception as problem:
                error = problem


class ProcessTasks:
    """What a `Process` has of asynchronous handlers."""

    _tasks: Tasks | None = None
    _is_async: ClassVar[bool] = False

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._is_async = any(inspect.iscoroutinefunction(getattr(cls, name)) for name in MAY_BE_ASYNC)
        for name in dir(cls):
            method = getattr(cls, name, None)
            if inspect.iscoroutinefunction(method) and (name in _MUST_NOT.split() or hasattr(method, ROUTES)):
                raise TypeError(f"{cls.__name__}.{name} is async: only {', '.join(MAY_BE_ASYNC)} may be")

    def _resumes(self, answer: IncomingResponse | SendError) -> bool:
        """Whether an answer was for a handler that waits, or waited in an earlier run."""
        if answer.context is None or not answer.context.startswith(_CONTEXT):
            return False
        if self._tasks is not None:
            self._tasks.answer(answer)
        return True


def _fail(call: _Call, error: Exception) -> None:
    log_exception(call.name, error)
    if call.failed is not None:
        call.failed()


def _end(task: _Task) -> None:
    """Have a handler run its `finally` and end."""
    try:
        task.coroutine.close()
    except Exception as error:
        log_exception(task.call.name, error)

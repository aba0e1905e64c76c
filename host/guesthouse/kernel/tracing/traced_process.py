"""A process on a node that records traces: it decides which messages from outside are sampled.

Nodes that record none have no such process, so nothing of this is in a message's way there. On others an unsampled
message costs one random number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import random
from typing import Any, Final
from urllib.parse import urlsplit

from guesthouse.core.address import ProcessId
from guesthouse.core.ports import Feeder
from guesthouse.kernel.process.process import Process, Run
from guesthouse.kernel.tracing.spans import SpanKind
from guesthouse.kernel.tracing.tracer import TracedMessage, Tracer
from guesthouse.link import to_worker
from guesthouse.link.schema import Pairs
from guesthouse.link.trace_context import HEADER, TraceContext, parse_traceparent
from guesthouse.link.traced import of_trace

_OF_NODE: Final = ":distro:sys"
"""Requests of the node's own parts come from outside."""


class TracedProcess(Process):
    """See `Process`.

    Args:
        tracer: the node's.
        incoming: what a `traceparent` of an HTTP request is to its trace: see `tracing.incoming`.
    """

    def __init__(self, tracer: Tracer, incoming: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tracer = tracer
        self._incoming = incoming

    def post_push(self, channel_id: int, message_type: int, payload: bytes, feeder: Feeder) -> None:
        """See `ProcessPort`. What is not sampled is posted as `Process` does it, without another call."""
        if random() < self._tracer.ratio:  # noqa: S311 - no secret
            self._post_traced(channel_id, message_type, payload, feeder)
            return
        run, size = self.run, len(payload)
        message = to_worker.Push(0 if run is None else run.handle, channel_id, message_type, payload)
        if run is not None and run.flowing and self.mailbox.pass_push(message, size, feeder):
            run.send(message, size)
        else:
            self.mailbox.post_push(message, size, feeder)
            self._forward()

    def _post_traced(self, channel_id: int, message_type: int, payload: bytes, feeder: Feeder) -> None:
        traced = self._tracer.begin(
            self.id,
            "websocket message",
            SpanKind.SERVER,
            None,
            ("guesthouse.channel", channel_id),
            ("guesthouse.message.bytes", len(payload)),
        )
        message = to_worker.TracedPush(self.handle, channel_id, message_type, payload, traced.told)
        self.mailbox.post_push(message, len(payload), feeder)
        self._forward()

    def _post(self, message: to_worker.ToProcess, size: int) -> None:
        if not self.gone:
            traced = self._begin(message)
            super()._post(message if traced is None else of_trace(message, traced.told), size)

    def _begin(self, message: to_worker.ToProcess) -> TracedMessage | None:
        parent = self._tracer.current
        if isinstance(message, to_worker.Http):
            return self._begin_http(message)
        if isinstance(message, to_worker.Request):
            outside = parent is None and message.source.endswith(_OF_NODE) and self._tracer.samples()
            name, other = "request", message.source
        elif isinstance(message, to_worker.Response):
            outside, name, other = False, "response", message.source
        elif isinstance(message, to_worker.SendFailure):
            outside, name, other = False, f"failure: {message.kind}", message.target
        else:
            return None
        if parent is None and not outside:
            return None
        return self._tracer.begin(self.id, name, SpanKind.CONSUMER, parent, ("guesthouse.other", other))

    def _begin_http(self, message: to_worker.Http) -> TracedMessage | None:
        remote = None if self._incoming == "ignore" else _context(message.headers)
        follows = remote is not None and self._incoming == "follow"
        sampled = remote.sampled if remote is not None and follows else self._tracer.samples()
        if not sampled:
            return None
        return self._tracer.begin(
            self.id,
            f"{message.method} {message.bound_path}",
            SpanKind.SERVER,
            remote if follows else None,
            ("http.request.method", message.method),
            ("http.route", message.bound_path),
            ("url.path", urlsplit(message.url).path),
            link=None if follows else remote,
        )

    def withdraw(self, message: to_worker.ToProcess) -> None:
        """See `Process`."""
        super().withdraw(message)
        for number in _numbers((message,)):
            self._tracer.give_up(number, "could not be sent to the worker")

    def begin_run(self, run: Run, reopen: Callable[[ProcessId], None]) -> None:
        """See `Process`. Messages of channels that are gone are not delivered."""
        super().begin_run(run, reopen)
        self._give_up_except(_numbers(self.mailbox.kept()), "its channel was closed before it was handled")

    def end_run(self, *, worker_lost: bool = False) -> str | None:
        """See `Process`. Messages that were not taken are traced on in the next run."""
        lost = super().end_run(worker_lost=worker_lost)
        self._give_up_except(_numbers(self.mailbox.kept()), "the run ended while it handled the message")
        return lost

    def end(self) -> None:
        """See `Process`."""
        super().end()
        self._give_up_except((), "the process ended before it handled the message")

    def _give_up_except(self, kept: Iterable[int], error: str) -> None:
        for number in set(self._tracer.numbers_of(self.id)).difference(kept):
            self._tracer.give_up(number, error)


def _numbers(messages: Iterable[to_worker.ToProcess]) -> list[int]:
    """The traces of messages."""
    return [message.trace.number for message in messages if hasattr(message, "trace")]


def _context(headers: Pairs) -> TraceContext | None:
    """What the client said; several headers say nothing."""
    found = [value for name, value in headers if name.lower() == HEADER]
    return parse_traceparent(found[0]) if len(found) == 1 else None

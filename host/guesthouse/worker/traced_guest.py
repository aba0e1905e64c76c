"""A guest on a node that records traces. Of most of its messages there is none, and then it is as any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from msgspec import Raw

from guesthouse.link.calls import Call, Outcome
from guesthouse.link.to_node import HttpResponse, Push, PushMany, Respond, Send, ToNode
from guesthouse.link.to_worker import Response, SendFailure
from guesthouse.link.trace_schema import MOST_CHARACTERS, Trace
from guesthouse.link.traced import of_trace
from guesthouse.worker.contract_messages import MessageEncoding
from guesthouse.worker.guest import Guest, WaitingFor
from guesthouse.worker.link import FLUSH_BYTES, LinkWriter
from guesthouse.worker.run_trace import RunTrace


class TracedGuest(Guest):
    """While it handles a message of a trace, what it sends is of that trace, too, and its calls are recorded."""

    __slots__ = ("_output", "trace")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.trace: RunTrace | None = None
        self._output = self.outgoing
        self.may_batch = False  # each call is recorded

    def begin_trace(self, trace: Trace) -> None:
        """See `Guest`."""
        self.trace = RunTrace(trace, self.cpu_seconds)
        self.log.trace = trace.number
        self.outgoing = cast(LinkWriter, _TracedOutput(self._output, self.trace))

    def end_trace(self, error: str | None = None) -> None:
        """See `Guest`."""
        if self.trace is None:
            return
        report = self.trace.report(self.handle, self.cpu_seconds, error)
        self.trace, self.outgoing, self.log.trace = None, self._output, 0
        self.outgoing.add(report, MOST_CHARACTERS)

    def receive(self, encoding: MessageEncoding[Guest]) -> Any:
        """See `Guest`."""
        if self.trace is not None:
            self.end_trace()
        return super().receive(encoding)

    def tell(self, message: ToNode) -> None:
        """See `Guest`."""
        trace = self.trace
        if trace is not None and isinstance(message, Send | Respond | HttpResponse):
            message = of_trace(message, trace.number, trace.span_id)
        super().tell(message)

    def call_node(self, call: Call, convert: Callable[[Outcome], Any]) -> Any:
        """See `Guest`."""
        pending = super().call_node(call, convert)
        if self.trace is not None:
            self.trace.call_begins(str(type(call).__struct_config__.tag))
        return pending

    def await_response(self, encoding: MessageEncoding[Guest]) -> int:
        """See `Guest`."""
        if self.trace is not None:
            self.trace.call_begins("send-and-await-response")
        return super().await_response(encoding)

    def sleep_until(self, when: float, produce: Callable[[], Any]) -> Any:
        """See `Guest`."""
        if self.trace is not None:
            self.trace.call_begins("sleep")
        return super().sleep_until(when, produce)

    def reply(self, call_id: int, outcome: Outcome) -> None:
        """See `Guest`."""
        waiting = self.waiting
        super().reply(call_id, outcome)
        self._call_may_end(waiting)

    def respond(self, message: Response | SendFailure) -> None:
        """See `Guest`."""
        waiting = self.waiting
        super().respond(message)
        self._call_may_end(waiting)

    def wake_from_sleep(self) -> None:
        """See `Guest`."""
        waiting = self.waiting
        super().wake_from_sleep()
        self._call_may_end(waiting)

    def _call_may_end(self, waited: WaitingFor) -> None:
        if self.trace is not None and self.waiting is not waited:
            self.trace.call_ends()


class _TracedOutput:
    """Takes the place of a guest's `LinkWriter`: pushes are of the trace."""

    __slots__ = ("_output", "_trace", "add_large", "note_consumer")

    def __init__(self, output: LinkWriter, trace: RunTrace) -> None:
        self._output = output
        self._trace = trace
        self.add_large, self.note_consumer = output.add_large, output.note_consumer

    def add(self, message: ToNode | Raw, payload_bytes: int = 0) -> None:
        if isinstance(message, Push | PushMany) and payload_bytes <= FLUSH_BYTES:  # else it goes in pieces
            message = of_trace(message, self._trace.number, self._trace.span_id)
        self._output.add(message, payload_bytes)

"""Carries out what workers send of traces: the same as without, in the span that they name, which is checked."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any, Final

from guesthouse.core.ports import HttpServerPort, LogPort
from guesthouse.kernel.messaging.replies import Replies
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.messaging.sender import Sender
from guesthouse.kernel.messaging.worker_operations import log_line
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.tracing.reports import check, spans_of
from guesthouse.kernel.tracing.tracer import TracedMessage, Tracer
from guesthouse.link import to_node
from guesthouse.link.frames import LinkError
from guesthouse.link.schema import Message
from guesthouse.link.to_worker import Response, SendFailure

Handlers = dict[type[Message], Callable[[Process, Any], None]]


class TracedOperations:
    """The handlers of `WorkerOperations` for messages of traces.

    Args:
        tracer: the node's.
        router: delivers messages.
        http: carries out pushes.
        log: the node's.
    """

    def __init__(self, tracer: Tracer, router: Router, http: HttpServerPort, log: LogPort) -> None:
        self._tracer = tracer
        self._log = log
        self._router = router
        self._http = http
        self.handlers: Final[Handlers] = {
            to_node.PushInTrace: self._push,
            to_node.PushManyInTrace: self._push_many,
            to_node.HttpResponseInTrace: self._http_response,
            to_node.SendInTrace: self._send,
            to_node.RespondInTrace: self._respond,
            to_node.TraceReport: self._report,
            to_node.LogLine: self._log_line,
        }

    def _under_way(self, process: Process, number: int) -> TracedMessage | None:
        message = self._tracer.under_way(number)
        if message is not None and message.process != process.id:
            raise LinkError(f"a worker names a trace that {process.id} has no part in")
        return message

    def _push(self, process: Process, push: to_node.PushInTrace) -> None:
        message, begun = self._under_way(process, push.trace), time_ns()
        with self._tracer.within(self._tracer.context_of(process.id, push.trace)):
            self._http.push(process.id, push.channel_id, push.message_type, push.payload)
        if message is not None:
            attributes = (
                ("guesthouse.channel", push.channel_id),
                ("guesthouse.message.bytes", len(push.payload)),
            )
            self._tracer.push(message, "push", push.span, begun, *attributes)

    def _push_many(self, process: Process, push: to_node.PushManyInTrace) -> None:
        message, begun = self._under_way(process, push.trace), time_ns()
        with self._tracer.within(self._tracer.context_of(process.id, push.trace)):
            self._http.push_many(process.id, push.channel_ids, push.message_type, push.payload)
        if message is not None:
            attributes = (
                ("guesthouse.channels", len(push.channel_ids)),
                ("guesthouse.message.bytes", len(push.payload)),
            )
            self._tracer.push(message, "push to many", push.span, begun, *attributes)

    def _http_response(self, process: Process, response: to_node.HttpResponseInTrace) -> None:
        message, begun = self._under_way(process, response.trace), time_ns()
        with self._tracer.within(self._tracer.context_of(process.id, response.trace)):
            self._http.http_response(
                *(process.id, response.http_id, response.status),
                *(response.headers, response.mime, response.body),
            )
        if message is not None:
            status = ("http.response.status_code", response.status)
            if not message.pushes:
                message.attributes.append(status)
            self._tracer.push(message, "HTTP response", response.span, begun, status)

    def _send(self, process: Process, sent: to_node.SendInTrace) -> None:
        self._under_way(process, sent.trace)
        with self._tracer.within(self._tracer.context_of(process.id, sent.trace, sent.span)):
            self._router.send(process, sent)

    def _respond(self, process: Process, response: to_node.RespondInTrace) -> None:
        self._under_way(process, response.trace)
        with self._tracer.within(self._tracer.context_of(process.id, response.trace, response.span)):
            self._router.respond(process, response)

    def _log_line(self, process: Process, line: to_node.LogLine) -> None:
        context = self._tracer.context_of(process.id, line.trace) if line.trace else None
        with self._tracer.within(context):
            log_line(self._log, process, line)

    def _report(self, process: Process, report: to_node.TraceReport) -> None:
        message = self._under_way(process, report.trace)
        if message is None:
            return  # it was given up
        check(message, report)
        now = time_ns()
        worker = "" if process.run is None else process.run.worker
        spans = spans_of(message, report, worker, now)
        self._tracer.finish(message, spans, min(report.ended, now), report.error)


class TracedReplies(Replies):
    """Responses and failures that come when nothing of a trace is being handled, such as those of runtime modules and
    time-outs, are of the trace of their request.
    """

    tracer: Tracer

    def _hand_back(
        self, sender: Sender, sent: to_node.Send, message: Response | SendFailure, size: int
    ) -> None:
        tracer = self.tracer
        if tracer.current is not None or not isinstance(sent, to_node.SendInTrace):
            super()._hand_back(sender, sent, message, size)
            return
        with tracer.within(tracer.context_of(sender.id, sent.trace, sent.span)):
            super()._hand_back(sender, sent, message, size)

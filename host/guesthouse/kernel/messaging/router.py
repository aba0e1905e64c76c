"""Routes messages between the processes and runtime modules of a node, and to other nodes.

The router sets the source of every message, so no process can impersonate another. A message that cannot be delivered
is returned to its sender at once, whole, with the reason. Requests that await a response are tracked by
`kernel/messaging/request_tracker.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from guesthouse.core.address import HTTP_SERVER, Address, ProcessId, canonical
from guesthouse.core.capabilities import Capability
from guesthouse.core.config import Settings
from guesthouse.core.messages import LazyLoadBlob, Response, SendErrorKind
from guesthouse.core.ports import Answer, HttpServerPort, LogPort, RouterPort
from guesthouse.core.timing.clock import Clock
from guesthouse.kernel.capabilities.authorizer import Authorizer
from guesthouse.kernel.messaging.module_messages import ModuleMessages
from guesthouse.kernel.messaging.modules import Module
from guesthouse.kernel.messaging.node_requests import NodeRequests
from guesthouse.kernel.messaging.node_sender import TERMINAL, NodeSender
from guesthouse.kernel.messaging.pending_requests import PendingRequest
from guesthouse.kernel.messaging.replies import Refusal, Replies
from guesthouse.kernel.messaging.sender import (
    RemotePort,
    Sender,
    address_of,
    at_node,
    blob_of,
    size_of,
    size_violation,
)
from guesthouse.kernel.process.handed_mailbox import HandedRequest
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import as_pairs, read_all
from guesthouse.link import to_worker
from guesthouse.link.frames import LinkError
from guesthouse.link.schema import ExitRequest
from guesthouse.link.to_node import Respond, Send

_NOTHING_TO_SAY: Final = (b'{"Ok": null}', b'{"Ok": []}')
"""Responses of the HTTP server that are only sent if one is expected; errors always are."""
_REFUSED: Final = b'{"Err"'
"""Prefix of an error response of the HTTP server: it goes to the sender of the request, even if that inherits."""


class Router(NodeRequests):
    """All processes of a node by id. Implements `guesthouse.core.ports.RouterPort`.

    Needs a running event loop; `close` stops its timer.

    Args:
        settings: the node's.
        log: the node's log.
        http: makes the node's HTTP server, which finds processes by this router.
        replies: returns responses and failures.
    """

    def __init__(
        self,
        settings: Settings,
        log: LogPort,
        http: Callable[[RouterPort], HttpServerPort],
        clock: Clock | None = None,
        replies: Replies | None = None,
    ) -> None:
        self._replies = replies or Replies(log)
        super().__init__(settings, self._replies, clock or Clock())
        self._log = log
        self._of_package: Counter[str] = Counter()
        """The number of processes of each package."""
        self._modules = ModuleMessages(settings.node, self._requests, log)
        self.terminal = self.asker(TERMINAL)
        self.rights = Authorizer(settings.node, settings.process.state_bytes, log)
        self.remote: RemotePort | None = None
        """Connection to other nodes, if any; set by `Node.join`."""
        self.http = http(self)

    def answers_wait(self, process: ProcessId) -> bool:
        """Whether anybody waits for an answer of it."""
        return self._requests.pending.held_by(process)

    @property
    def message_bytes(self) -> int:
        """Maximum bytes of a body or blob."""
        return self._limits.message_bytes

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._node

    def find(self, process: ProcessId, client: str = "") -> Process | None:
        """The process of that id, running or being restarted."""
        return self._processes.get(canonical(process))

    def is_away(self, process: ProcessId) -> bool:
        """Never, of this node's processes."""
        return False

    def is_expected(self, process: ProcessId) -> bool:
        """Never, of this node's processes."""
        return False

    def has_package(self, package_id: str) -> bool:
        """Whether a process is of that package."""
        return package_id in self._of_package

    def processes(self) -> Sequence[Process]:
        """All processes that are not gone."""
        return list(self._processes.values())

    def asker(self, process: ProcessId) -> NodeSender:
        """Make a sender for the node itself, with an unused id."""
        asker = self._askers[process] = NodeSender(process, self.send)
        return asker

    def add_module(self, module: Module) -> None:
        """Add a runtime module, before the first process."""
        self._modules.add(module)

    def add(self, process: Process) -> None:
        """Add a process. Its id must be unused."""
        self._processes[process.id] = process
        self._of_package[process.id.package_id] += 1

    def remove(self, process: Process) -> None:
        """Remove a process that is gone. Requests that it holds fail, and those that it sent are dropped, over several
        iterations of the loop if there are many.
        """
        del self._processes[process.id]
        package = process.id.package_id
        self._of_package[package] -= 1
        if not self._of_package[package]:
            del self._of_package[package]
        self.rights.take_back(process.id)
        self._requests.sender_is_gone(process.id)

    def run_ended(self, process: Process) -> None:
        """A run of a process ended: requests that it consumed and did not answer fail, including HTTP requests. Those
        in its mailbox wait for the next run.
        """
        requests, http_requests = set(), set()
        for message in process.mailbox.kept():
            if isinstance(message, to_worker.Request):
                requests.add(message.request_id)
            elif isinstance(message, to_worker.Http):
                http_requests.add(message.http_id)
        self._requests.run_ended(process.id, requests)
        self.http.run_ended(process.id, http_requests)

    def all_ended(self) -> None:
        """All processes ended because the node is stopping: fail what is pending now."""
        self._requests.finish()

    # The next run of the node.

    @property
    def anyone_blocks(self) -> bool:
        """Whether a process blocks on a request."""
        return self._requests.anyone_blocks

    def handover_bytes(self) -> int:
        """About what mailboxes and requests take that are handed over."""
        requests = sum(waiting.size for waiting in self._requests.pending.all())
        return requests + sum(process.mailbox.size for process in self._processes.values())

    def hand_over(self) -> list[HandedRequest]:
        """The requests of processes that are not answered, after all runs ended; those that cannot be are not there."""
        return self._requests.hand_over(lambda each: each in self._processes or each in self._modules)

    def take_over(self, requests: Iterable[HandedRequest], away_seconds: float) -> dict[int, int]:
        """Wait for responses that the node's run before had left, before the first process is there. Returns the ids
        of the requests by those that they had. Modules answer after `go_on`.

        Raises:
            BadProcessId: a request is of nobody.
        """
        ids = {}
        for handed in requests:
            left = max(0.0, handed.left_seconds - away_seconds)
            waiting = self._requests.take_over(handed, left)
            ids[handed.id] = waiting.id
            self._modules.take_over(waiting, handed.sent, left)
        return ids

    def go_on(self) -> None:
        """All processes are there: modules answer what was taken over."""
        self._modules.go_on()

    def close(self) -> None:
        """Stop the timer of pending requests."""
        self._requests.close()

    def send(self, sender: Sender, sent: Send) -> None:
        """Deliver a message of a process.

        Raises:
            LinkError: the worker violates the protocol.
        """
        if sent.await_id and sent.expects_response is None:
            raise LinkError("a worker awaits a request that expects no response")
        target = address_of(sent.target)
        if target is None:
            self._replies.give_back(sender, sent, "no-such-process")
        elif target.node != self._node:
            self._to_other_node(sender, sent, target)
        elif canonical(target.process) == HTTP_SERVER:
            if isinstance(sender, Process) and sender.gone:
                return  # sent by its on-exit: a binding would never be removed
            missing = self.rights.missing_to_message(sender, HTTP_SERVER)
            if missing is None:
                self._to_http_server(sender, sent)
            else:
                self._replies.give_back(sender, sent, missing)
        elif (module := self._modules.find(target.process)) is not None:
            self._to_module(sender, sent, module)
        else:
            self._to_process(sender, sent, target.process)

    def _to_other_node(self, sender: Sender, sent: Send, target: Address) -> None:
        if self.remote is None:
            text = f"a request to {target} was refused: node {self._node} is not connected to other nodes"
            self._log.write(str(sender.id), "warning", text)
            self._replies.give_back(sender, sent, "offline")
            return
        missing = self.rights.missing(sender, self.rights.network, f"a request to {target}")
        refusal = missing or self._check_limits(sender, target.process, sent)
        if refusal is not None:
            self._replies.give_back(sender, sent, refusal)
            return
        request_id = self._request_id(sender, at_node(target.node), sent)
        unsent = self.remote.send(sender, sent, target, request_id)
        if unsent is not None:
            if sent.expects_response is not None:
                self.forget(request_id)
            self._replies.give_back(sender, sent, unsent)

    def send_on_exit(self, sender: Process, requests: Iterable[ExitRequest]) -> None:
        """Send the on-exit requests of a process that is gone."""
        for left in requests:
            self.send(sender, Send(0, left.target, left.body, mime=left.mime, blob=left.blob))

    def respond(self, responder: Process, response: Respond) -> None:
        """Deliver a response of a process.

        Raises:
            LinkError: the process did not receive that request.
        """
        waiting = self._requests.pending.get(response.request_id)
        if waiting is None:
            self._log.write(str(responder.id), "debug", "a response was dropped: it came too late")
            return
        if not self._requests.pending.holds(waiting, responder.id):
            raise LinkError(f"a worker answers a request that {responder.id} did not receive")
        answered = self._requests.settle(waiting)
        source = f"{self._node}@{responder.id}"
        payload = None if response.blob is None else LazyLoadBlob(response.mime, response.blob)
        if answered is not None:
            rights = read_all(self.rights.handed_on(responder, None, response.capabilities))
            answered(Answer(response.body, response.metadata, payload, source, tuple(rights)))
            return
        sender = self._requests.sender(waiting)
        if sender is not None and waiting.sent is not None:
            handed = self.rights.handed_on(responder, sender, response.capabilities)
            answer = Response(response.body, response.inherit, response.metadata)
            self._replies.answer(sender, waiting.sent, source, answer, payload, handed)

    # For other nodes.

    def asker_of(self, node: str, request_id: int) -> ProcessId | None:
        """The sender of a request that was sent to a node, if it is pending."""
        waiting = self._pending_at(node, request_id)
        return None if waiting is None else waiting.sender

    def answered_by(self, node: str, request_id: int, outcome: Answer | Refusal) -> bool:
        """Another node reports the outcome of a request; False if that is not pending."""
        waiting = self._pending_at(node, request_id)
        if waiting is None:
            return False
        answered, sender = self._requests.settle(waiting), self._requests.sender(waiting)
        if answered is not None:
            answered("not-authorised" if isinstance(outcome, Capability) else outcome)
        elif sender is None or waiting.sent is None:
            pass  # the sender ended meanwhile
        elif isinstance(outcome, Answer):
            self._remote_answer(sender, waiting.sent, outcome)
        else:
            self._replies.give_back(sender, waiting.sent, outcome)
        return True

    def node_lost(self, node: str) -> None:
        """The session with another node ended: requests that it has not answered fail, over several iterations of the
        loop if there are many.
        """
        self._requests.node_lost(at_node(node))

    def _pending_at(self, node: str, request_id: int) -> PendingRequest | None:
        waiting = self._requests.pending.get(request_id)
        return None if waiting is None or at_node(node) not in waiting.holders else waiting

    def _remote_answer(self, sender: Sender, sent: Send, answer: Answer) -> None:
        if isinstance(sender, Process):
            sender.holdings.receive(answer.capabilities, answer.source)
        response = Response(answer.body, metadata=answer.metadata)
        self._replies.answer(
            sender, sent, answer.source, response, answer.blob, as_pairs(answer.capabilities)
        )

    def _to_process(self, sender: Sender, sent: Send, target: ProcessId) -> None:
        receiver = self._processes.get(canonical(target))
        if receiver is None:
            self._replies.give_back(sender, sent, "no-such-process")
            return
        refusal = self._refusal(sender, receiver, sent)
        if refusal is not None:
            self._replies.give_back(sender, sent, refusal)
            return
        request = to_worker.Request(
            receiver.handle,
            self._request_id(sender, receiver.id, sent),
            f"{self._node}@{sender.id}",
            sent.body,
            sent.inherit,
            sent.expects_response,
            sent.metadata,
            sent.mime,
            sent.blob,
            self.rights.handed_on(sender, receiver, sent.capabilities),
        )
        receiver.post_request(request, size_of(sent))

    def _refusal(self, sender: Sender, receiver: Process, sent: Send) -> Refusal | None:
        if not receiver.public and receiver.id.package_id != sender.id.package_id:
            missing = self.rights.missing_to_message(sender, receiver.id)
            if missing is not None:
                return missing
        return self._check_limits(sender, receiver.id, sent) or (
            "mailbox-full" if receiver.mailbox.refuses() else None
        )

    def _check_limits(self, sender: Sender, receiver: ProcessId, sent: Send) -> SendErrorKind | None:
        """Check the limits on message size and pending requests; logs a violation."""
        waiting = self._requests.pending.size_of(sender.id)
        problem = size_violation(sent, receiver, waiting, self._limits)
        if problem is None:
            return None
        self._log.write(str(sender.id), "warning", problem)
        return "mailbox-full"

    def _request_id(self, sender: Sender, receiver: ProcessId, sent: Send) -> int:
        if sent.inherit and sent.inherited_id < 0 and sent.expects_response is None:
            return self._hand_on_http(sender, -sent.inherited_id, receiver)
        return self._requests.add(sender, sent, receiver)

    def _hand_on_http(self, sender: Sender, http_id: int, receiver: ProcessId) -> int:
        """Let the receiver answer an HTTP request of the sender. Returns the request's id, or 0."""
        pending = self._requests.pending
        waiting = pending.get(self.http.hand_on_http(sender.id, http_id))
        if waiting is None:
            return 0
        pending.hold(waiting, receiver)
        return waiting.id

    def _to_http_server(self, sender: Sender, sent: Send) -> None:
        inherited = self._requests.inherited(sender, sent)
        body = self.http.request(
            Address(self._node, sender.id),
            sent.body,
            blob_of(sent),
            lambda: self._requests.add(sender, sent, HTTP_SERVER),
        )
        if body is None:
            return
        if inherited is not None and not body.startswith(_REFUSED):
            self._requests.answer(inherited, f"{self._node}@{HTTP_SERVER}", body, None)
        elif sent.expects_response is not None or body not in _NOTHING_TO_SAY:
            self._replies.answer(sender, sent, f"{self._node}@{HTTP_SERVER}", Response(body), None)

    def _to_module(self, sender: Sender, sent: Send, module: Module) -> None:
        refusal = self.rights.missing_to_message(sender, module.id) or self._check_limits(
            sender, module.id, sent
        )
        if refusal is None:
            self._modules.send(sender, sent, module)
        else:
            self._replies.give_back(sender, sent, refusal)

    def undelivered(self, request_id: int) -> None:
        """Fail a request that could not be sent to its receiver's worker."""
        self._requests.fail(request_id, "mailbox-full")

"""Requests to processes that no process of this node sent: of the HTTP server, of pages, and of other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from guesthouse.core.address import HTTP_SERVER, RPC, Address, ProcessId, canonical
from guesthouse.core.capabilities import Capability
from guesthouse.core.config import Settings
from guesthouse.core.messages import LazyLoadBlob, Request, SendErrorKind
from guesthouse.core.ports import Answer, ChannelFeeder
from guesthouse.core.timing.clock import Clock
from guesthouse.kernel.messaging.node_sender import NodeSender
from guesthouse.kernel.messaging.pending_requests import LONGEST_WAIT
from guesthouse.kernel.messaging.replies import Replies
from guesthouse.kernel.messaging.request_tracker import RequestTracker
from guesthouse.kernel.messaging.sender import Sender, at_node
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import as_pairs
from guesthouse.link import to_worker


class NodeRequests:
    """Base of the `Router`. Needs a running event loop.

    Args:
        settings: the node's.
        replies: returns responses and failures.
        clock: the time that time-outs go by.
    """

    def __init__(self, settings: Settings, replies: Replies, clock: Clock) -> None:
        self._node = settings.node
        self._limits = settings.process
        self._processes: dict[ProcessId, Process] = {}
        self._askers: dict[ProcessId, NodeSender] = {}
        self._requests = RequestTracker(replies, self._sender, clock)

    def _sender(self, process: ProcessId) -> Sender | None:
        return self._processes.get(process) or self._askers.get(process)

    def request(
        self,
        process: ProcessId,
        request: Request,
        blob: LazyLoadBlob | None,
        answered: Callable[[Answer | SendErrorKind], None],
        feeder: ChannelFeeder | None = None,
    ) -> SendErrorKind | None:
        """See `ports.RouterPort`."""
        sent = self._deliver(process, request, blob, answered, feeder)
        return sent if isinstance(sent, str) else None

    def deliver(
        self,
        process: ProcessId,
        request: Request,
        blob: LazyLoadBlob | None,
        answered: Callable[[Answer | SendErrorKind], None],
        *,
        source: Address,
        rights: Sequence[Capability],
    ) -> SendErrorKind | None:
        """Deliver a request of a process of another node.

        Args:
            process: the receiver.
            request: the request.
            blob: its blob.
            answered: called once, later, with the outcome, if a response is expected.
            source: the sender.
            rights: capabilities passed with it.

        Returns:
            None, or why it was not delivered.
        """
        sent = self._deliver(process, request, blob, answered, None, source, rights)
        return sent if isinstance(sent, str) else None

    async def ask(
        self, process: ProcessId, request: Request, blob: LazyLoadBlob | None
    ) -> Answer | SendErrorKind | None:
        """See `ports.RouterPort`."""
        future: asyncio.Future[Answer | SendErrorKind] = asyncio.get_running_loop().create_future()
        source = Address(self._node, RPC)
        request_id = self._deliver(process, request, blob, future.set_result, None, source)
        if isinstance(request_id, str):
            return request_id
        if not request_id:
            return None
        try:
            return await future
        finally:
            self.forget(request_id)

    def expect(self, answered: Callable[[Answer | SendErrorKind], None]) -> int:
        """See `ports.RouterPort`."""
        return self._requests.expect(HTTP_SERVER, LONGEST_WAIT, answered).id

    def forget(self, request_id: int) -> None:
        """See `ports.RouterPort`."""
        self._requests.forget(request_id)

    def answer(self, request_id: int, asker: ProcessId, body: bytes, blob: LazyLoadBlob | None) -> bool:
        """See `ports.RouterPort`."""
        pending = self._requests.pending
        waiting = pending.get(request_id)
        if waiting is None or not pending.holds(waiting, HTTP_SERVER):
            return False
        if waiting.sender != asker and not pending.holds(waiting, asker):
            return False
        self._requests.answer(waiting, f"{self._node}@{HTTP_SERVER}", body, blob)
        return True

    def _deliver(
        self,
        process: ProcessId,
        request: Request,
        blob: LazyLoadBlob | None,
        answered: Callable[[Answer | SendErrorKind], None],
        feeder: ChannelFeeder | None,
        source: Address | None = None,
        rights: Sequence[Capability] = (),
    ) -> int | SendErrorKind:
        """Deliver a request of the HTTP server or of `source`; returns its id, or 0 if no response is expected."""
        receiver = self._processes.get(canonical(process))
        if receiver is None:
            return "no-such-process"
        mime, payload = (None, None) if blob is None else (blob.mime, blob.bytes)
        size = len(request.body) + len(payload or b"") + len(request.metadata or "")
        if feeder is None and receiver.mailbox.refuses():
            return "mailbox-full"
        asker = HTTP_SERVER
        if source is not None:
            asker = source.process if source.node == self._node else at_node(source.node)
        if self._requests.pending.size_of(asker) > self._limits.outstanding_bytes:
            return "mailbox-full"
        seconds, request_id = request.expects_response, 0
        if seconds is not None:
            waiting = self._requests.expect(asker, seconds, answered)
            self._requests.pending.hold(waiting, receiver.id)
            request_id = waiting.id
        sender = str(source or Address(self._node, HTTP_SERVER))
        message = to_worker.Request(
            receiver.handle,
            request_id,
            sender,
            request.body,
            request.inherit,
            seconds,
            request.metadata,
            mime,
            payload,
            as_pairs(rights),
        )
        receiver.holdings.receive(rights, sender)
        receiver.post_request(message, size)
        if feeder is not None:
            receiver.mailbox.hold_back(feeder.channel_id, feeder)
        return request_id

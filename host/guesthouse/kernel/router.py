"""Messages between the processes of a node, and to its runtime modules.

The router stamps the source of every message, so no process can claim to be another. What cannot be
delivered is given back to its sender at once, whole, with the reason. Requests that wait for their
response share one table and one timer (`kernel/requests.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from guesthouse.address import HTTP_SERVER, Address, ProcessId, canonical
from guesthouse.config import Settings
from guesthouse.errors import BadAddress
from guesthouse.kernel.mailbox import Operation
from guesthouse.kernel.process import Process
from guesthouse.kernel.requests import LONGEST_WAIT, Requests, Waiting
from guesthouse.link.frames import LinkError
from guesthouse.link.ops import ToWorker
from guesthouse.message import LazyLoadBlob, SendErrorKind
from guesthouse.ports import HttpServerPort, LogPort

_LONGEST_TARGET: Final = 1024
_NOTHING_TO_SAY: Final = b'{"Ok"'


class Router:
    """All processes of a node by their id. Implements `guesthouse.ports.RouterPort`.

    Needs a running event loop for its one timer; `close` cancels it.
    """

    http: HttpServerPort
    """The node's HTTP server, which is made after the router and set before the first process."""

    def __init__(self, settings: Settings, log: LogPort) -> None:
        self._node = settings.node
        self._limits = settings.process
        self._log = log
        self._processes: dict[ProcessId, Process] = {}
        self._requests = Requests()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._node

    def find(self, process: ProcessId) -> Process | None:
        """The process of that id, running or being restarted."""
        return self._processes.get(canonical(process))

    def processes(self) -> Sequence[Process]:
        """All processes that are not gone."""
        return list(self._processes.values())

    def add(self, process: Process) -> None:
        """Make a process known. Its id must be free."""
        self._processes[process.id] = process

    def remove(self, process: Process) -> None:
        """A process will not return: who waits for it learns so, and what it waited for is forgotten."""
        del self._processes[process.id]
        self._requests.drop_sender(process.id, awaited_only=False)
        self._fail_all(self._requests.drop_holder(process.id, set()))

    def run_ended(self, process: Process) -> None:
        """A run of a process ended: requests that it took and did not answer fail; those in its mailbox
        wait for the next run.
        """
        kept = {operation[2] for operation in process.mailbox.kept() if operation[0] == ToWorker.REQUEST}
        self._requests.drop_sender(process.id, awaited_only=True)
        self._fail_all(self._requests.drop_holder(process.id, kept))

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def send(self, sender: Process, sent: Operation) -> None:
        """Carry out a SEND of a process.

        Raises:
            LinkError: no correct worker sends this.
        """
        expects_response, await_id = sent[5], sent[10]
        if await_id and expects_response is None:
            raise LinkError("a worker awaits a request that expects no response")
        target = _address(sent[2])
        if target is None:
            self._give_back(sender, sent, "no-such-process")
        elif target.node != self._node:
            self._log.write(
                str(sender.id),
                "warning",
                f"a request to {target} was refused: node {self._node} is not connected to other nodes",
            )
            self._give_back(sender, sent, "offline")
        elif canonical(target.process) == HTTP_SERVER:
            self._to_http_server(sender, sent)
        else:
            self._to_process(sender, sent, target.process)

    def send_on_exit(self, sender: Process, requests: Iterable[Sequence[Any]]) -> None:
        """Send the requests that a process left for its end. It is gone, so no answer comes to anyone."""
        for target, body, _, mime, blob in requests:
            self.send(sender, [0, 0, target, body, False, None, None, None, mime, blob, 0, 0])

    def respond(self, responder: Process, operation: Operation) -> None:
        """Carry out a RESPOND of a process.

        Raises:
            LinkError: the process never received that request.
        """
        _, _, request_id, body, inherit, metadata, mime, blob = operation
        waiting = self._requests.get(request_id)
        if waiting is None:
            self._log.write(str(responder.id), "debug", "a response came too late and was dropped")
            return
        if responder.id not in waiting.holders:
            raise LinkError(f"a worker answers a request that {responder.id} did not receive")
        self._requests.settle(waiting)
        sender = self._processes.get(waiting.sender)
        if sender is not None:
            source = f"{self._node}@{responder.id}"
            self._answer(sender, waiting.sent, source, [body, inherit, metadata], mime, blob)

    def _to_process(self, sender: Process, sent: Operation, target: ProcessId) -> None:
        receiver = self._processes.get(canonical(target))
        if receiver is None:
            self._give_back(sender, sent, "no-such-process")
            return
        refusal = self._refusal(sender, receiver, sent)
        if refusal is not None:
            self._give_back(sender, sent, refusal)
            return
        _, _, _, body, inherit, expects_response, metadata, _, mime, blob, _, _ = sent
        request_id = self._request_id(sender, receiver, sent)
        source = f"{self._node}@{sender.id}"
        request = [body, inherit, expects_response, metadata, mime, blob]
        receiver.post_request([int(ToWorker.REQUEST), 0, request_id, source, *request], _size(sent))

    def _refusal(self, sender: Process, receiver: Process, sent: Operation) -> SendErrorKind | None:
        if not receiver.public and receiver.id.package_id != sender.id.package_id:
            return "not-authorised"
        limit = self._limits.message_bytes
        if len(sent[3]) > limit or len(sent[9] or b"") > limit or _size(sent) > 3 * limit:
            self._log.write(
                str(sender.id), "warning", f"a request to {receiver.id} is over the limit of {limit} bytes"
            )
            return "mailbox-full"
        if receiver.mailbox.full:
            return "mailbox-full"
        if sent[5] is not None and self._requests.size_of(sender.id) > self._limits.outstanding_bytes:
            self._log.write(
                str(sender.id),
                "warning",
                "a request was refused: too many of its requests wait for a response",
            )
            return "mailbox-full"
        return None

    def _request_id(self, sender: Process, receiver: Process, sent: Operation) -> int:
        expects_response, inherited_id = sent[5], sent[11]
        if expects_response is not None:
            deadline = self._loop.time() + min(expects_response, LONGEST_WAIT)
            waiting = self._requests.add(sender.id, sent[1], sent, _size(sent), deadline)
            waiting.holders.add(receiver.id)
            self._arm()
            return waiting.id
        inherited = self._requests.get(inherited_id) if sent[4] else None
        if inherited is None:
            return 0
        if sender.id not in inherited.holders:
            raise LinkError(f"a worker inherits a request that {sender.id} did not receive")
        inherited.holders.add(receiver.id)
        return inherited.id

    def _to_http_server(self, sender: Process, sent: Operation) -> None:
        blob = None if sent[9] is None else LazyLoadBlob(sent[8], sent[9])
        body = self.http.request(Address(self._node, sender.id), sent[3], blob)
        if sent[5] is not None or not body.startswith(_NOTHING_TO_SAY):
            self._answer(sender, sent, f"{self._node}@{HTTP_SERVER}", [body, False, None], None, None)

    def _answer(
        self,
        sender: Process,
        sent: Operation,
        source: str,
        response: list[Any],
        mime: str | None,
        blob: bytes | None,
    ) -> None:
        context, await_id = sent[7], sent[10]
        size = len(response[0]) + len(blob or b"") + len(context or b"") + len(response[2] or "")
        operation = [int(ToWorker.RESPONSE), 0, source, *response, context, mime, blob, await_id]
        self._hand_back(sender, sent, operation, size)

    def _give_back(self, sender: Process, sent: Operation, kind: SendErrorKind) -> None:
        operation = [int(ToWorker.SEND_FAILURE), 0, kind, *sent[2:11]]
        self._hand_back(sender, sent, operation, _size(sent))

    def _hand_back(self, sender: Process, sent: Operation, operation: Operation, size: int) -> None:
        if sent[10]:
            sender.answer_await(sent[1], operation, size)
        elif not sender.post_answer(operation, size):
            what = ToWorker(operation[0]).name.lower().replace("_", " ")
            self._log.write(
                str(sender.id),
                "error",
                f"a {what} for it is lost: its mailbox is twice over its limit, it sends and does not receive",
            )

    def _fail_all(self, orphans: Iterable[Waiting]) -> None:
        for waiting in orphans:
            self._fail(waiting, "no-such-process")

    def _fail(self, waiting: Waiting, kind: SendErrorKind) -> None:
        sender = self._processes.get(waiting.sender)
        if sender is not None:
            self._give_back(sender, waiting.sent, kind)

    def _arm(self) -> None:
        deadline = self._requests.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        for waiting in self._requests.expire(self._loop.time()):
            self._fail(waiting, "timeout")
        self._arm()


def _address(text: str) -> Address | None:
    if len(text) > _LONGEST_TARGET:
        return None
    try:
        return Address.parse(text)
    except BadAddress:
        return None


def _size(sent: Operation) -> int:
    """Bytes of a SEND that the sender chose."""
    _, _, target, body, _, _, metadata, context, mime, blob, _, _ = sent
    return (
        len(target)
        + len(body)
        + len(metadata or "")
        + len(context or b"")
        + len(mime or "")
        + len(blob or b"")
    )

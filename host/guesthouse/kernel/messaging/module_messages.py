"""Messages to runtime modules, and their answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from guesthouse.core.address import Address, ProcessId, canonical
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.core.ports import LogPort
from guesthouse.kernel.messaging.modules import Module, ModuleRequest
from guesthouse.kernel.messaging.pending_requests import PendingRequest
from guesthouse.kernel.messaging.request_tracker import RequestTracker
from guesthouse.kernel.messaging.sender import Sender, blob_of
from guesthouse.link.to_node import Send

_FAILED: Final = b'{"Err":"Failed"}'


class ModuleMessages:
    """The runtime modules of a node.

    Args:
        node: its name.
        requests: its requests.
        log: its log.
    """

    def __init__(self, node: str, requests: RequestTracker, log: LogPort) -> None:
        self._node = node
        self._requests = requests
        self._log = log
        self._modules: dict[ProcessId, Module] = {}
        self._left: list[Callable[[], None]] = []
        """Requests of the node's run before, which modules are to answer."""

    def __contains__(self, process: object) -> bool:
        return process in self._modules

    def add(self, module: Module) -> None:
        """Add one."""
        self._modules[module.id] = module

    def find(self, process: ProcessId) -> Module | None:
        """The module of that id."""
        return self._modules.get(canonical(process))

    def send(self, sender: Sender, sent: Send, module: Module) -> None:
        """Hand a message, which its sender may send, to a module.

        Raises:
            LinkError: the sender inherits a request that it did not receive.
        """
        request_id = self._requests.add(sender, sent, module.id)
        seconds: float | None = sent.expects_response
        if seconds is None:
            seconds = self._requests.seconds_left(request_id)
        request = self._request(sender.id, sent, request_id, seconds, module)
        try:
            module.request(request)
        except Exception as error:  # a bug in a module must not end the sender's worker
            self._log.write(str(module.id), "error", f"failed on a request of {sender.id}: {error!r}")
            request.answer(_FAILED, None)

    def take_over(self, waiting: PendingRequest, sent: Send, left_seconds: float) -> None:
        """A request that the node's run before had left: the modules that have it answer after `go_on`."""
        for module in (self._modules[each] for each in waiting.holders if each in self._modules):
            request = self._request(waiting.sender, sent, waiting.id, left_seconds, module)
            waited = max(0.0, (sent.expects_response or 0) - left_seconds)
            self._left.append(partial(module.go_on, request, waited))

    def go_on(self) -> None:
        """All processes are there: modules answer what was taken over."""
        left, self._left = self._left, []
        for answer in left:
            answer()

    def _request(
        self, sender: ProcessId, sent: Send, request_id: int, seconds: float | None, module: Module
    ) -> ModuleRequest:
        def answer(body: bytes, blob: LazyLoadBlob | None) -> None:
            waiting = self._requests.pending.get(request_id)
            if waiting is not None:
                self._requests.answer(waiting, f"{self._node}@{module.id}", body, blob)

        def waits() -> bool:
            return self._requests.pending.get(request_id) is not None

        return ModuleRequest(Address(self._node, sender), sent.body, blob_of(sent), seconds, answer, waits)

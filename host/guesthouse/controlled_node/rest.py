"""Tells when a node for tests has nothing left to do: no message is under way, and every guest waits for one.

It asks all workers twice. If in between none was sent a message, sent one or runs a guest, and nothing else of the node
works on something, then nothing will happen before something comes from outside or the clock moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from guesthouse.controlled_node.stopped_clock import StoppedClock
from guesthouse.core.errors import GuesthouseError
from guesthouse.http_server.server import HttpServer
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.process import ProcessState
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.workers.pool import Receiver, Worker
from guesthouse.link.frames import LinkError
from guesthouse.link.schema import Message
from guesthouse.link.to_node import AtRest, Pong, ToNode, UsageUpdate
from guesthouse.link.to_worker import SetClock
from guesthouse.modules.registry import MODULES
from guesthouse.modules.timer import TIMER

REST_SECONDS: Final = 60.0
_PAUSE: Final = 0.001
_WORKING: Final = tuple(module.id for module in MODULES if module.id != TIMER)
"""Modules that answer without the clock being moved."""
_NOT_COUNTED: Final = (UsageUpdate, Pong)


class NoRest(GuesthouseError):
    """The node goes on working."""


class ControlledWorker:
    """What a worker for tests has said of itself. Takes its messages, and passes on all others."""

    def __init__(self, worker: Worker, others: Receiver) -> None:
        self.worker = worker
        self.received = 0
        """Messages that it sent of itself."""
        self.last: AtRest | None = None
        self._others = others
        self._answered = asyncio.Event()
        self._number = 0

    def handle(self, message: ToNode) -> None:
        """See `Receiver`."""
        if isinstance(message, AtRest):
            if message.number > self._number:
                raise LinkError("a worker answers what nobody asked")
            self.last = message
            self._answered.set()
            return
        if not isinstance(message, _NOT_COUNTED):
            self.received += 1
        self._others.handle(message)

    def unsendable(self, message: Message, error: Exception) -> None:
        """See `Receiver`."""
        self._others.unsendable(message, error)

    def set_clock(self, ticks: int, began: int) -> None:
        """Have it show that time."""
        self._number += 1
        self.worker.send(SetClock(self._number, ticks, began))

    async def at_rest(self) -> tuple[int, int, bool] | None:
        """Wait until it has nothing left to do since the last `set_clock`. Returns what it received, what it sent, and
        whether a guest of it waits for the node; None when it ended.
        """
        while self.last is None or self.last.number != self._number:
            self._answered.clear()
            answered = asyncio.ensure_future(self._answered.wait())
            try:
                await asyncio.wait((answered, self.worker.lost), return_when=asyncio.FIRST_COMPLETED)
            finally:
                answered.cancel()
            if self.worker.lost.done():
                return None
        return self.last.handled, self.received, self.last.calls


class RestingNode(Protocol):
    """What is looked at in a node."""

    router: Router
    http: HttpServer
    state: State
    stopped_clock: StoppedClock

    def controlled_workers(self) -> Sequence[ControlledWorker]:
        """The workers that accept processes."""


class Rest:
    """Waits for the rest of a node."""

    def __init__(self, node: RestingNode) -> None:
        self._node = node

    async def wait(self, sent: Mapping[str, int | None]) -> None:
        """Wait until the node has nothing left to do.

        Args:
            sent: how many messages each client has sent on its channel, by the client's address; None: it has left.

        Raises:
            NoRest: it goes on for `REST_SECONDS`.
        """
        try:
            async with asyncio.timeout(REST_SECONDS):
                before = None
                while True:
                    works = self._works() or not self._heard(sent)
                    now = await self._round()
                    if now is not None and now == before and not works:
                        return
                    before = None if works else now
                    if before is None:
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise NoRest(
                f"the node goes on working for {REST_SECONDS:g} s: does a process send messages, or set timers that "
                "are due at once, for ever? Its log may say more"
            ) from None

    def _heard(self, sent: Mapping[str, int | None]) -> bool:
        """Whether all that clients have sent has come."""
        open_ones = {channel.client: channel.messages_in for channel in self._node.http.open_channels()}
        return all(
            client not in open_ones if count is None else open_ones.get(client, count) >= count
            for client, count in sent.items()
        )

    async def _round(self) -> tuple[object, ...] | None:
        """What has happened until now; None when more is to come by itself."""
        await self._node.state.read("SELECT 1")  # after all that waits for the disk
        workers = self._node.controlled_workers()
        for worker in workers:
            worker.set_clock(self._node.stopped_clock.ticks, self._node.stopped_clock.began)
        said = [await worker.at_rest() for worker in workers]
        if not workers or any(each is None or each[2] for each in said):
            return None
        return (*workers, *said)

    def _works(self) -> bool:
        """Whether a part of the node works on something, whose outcome will come by itself."""
        router = self._node.router
        return any(map(router.answers_wait, _WORKING)) or any(
            process.state is ProcessState.WAITING for process in router.processes()
        )

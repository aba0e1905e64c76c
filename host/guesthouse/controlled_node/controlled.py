"""A node whose guests see a clock that stands still, and the commands that only it has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from guesthouse.control.control_server import BadCommand, Command
from guesthouse.controlled_node.rest import ControlledWorker, Rest
from guesthouse.controlled_node.stopped_clock import TICKS, StoppedClock, ticks
from guesthouse.core.config import Settings
from guesthouse.kernel.workers.pool import Receiver, Worker
from guesthouse.node.node import Node

LONGEST_ADVANCE: Final = 20 * 366 * 24 * 3600
_SLACK: Final = TICKS // 125
"""What is due 8 ms later counts as due: SDKs round times up to milliseconds, and sums of times are rounded."""


class ControlledNode(Node):
    """A node for tests.

    Args:
        settings: with `home` set.
        now: the Unix time that guests see at first.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        clock = self.stopped_clock = StoppedClock()
        super().__init__(settings, clock=clock)
        clock.began = int(now - clock.monotonic())
        clock.show(ticks(now - clock.began))
        self._until = clock.ticks
        self._rest = Rest(self)
        self._controlled: dict[Worker, ControlledWorker] = {}
        self._moves = asyncio.Lock()

    def controlled_workers(self) -> Sequence[ControlledWorker]:
        """The workers that accept processes."""
        return [self._controlled[worker] for worker in self.workers.alive() if worker.ready]

    def _command_of_workers(self) -> Sequence[str]:
        *python, _, flag, confinement = super()._command_of_workers()
        return [*python, f"{__package__}.controlled_worker", flag, confinement]

    def _operations(self, worker: Worker, on_ready: Callable[[], None]) -> Receiver:
        def ready() -> None:
            controlled.set_clock(self.stopped_clock.ticks, self.stopped_clock.began)  # before any guest
            on_ready()

        controlled = self._controlled[worker] = ControlledWorker(worker, super()._operations(worker, ready))
        worker.lost.add_done_callback(lambda _: self._controlled.pop(worker))
        return controlled

    def _commands(self) -> Mapping[str, Command]:
        more: Mapping[str, Command] = {
            "settle": self._settle,
            "advance": self._advance,
            "replace": self._replace,
        }
        return {**super()._commands(), **more}

    async def _settle(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Wait until nothing is left to do. Takes what each client has `sent`, as JSON; yields how many messages each
        was sent.
        """
        await self._rest.wait(_sent(request))
        yield self._sent_to_clients()

    async def _advance(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Move the clock by so many `seconds`; what is due meanwhile comes at its time."""
        seconds, sent = request.get("seconds"), _sent(request)
        if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_ADVANCE:
            raise BadCommand(f"`seconds` are from 0 to {LONGEST_ADVANCE}")
        async with self._moves:
            await self._rest.wait(sent)
            self._until += ticks(seconds)
            while (due := self._next_due()) is not None and due <= self._until + _SLACK:
                await self._move_to(due)
            await self._move_to(self._until)
        yield self._sent_to_clients()

    async def _move_to(self, tick: int) -> None:
        """Show that time to the guests, before anything that is due then reaches them, and handle what is due."""
        self.stopped_clock.show(tick)
        for worker in self.controlled_workers():
            worker.set_clock(self.stopped_clock.ticks, self.stopped_clock.began)
        self.stopped_clock.call_due()
        await self._rest.wait({})

    async def _replace(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Upgrade to the package at a path, with its channels open."""
        package = await self.load(str(request.get("package")))
        await self.installer.take_hosts([package], consent=True)
        await self.replace(package)
        yield package.id

    def _next_due(self) -> int | None:
        """When the clock is to stop next."""
        call = self.stopped_clock.next_call()
        wakes = [worker.last.wakes_at for worker in self.controlled_workers() if worker.last is not None]
        times = [*(() if call is None else (ticks(call),)), *(wake for wake in wakes if wake is not None)]
        return min(times, default=None)

    def _sent_to_clients(self) -> dict[str, int]:
        return {channel.client: channel.messages_out for channel in self.http.open_channels()}


def _sent(request: Mapping[str, Any]) -> dict[str, int | None]:
    try:
        return dict(json.loads(request.get("sent", "{}")))
    except (ValueError, TypeError):
        raise BadCommand("`sent` is a JSON object") from None

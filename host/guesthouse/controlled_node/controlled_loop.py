"""The loop of a worker for tests: it has its clock set, and says when it has nothing left to do."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Any, Final

from guesthouse.controlled_node.stopped_clock import StoppedClock, ticks
from guesthouse.link.lane import WorkerLane
from guesthouse.link.schema import Message
from guesthouse.link.to_node import AtRest
from guesthouse.link.to_worker import Ping, SetClock
from guesthouse.worker.guest import WaitingFor
from guesthouse.worker.loop import WorkerLoop

_NOT_COUNTED: Final = (SetClock, Ping)


class ControlledLoop(WorkerLoop):
    """A `WorkerLoop` with a clock that stands still."""

    def __init__(self, link: socket, *, lane: WorkerLane | None = None) -> None:
        self._clock = StoppedClock()
        super().__init__(link, self._clock, lane)
        self._asked: list[int] = []
        self._handled = 0
        for kind, handle in list(self._dispatch.items()):
            if kind not in _NOT_COUNTED:
                self._dispatch[kind] = self._counted(handle)

    def _counted(self, handle: Callable[[Any], None]) -> Callable[[Message], None]:
        def counted(message: Message) -> None:
            self._handled += 1
            handle(message)

        return counted

    def _set_clock(self, message: SetClock) -> None:
        self._clock.began = message.began
        self._clock.show(message.ticks)
        self._asked.append(message.number)

    def _run_guests(self) -> None:
        super()._run_guests()
        if self._asked and self._scheduler.at_rest and not self._outgoing.has_large:
            wake = self._scheduler.next_wake
            if wake is not None and wake <= self._clock.monotonic():
                return  # it is woken in the next round
            calls = any(guest.waiting is WaitingFor.REPLY for guest in self._guests.values())
            for number in self._asked:
                self._outgoing.add(
                    AtRest(number, self._handled, calls, None if wake is None else ticks(wake))
                )
            self._asked.clear()

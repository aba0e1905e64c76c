"""A guest run by the worker's parts inside this process: a worker without its link."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Final

from msgspec import Raw

from guesthouse.core.address import Address
from guesthouse.core.config import Settings
from guesthouse.link.frames import encode, from_worker
from guesthouse.link.to_node import Call, Push, ToNode
from guesthouse.link.to_worker import Push as Pushed
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.engine.epoch_timer import EpochTimer
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.loader import Engines
from guesthouse.worker.calls import ENTRIES, HostCalls
from guesthouse.worker.guest import Guest, WaitingFor
from guesthouse.worker.link import Consumer, LinkWriter
from guesthouse.worker.scheduler import Scheduler
from worker_link import PLENTY, compiled, limits_of, opened

CHANNEL: Final = 7
_HANDLE: Final = 1


class _Sent(LinkWriter):
    """Collects what a guest sends to the node."""

    def __init__(self) -> None:
        self.message: ToNode | Raw | None = None
        self.calls: list[Call] = []

    def add(self, message: ToNode | Raw, payload_bytes: int = 0) -> None:
        self.message = message
        if isinstance(message, Raw):
            said = from_worker().feed(encode([message]))
            self.calls += [call for call in said if isinstance(call, Call)]

    def note_consumer(self, guest: Consumer) -> None:
        guest.taken, guest.told_in_hand = 0, guest.in_hand


class Inside:
    """One guest with one channel."""

    def __init__(self, wasm: Path) -> None:
        path = compiled(wasm)
        engines = Engines(new_compiling_engine(), new_compiling_engine(small=True))
        self._sent = _Sent()
        self._scheduler = Scheduler(self._ended, lambda now, spent: None, lambda: None)
        limits, our = limits_of(Settings()), Address.parse("bench.os@echo:echo:bench.os")
        component = engines.load(path, HostCalls(), *ENTRIES)
        self._ticker = EpochTimer(component.engine)
        self._ticker.use(component.engine)
        guest = self._guest = Guest(_HANDLE, our, limits, "none", self._sent, self._scheduler)
        guest.component = component
        guest.arguments = partial(ENTRIES[component.entry], guest)
        guest.fiber = component.new_fiber(StoreLimits(limits.memory_bytes, limits.table_elements), guest)
        guest.channels[CHANNEL] = PLENTY
        self._ticker.start()
        self._scheduler.wake(guest)
        self._until(lambda: guest.serves)
        guest.deliver(opened(_HANDLE, CHANNEL))
        self._until(lambda: guest.waiting is WaitingFor.MESSAGE and not guest.inbox)

    def seconds_of(self, payload: bytes, text: bool, count: int) -> float:
        """Deliver a message `count` times, each after the last was answered; returns the CPU seconds."""
        guest, deliver, run_round = self._guest, self._guest.deliver, self._scheduler.run_round
        wait_seconds, sent, kind = self._scheduler.wait_seconds, self._sent, 0 if text else 1
        begin = thread_time()
        for _ in range(count):
            deliver(Pushed(_HANDLE, CHANNEL, kind, payload))
            run_round()
            while wait_seconds() == 0.0:  # its time slice ended
                run_round()
        seconds = thread_time() - begin
        message, sent.message = sent.message, None
        if not isinstance(message, Push) or bytes(message.payload) != payload:
            raise SystemExit("the guest sent something else than its message back")
        guest.channels[CHANNEL] = PLENTY
        return seconds

    def close(self) -> None:
        """End the guest."""
        self._ticker.stop()
        self._guest.fiber.drop()

    def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._scheduler.run_round()
            while self._sent.calls:
                call = self._sent.calls.pop()
                self._guest.reply(call.call_id, None)

    def _ended(self, guest: Guest, trap: GuestTrap) -> None:
        raise SystemExit(f"the guest ended: {trap.cause}: {trap.detail}")


@contextmanager
def inside_worker(wasm: Path) -> Iterator[Inside]:
    """A guest of a component."""
    inside = Inside(wasm)
    try:
        yield inside
    finally:
        inside.close()


_REFILL_BYTES: Final = 64 * 1024 * 1024


def seconds_in_new_guests(wasm: Path) -> Callable[[bytes, bool, int], float]:
    """`Inside.seconds_of` for a guest that leaks what it sends: replaced after a number of bytes."""

    def seconds_of(payload: bytes, text: bool, count: int) -> float:
        most = max(1, _REFILL_BYTES // max(1, len(payload)))
        seconds = 0.0
        while count:
            part = min(count, most)
            with inside_worker(wasm) as inside:
                inside.seconds_of(payload, text, 2)
                seconds += inside.seconds_of(payload, text, part)
            count -= part
        return seconds

    return seconds_of

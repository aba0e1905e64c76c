"""Running components for tests: an engine that ticks, host calls by name, and a fiber polled to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from tests.boundary.whole.component import Component
from wasmtime import Module, wat2wasm

from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.engine.epoch_timer import EpochTimer
from guesthouse.wasm.engine.fiber import Fiber, StoreLimits
from guesthouse.wasm.engine.host_functions import PENDING, HostFunction
from guesthouse.wasm.engine.imports import HostImport
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.plan.gate import with_gate
from guesthouse.wasm.plan.long_instructions import interruptible
from guesthouse.wasm.plan.planner import take_apart
from guesthouse.wasm.types import FunctionType

from .components import MEMORY, RUN
from .lanes import Lane

LIMITS: Final = StoreLimits(memory_bytes=64 << 20, table_elements=1000)

ENGINE: Final = new_compiling_engine()
TICKER: Final = EpochTimer(ENGINE)
TICKER.use(ENGINE)
TICKER.start()


def _any_size(owner: Any) -> int:
    return 2**31


class Calls:
    """Offers Python functions as host calls, each given the fiber's owner first.

    Args:
        calls: by name; one in `blocking` may return `PENDING`.
    """

    def __init__(self, calls: dict[str, Callable[..., Any]], blocking: tuple[str, ...] = ()) -> None:
        self._calls = {
            name: HostFunction(call, name in blocking, most=_any_size, frequent=Lane.frequent)
            for name, call in calls.items()
        }
        self.types: dict[str, FunctionType] = {}
        self.dropped: list[tuple[int, int]] = []

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction | None:
        self.types[name] = type_
        return self._calls.get(name)

    def resource(self, interface: str, name: str) -> int | None:
        return 7 if name == "thing" else None

    def destructor(self, owner: Any, type_number: int, number: int) -> None:
        self.dropped.append((type_number, number))


class Recorder:
    """Offers `echo`, which returns what it gets, and `take`; both note what they got."""

    def __init__(self) -> None:
        self.echoed: list[Any] = []
        self.taken: list[Any] = []
        self.calls = Calls({"echo": self._echo, "take": self._take})

    def _echo(self, owner: Any, value: Any) -> Any:
        self.echoed.append(value)
        return value

    def _take(self, owner: Any, value: Any) -> None:
        self.taken.append(value)


def load(wat: str, calls: HostImport, *entries: tuple[str | None, str]) -> Component | LinkedComponent:
    """A component of WAT, linked to the calls."""
    if Lane.apart:
        with suppress(UnsupportedComponent):
            return apart(bytes(wat2wasm(wat)), calls, *(entries or (RUN,)))
    return Component(ENGINE, wat, calls, *(entries or (RUN,)))


def apart(content: bytes, calls: HostImport, *entries: tuple[str | None, str]) -> LinkedComponent:
    """A component that is taken apart.

    Raises:
        UnsupportedComponent: that cannot be done.
    """
    parts = take_apart(content, ENGINE)
    plan, gates = with_gate(parts.plan)
    modules = [Module(ENGINE, interruptible(module)) for module in (*parts.modules, *gates)]
    return LinkedComponent(ENGINE, plan, modules, calls, *entries)


@contextmanager
def fiber_of(
    component: Component | LinkedComponent, owner: Any = None, limits: StoreLimits = LIMITS
) -> Iterator[Fiber]:
    """A new fiber, dropped in the end."""
    fiber = component.new_fiber(limits, owner)
    try:
        yield fiber
    finally:
        fiber.drop()


def finish_step(fiber: Fiber, polls: int = 10_000) -> None:
    """Poll until the step is over.

    Raises:
        GuestTrap: the guest died.
        AssertionError: it was not over after so many polls.
    """
    for _ in range(polls):
        if fiber.poll():
            return
    raise AssertionError(f"the guest was not done after {polls} polls")


def let_block(fiber: Fiber, polls: int = 10_000) -> None:
    """Poll until the guest waits in a host call that has no answer yet; it may be pre-empted on the way.

    Raises:
        GuestTrap: the guest died.
        AssertionError: it did not come to that.
    """
    for _ in range(polls):
        assert not fiber.poll()
        if fiber.blocked is not None and fiber.pending_answer is None:
            return
    raise AssertionError(f"the guest did not wait after {polls} polls")


def run(
    component: Component | LinkedComponent, *arguments: Any, owner: Any = None, limits: StoreLimits = LIMITS
) -> None:
    """Instantiate and run to the end.

    Raises:
        GuestTrap: the guest died.
    """
    with fiber_of(component, owner, limits) as fiber:
        finish_step(fiber)
        fiber.start(*arguments)
        finish_step(fiber)


def death_of(
    component: Component | LinkedComponent, *arguments: Any, limits: StoreLimits = LIMITS
) -> GuestTrap:
    """Run a guest that must die; returns what killed it."""
    try:
        run(component, *arguments, limits=limits)
    except GuestTrap as trap:
        return trap
    raise AssertionError("the guest lived")


def guest(body: str, imports: str = "", *, libc: str = MEMORY, more: str = "") -> str:
    """A component whose `run` takes nothing.

    Args:
        body: the core function's instructions, with locals if it needs any.
        imports: exports of the interface `test:types/host` as WAT of an instance type.
        libc: defines `$memory`, `$realloc` and the core instance `$libc`.
        more: further fields of the core module.
    """
    names = [part.split('"', 1)[0] for part in imports.split('(export "')[1:] if "(func" in part]
    lowered = "\n  ".join(
        f'(core func ${name} (canon lower (func $host "{name}") (memory $memory) (realloc $realloc)))'
        for name in names
    )
    offered = " ".join(f'(export "{name}" (func ${name}))' for name in names)
    return f"""(component
  (import "test:types/host" (instance $host {imports}))
  {libc}
  {lowered}
  (core module $main
    (import "libc" "memory" (memory 0))
    {more}
    (func $run (export "run") {body}))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc)) (with "host" (instance {offered}))))
  (func $run (canon lift (core func $main "run")))
  (instance $guest (export "run" (func $run)))
  (export "{RUN[0]}" (instance $guest)))"""


__all__ = ["ENGINE", "LIMITS", "PENDING", "Calls", "Recorder", "death_of", "fiber_of", "finish_step", "guest"]

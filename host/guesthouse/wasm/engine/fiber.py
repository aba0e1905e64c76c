"""A guest's store and fiber.

A fiber is a call that wasmtime runs on a stack of its own. It advances only inside `poll`, and stops
there when the guest waits in a blocking host call or its time slice is over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes import c_void_p
from typing import Any, Final

from msgspec import Struct

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.address_space import lacks_addresses, no_addresses_for_guest
from guesthouse.wasm.engine.owned import Native, Store, address_of_native
from guesthouse.wasm.errors import GuestTrap, classify

FIBERS: Final[dict[int, Fiber]] = {}
"""Live fibers by the address of their store's context: how a blocking host call finds its caller."""

SLICE: Final = 1
"""Epochs a guest may run before it yields: at most until the next tick."""
_READY_SLICE: Final = capi.ready_size(SLICE)
MAX_TABLES: Final = 64
"""Of all instances of a component together."""


class StoreLimits(Struct, frozen=True):
    """Limits of one guest's memory. Bytes and counts."""

    memory_bytes: int
    table_elements: int
    memories: int = 1
    """Most components have one. Of several only one can grow, up to the guest's limit."""
    tables: int = MAX_TABLES
    instances: int = 514
    """Of the largest component with a plan, its gate, and its batch."""


class _Current:
    """The running fiber: core functions of the host are not told their caller.

    An instance with slots: to set an attribute of a class makes the interpreter forget what it knows about the class.
    """

    __slots__ = ("fiber", "finish_by")

    def __init__(self) -> None:
        self.fiber: Any = None
        self.finish_by = 0.0
        """Deadline (`thread_time`) of the guest's allocator, which runs past its slice; 0 for none."""


CURRENT: Final = _Current()


class Fiber(ABC):
    """One guest: its store, its instances and the call that runs it.

    `owner` is the first argument of host calls. After a `GuestTrap` the fiber is dead and
    must be dropped.
    """

    __slots__ = (
        "_error",
        "_future",
        "_started",
        "_store",
        "answered",
        "before_call",
        "blocked",
        "calls",
        "context",
        "engine",
        "fault",
        "owner",
        "pending_answer",
        "ready_context",
        "store_address",
    )

    def __init__(self, engine: Native, limits: StoreLimits, owner: Any) -> None:
        self.engine = engine
        self.owner = owner
        self.calls = 0
        """Number of host calls."""
        self.before_call: Callable[[], None] | None = None
        """What is to be done before any host call: carry out what the guest's batch answered
        (`plan/batch_module.py`).
        """
        self.fault: GuestTrap | None = None
        """What a host call raised, as the cause of the trap that follows."""
        self.blocked: Any = None
        """Set while the guest waits in a host call without an answer: what the engine asks for it."""
        self.answered: Any = None
        """The last host call that waited."""
        self.pending_answer: Callable[[], Any] | None = None
        """The last answer, until the continuation takes it."""
        self._store = Store(engine)
        self.store_address = address_of_native(self._store)
        capi.store_limiter(
            self.store_address,
            limits.memory_bytes,
            limits.table_elements,
            limits.instances,
            limits.tables,
            limits.memories,
        )
        self.context: int = self._store.context()
        self.ready_context = capi.ready_pointer(self.context)
        FIBERS[self.context] = self
        self._error = c_void_p()
        self._started = False
        self._future: capi.Ready | None = None

    def poll(self) -> bool:
        """Run the guest until it blocks, its slice is over, or it ends; returns whether this step has ended.

        The first step is the instantiation; `start` starts the second, the run.

        Raises:
            GuestTrap: the guest is dead.
        """
        capi.ready_set_epoch_deadline(self.ready_context, _READY_SLICE)
        CURRENT.fiber = self
        CURRENT.finish_by = 0.0
        if self._future is not None:
            if not capi.ready_future_poll(self._future):
                if self.fault is not None:
                    raise self._trap("")
                return False
            self._end_step()
            self._raise_error()
        return self._step_ended()

    @abstractmethod
    def start(self, *arguments: Any) -> None:
        """Start the run with the process's arguments, after the instantiation.

        Raises:
            GuestTrap: the component's run function takes other arguments.
        """

    @property
    def started(self) -> bool:
        """Whether the run has started; before, the guest is being instantiated."""
        return self._started

    def answer(self, produce: Callable[[], Any]) -> None:
        """Answer the blocking host call; `produce` makes the result when the guest runs next."""
        self.pending_answer = produce

    @abstractmethod
    def memory_bytes(self) -> int:
        """The size of its linear memory and its instances."""

    def new_batch(self) -> Any:
        """Make what answers host calls from a batch, once; returns its `LinearMemory`, or None if there is none."""
        return None

    def drop(self) -> None:
        """End the guest wherever it is, and free everything. Idempotent."""
        self._end_step()
        if FIBERS.pop(self.context, None) is not None:
            if CURRENT.fiber is self:
                CURRENT.fiber = None
            self.owner = None
            self.pending_answer = self.blocked = self.answered = self.before_call = None
            self._store.close()
            self._let_go()

    def _step_ended(self) -> bool:
        """A guest call returned; returns whether it was the last of the step."""
        return True

    @abstractmethod
    def _let_go(self) -> None:
        """Release references after the store is freed."""

    def _end_step(self) -> None:
        future, self._future = self._future, None
        if future:
            capi.future_delete(future)

    def _raise_error(self) -> None:
        error, self._error.value = self._error.value, None
        if error:
            message = capi.take_message(error)
            if self.fault is None and lacks_addresses(message):
                raise GuestTrap(ExitCause.HOST_FAULT, no_addresses_for_guest())
            raise self._trap(message)

    def take_fault(self) -> GuestTrap | None:
        """What a host call raised, if any, to be raised again."""
        fault, self.fault = self.fault, None  # once raised it refers to this fiber: a cycle
        return fault

    def _trap(self, message: str) -> GuestTrap:
        return self.take_fault() or classify(message)

"""A guest whose core modules are instantiated by its plan."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import addressof, c_void_p
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.abi.handles import Handles
from guesthouse.wasm.abi.memory import NO_MEMORY, GuestMemory, LinearMemory, no_allocator
from guesthouse.wasm.core import core_capi
from guesthouse.wasm.core.core_capi import EXTERN_OF, EXTERN_SIZE, INSTANCE_SIZE, KINDS, TAGGED_SIZE
from guesthouse.wasm.core.yielding import let_yield
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.capi import address_of
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.engine.fiber import CURRENT, Fiber, StoreLimits
from guesthouse.wasm.errors import ConversionError, GuestTrap, LinkFailure, classify
from guesthouse.wasm.plan.batch_layout import ALLOCATING, MEMORY, TABLE
from guesthouse.wasm.plan.needs import counted

if TYPE_CHECKING:
    from guesthouse.wasm.core.import_table import ImportScratch
    from guesthouse.wasm.core.instantiation import BatchSource, Instantiable, Step

_ARGUMENTS: Final = (ctypes.c_uint64 * 8)()
_ARGUMENTS_ADDRESS: Final = addressof(_ARGUMENTS)
_put_arguments: Final = Struct("<I12xI12xI12xI12x").pack_into
_result: Final = Struct("<I").unpack_from
_put_value: Final = Struct("<B7xQ").pack_into
_put_mark: Final = Struct("<I").pack_into
_TRAP: Final = c_void_p()
_TRAP_ADDRESS: Final = addressof(_TRAP)
_func_call: Final = core_capi.ready_func_call
_READY_ARGUMENTS: Final = capi.ready_pointer(_ARGUMENTS_ADDRESS)
_READY_COUNT: Final = capi.ready_size(4)
_READY_TRAP: Final = capi.ready_pointer(_TRAP_ADDRESS)


_SLICE_MICROSECONDS: Final = 1000
"""Of instantiation per poll, unless a single instance takes longer."""
_REALLOC: Final = (KINDS["i32"],) * 4, (KINDS["i32"],)
"""The type of an allocator."""


def _lacking() -> GuestTrap:
    return GuestTrap(ExitCause.NOT_STARTED, "its modules lack exports that its plan needs")


def _limits(limits: StoreLimits, assembly: Instantiable) -> StoreLimits:
    """Limits of a guest, less what its instances take besides its memory.

    Raises:
        LinkFailure: it needs more initially.
    """
    needs = assembly.needs
    unmet = needs.unmet(limits.memory_bytes, limits.table_elements)
    if unmet is not None:
        raise LinkFailure(unmet)
    besides = counted(needs.other_bytes)
    batches = int(assembly.answering is not None)  # the gate then has a table, and their module a memory
    memories, tables = assembly.memories + batches, limits.tables + batches
    if not besides and memories == limits.memories and not batches:
        return limits
    return replace(limits, memory_bytes=limits.memory_bytes - besides, memories=memories, tables=tables)


class CoreFiber(Fiber):
    """See `Fiber`."""

    __slots__ = (
        "_assembly",
        "_batch",
        "_batch_extern",
        "_called",
        "_instances",
        "_memory_extern",
        "_next",
        "_reallocs",
        "_scratch",
        "_trapped",
        "handles",
        "memory",
        "must_finish",
        "realloc",
    )

    def __init__(self, assembly: Instantiable, limits: StoreLimits, owner: Any) -> None:
        super().__init__(assembly.engine, _limits(limits, assembly), owner)
        self._assembly = assembly
        self.memory: LinearMemory = NO_MEMORY
        """Its memory, once it exists."""
        self._batch: LinearMemory = NO_MEMORY
        self._batch_extern = bytearray()
        self.handles = Handles()
        self.must_finish = False
        """Whether its allocator runs on the host's stack: it may neither call the host nor be pre-empted."""
        self._trapped = c_void_p()
        self._next = 0
        self._scratch: ImportScratch | None = None
        """Import scratch while it is being instantiated."""
        self._instances = bytearray()
        self._memory_extern = bytearray()
        """Needed to ask for the memory's size: kept alive, because only its address is passed."""
        self._reallocs: dict[int | None, Callable[[int, int], int]] = {None: no_allocator}
        self.realloc: int | None = -1
        """The current allocator, by its number in the plan."""
        self._called: object = None
        """Buffers of the current call."""
        let_yield(self.store_address)

    def start(self, *arguments: Any) -> None:
        """See `Fiber`."""
        self._started = True
        CURRENT.fiber = self
        run = self._assembly.run
        try:
            self.memory.look()
            self.use_allocator(run.realloc)
            values = self._assembly.lower_run_arguments(arguments, self.memory)
        except ConversionError as error:
            detail = f"its run function is not that of the world `process`: {error}"
            raise GuestTrap(ExitCause.NOT_STARTED, detail) from None
        arguments_array = bytearray(TAGGED_SIZE * len(values))
        for index, (kind, bits) in enumerate(values):
            _put_value(arguments_array, TAGGED_SIZE * index, KINDS[kind], bits)
        self._call(run.instance, run.name, bytes(arguments_array), len(values))

    def memory_bytes(self) -> int:
        """See `Fiber`."""
        memory = self.memory
        memory.look()
        return memory.size + self._batch.size + counted(self._assembly.needs.other_bytes)

    def new_batch(self) -> LinearMemory | None:
        """Instantiate the module that answers host calls from a batch (`plan/batch_module.py`), once, while the guest
        is not running; returns its memory. None if the component has none, or the worker no room for it.
        """
        answering = self._assembly.answering
        if answering is None or self.memory is NO_MEMORY or self._batch is not NO_MEMORY or not self._started:
            return None
        # The module has no start function. If it had one, by a compiler that was compromised, it would run on the
        # worker's own stack.
        CURRENT.fiber, CURRENT.finish_by = self, 0.0
        self.must_finish = True
        try:
            extern = self._instantiate_batch(answering)
            memory = self._memory_of(extern)
        except GuestTrap:
            return None
        finally:
            self.must_finish = False
        if memory.size != WASM_PAGE:
            memory.close()
            return None
        self._batch_extern, self._batch = extern, memory
        return memory

    def _instantiate_batch(self, answering: BatchSource) -> bytearray:
        """Returns its memory."""
        table = self._export(0, TABLE.encode(), core_capi.TABLE)
        realloc = self._function(answering.instance, answering.realloc)
        imports = bytes(self._memory_extern + realloc + table)
        instance = bytearray(INSTANCE_SIZE)
        self._error.value = core_capi.instance_new(
            self.context,
            answering.module,
            address_of(imports),
            3,
            _address(instance),
            addressof(self._trapped),
        )
        self._raise_error()
        return self._export_of(_address(instance), MEMORY.encode(), core_capi.MEMORY)

    def hold_batch(self, held: bool) -> None:
        """The batch answers nothing while the allocator runs: each call of it reaches the host, which refuses it."""
        _put_mark(self._batch.view, ALLOCATING, held)

    def use_allocator(self, number: int | None) -> None:
        """Use this allocator for results."""
        found = self._reallocs.get(number)
        if found is None:
            found = self._reallocs[number] = self._allocator(*self._assembly.reallocs[number or 0])
        self.memory.allocate = found
        self.realloc = number

    def _allocator(self, instance: int, name: bytes) -> Callable[[int, int], int]:
        memory = self.memory
        if memory is NO_MEMORY:
            return no_allocator
        if instance >= self._next:
            raise _lacking()  # a start function calls the host before that instance exists
        extern = self._function(instance, name)
        if core_capi.core_types_of(self.context, _address(extern) + EXTERN_OF) != _REALLOC:
            raise _lacking()  # the unchecked call needs the exact type
        return _allocator_of(self, memory, extern)

    def _step_ended(self) -> bool:
        return self._started or self._instantiate_modules()

    def _instantiate_modules(self) -> bool:
        """Instantiate the modules in order; returns False when a start function has to run, or this poll's time is used
        up.
        """
        steps = self._assembly.steps
        if self._scratch is None:
            self._scratch = self._assembly.take_scratch()
            self._instances = self._scratch.instances
        spent = 0
        while self._next < len(steps):
            step = steps[self._next]
            spent += step.microseconds
            if spent > _SLICE_MICROSECONDS and spent > step.microseconds:
                return False
            self._instantiate(step, self._scratch)
            self._next += 1
            if step.start is not None:
                self._call(self._next - 1, step.start, b"", 0)
                return False
        self._release_scratch()
        return True

    def _release_scratch(self) -> None:
        """Return the scratch for other guests; copy what is still needed."""
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            self._instances = bytearray(scratch.instances)
            self._assembly.give_scratch(scratch)

    def _instantiate(self, step: Step, scratch: ImportScratch) -> None:
        if not scratch.fetch(self._next, self.context):
            raise _lacking()
        self.must_finish = True  # module initialisers run on the worker's own stack
        error = core_capi.instance_new(
            self.context,
            step.module,
            scratch.externs_address + EXTERN_SIZE * step.imports.first,
            step.imports.count,
            scratch.instances_address + INSTANCE_SIZE * self._next,
            addressof(self._trapped),
        )
        self.must_finish = False
        self._error.value = error
        self._raise_error()
        if step.memory is not None:
            self._find_memory(step.memory)

    def _find_memory(self, name: bytes) -> None:
        self._memory_extern = self._export(self._next, name, core_capi.MEMORY)
        self.memory = self._memory_of(self._memory_extern)

    def _memory_of(self, extern: bytearray) -> GuestMemory:
        which = self.ready_context, capi.ready_pointer(_address(extern) + EXTERN_OF)
        return GuestMemory(
            partial(core_capi.ready_memory_data, *which),
            partial(core_capi.ready_memory_data_size, *which),
        )

    def _function(self, instance: int, name: bytes) -> bytearray:
        return self._export(instance, name, core_capi.FUNCTION)

    def _export(self, instance: int, name: bytes, kind: int) -> bytearray:
        return self._export_of(_address(self._instances) + INSTANCE_SIZE * instance, name, kind)

    def _export_of(self, where: int, name: bytes, kind: int) -> bytearray:
        extern = bytearray(EXTERN_SIZE)
        if not core_capi.instance_export(self.context, where, name, len(name), _address(extern)):
            raise _lacking()
        if extern[0] != kind:
            raise _lacking()
        return extern

    def _call(self, instance: int, name: bytes, arguments: bytes, count: int) -> None:
        extern = self._function(instance, name)
        self._called = extern, arguments
        self._future = capi.ready_pointer(
            core_capi.func_call_async(
                self.context,
                _address(extern) + EXTERN_OF,
                address_of(arguments),
                count,
                None,
                0,
                addressof(self._trapped),
                addressof(self._error),
            )
        )

    def _raise_error(self) -> None:
        trap, self._trapped.value = self._trapped.value, None
        if trap:
            raise self._trap(core_capi.take_trap(trap))
        super()._raise_error()

    def _let_go(self) -> None:
        self._release_scratch()
        if self.memory is not NO_MEMORY:
            self.memory.close()  # the allocator refers to this fiber: a cycle would keep the component alive
        if self._batch is not NO_MEMORY:
            self._batch.close()
        self.memory = self._batch = NO_MEMORY
        self._reallocs.clear()


def _allocator_of(fiber: CoreFiber, memory: LinearMemory, extern: bytearray) -> Callable[[int, int], int]:
    """Calls the guest's `realloc`, inside a host call. Guest code runs on the same stack until it is done."""
    context, function = fiber.ready_context, capi.ready_pointer(_address(extern) + EXTERN_OF)
    current = CURRENT

    def allocate(alignment: int, size: int, _keep: object = extern) -> int:
        _put_arguments(_ARGUMENTS, 0, 0, 0, alignment, size)
        fiber.must_finish = True
        if fiber.before_call is not None:
            fiber.hold_batch(True)
        error = _func_call(context, function, _READY_ARGUMENTS, _READY_COUNT, _READY_TRAP)
        fiber.must_finish = False
        if fiber.before_call is not None:
            fiber.hold_batch(False)
        if current.finish_by:  # its slice ended meanwhile, or in an earlier call
            capi.set_epoch_deadline(fiber.context, 0)
        if error or _TRAP.value:
            raise _failed(fiber, error)
        address: int = _result(_ARGUMENTS)[0]
        if address % alignment:
            raise GuestTrap(
                ExitCause.TRAP, f"its allocator returned {address}, which is not a multiple of {alignment}"
            )
        if address + size > memory.size:
            memory.check(address, size)
        return address

    return allocate


def _failed(fiber: CoreFiber, error: int) -> GuestTrap:
    """Why its allocator trapped."""
    trap, _TRAP.value = _TRAP.value, None
    message = core_capi.take_trap(trap) if trap else capi.take_message(error)
    return fiber.take_fault() or classify(message)


def _address(data: bytearray) -> int:
    """Of its content, which must not be empty."""
    return ctypes.addressof(ctypes.c_char.from_buffer(data))

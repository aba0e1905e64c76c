"""A guest that is a component to wasmtime, too: its instance is the component's, its values are the C API's."""

from __future__ import annotations

import ctypes
from ctypes import addressof, c_void_p
from typing import TYPE_CHECKING, Any, cast

import wasmtime._ffi as ffi
from tests.boundary.whole.arena import Arena
from wasmtime import Store
from wasmtime.component import Instance

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.fiber import SLICE, Fiber, StoreLimits
from guesthouse.wasm.errors import ConversionError, GuestTrap

from . import capi as component_capi

if TYPE_CHECKING:
    from tests.boundary.whole.component import Component


class _StoreOf:
    """What the package asks of a store, of one that it did not make."""

    def __init__(self, context: int) -> None:
        self._address = c_void_p(context)

    def _context(self) -> Any:
        return ctypes.cast(self._address, ctypes.POINTER(ffi.wasmtime_context_t))


class ComponentFiber(Fiber):
    """See `Fiber`."""

    __slots__ = ("_arena", "_component", "_function", "_instance")

    def __init__(self, component: Component, limits: StoreLimits, owner: Any) -> None:
        super().__init__(component.engine, limits, owner)
        self._component = component
        component_capi.epoch_yield(self.context, SLICE)
        self._instance = ffi.wasmtime_component_instance_t()
        self._arena = Arena()
        self._function: Any = None
        self._future = capi.ready_pointer(
            component_capi.instantiate_async(
                component.linker_address,
                self.context,
                component.address,
                addressof(self._instance),
                addressof(self._error),
            )
        )

    def memory_bytes(self) -> int:
        """See `Fiber`. Nobody tells."""
        return 0

    def start(self, *arguments: Any) -> None:
        """See `Fiber`."""
        self._started = True
        instance = Instance._from_raw(self._instance)
        function = instance.get_func(cast(Store, _StoreOf(self.context)), self._component.run_index)
        if function is None:
            raise GuestTrap(ExitCause.NOT_STARTED, "the component's run function cannot be found")
        self._function = function
        try:
            address = self._component.lower_run_arguments(arguments, self._arena)
        except ConversionError as error:
            detail = f"its run function is not that of the world `process`: {error}"
            raise GuestTrap(ExitCause.NOT_STARTED, detail) from None
        self._future = capi.ready_pointer(
            component_capi.call_async(
                addressof(function._func),
                self.context,
                address,
                len(arguments),
                None,
                0,
                addressof(self._error),
            )
        )

    def _end_step(self) -> None:
        super()._end_step()
        self._arena.clear()

    def _let_go(self) -> None:
        self._function = None

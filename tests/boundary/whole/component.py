"""A compiled component, linked to the host's calls and ready to be instantiated many times.

Linking is driven by the component's own imports: for each imported function the host looks its call
up by name and compiles the converters from *that* import's type. So one call serves every version of
the contract that asks for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import c_void_p
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.boundary.whole.arena import Arena
from tests.boundary.whole.callbacks import as_callback, as_destructor
from tests.boundary.whole.fiber import ComponentFiber
from tests.boundary.whole.lower import lower
from wasmtime import Engine, WasmtimeError
from wasmtime import component as wasm_component
from wasmtime.component import Component as WasmComponent
from wasmtime.component import Linker
from wasmtime.component import _types as wt

from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.fiber import Fiber, StoreLimits
from guesthouse.wasm.engine.imports import (
    MAX_IMPORTED_FUNCTIONS,
    HostImport,
    host_function,
    host_resource,
    no_entry,
    too_many_functions,
    with_result,
)
from guesthouse.wasm.errors import LinkFailure, NotLoaded, WrongType
from guesthouse.wasm.plan.type_reader import TypeReader
from guesthouse.wasm.types import FunctionType

from . import capi as component_capi

_MAX_RESOURCES: Final = 256
"""Imported ones that are known by name; a call of the host's that takes one beyond them is not linked."""

_NOT_OFFERED: Final = (
    wt.FuncType,
    wt.ComponentType,
    wt.ComponentInstanceType,
    wt.ModuleType,
    wasm_component.ResourceType,
)
"""What no component gets unless it is a function or a resource of an interface."""


class Component:
    """One component and its linker. Lives as long as any instance of it."""

    def __init__(
        self,
        engine: Engine,
        source: Path | bytes | str,
        offer: HostImport,
        *entries: tuple[str | None, str],
    ) -> None:
        """Load and link.

        Args:
            engine: of `new_compiling_engine`.
            source: a file that `serialize` wrote with the same engine settings, or a component as bytes
                or WAT text (compiled here and now: for tests and trusted input alone).
            offer: the host's calls.
            entries: what may run the process, the preferred one first: an interface and the name of its
                function, or None and the name of a function of the component itself.

        Raises:
            LinkFailure: it imports what is not offered or has none of the entries.
            NotLoaded: the file is not of this engine.
        """
        self.engine = engine
        self._component = _load(engine, source)
        self._linker = Linker(engine)
        self._keep: list[object] = []
        self._types = TypeReader(named_resources(self._component.type, engine))
        self.entry, self.run_index, self.entry_type = _find_entry(
            self._component, engine, entries, self._types
        )
        self._lower_run = [lower(type_) for _, type_ in self.entry_type.params]
        self._link(offer)
        self.address = ctypes.cast(self._component.ptr(), c_void_p).value
        self.linker_address = ctypes.cast(self._linker.ptr(), c_void_p).value

    def new_fiber(self, limits: StoreLimits, owner: Any) -> Fiber:
        """A new guest."""
        return ComponentFiber(self, limits, owner)

    def lower_run_arguments(self, arguments: tuple[Any, ...], arena: Arena) -> int:
        """Write the arguments of the run function to `arena`; returns where they are.

        Raises:
            ConversionError: the component's run function takes other parameters.
        """
        if len(arguments) != len(self._lower_run):
            raise WrongType(f"it has {len(self._lower_run)} parameters, not {len(arguments)}")
        start = arena.take(component_capi.VAL_SIZE * len(arguments)) if arguments else 0
        for index, (write, value) in enumerate(zip(self._lower_run, arguments, strict=True)):
            write(value, start + component_capi.VAL_SIZE * index, arena)
        return start

    def _link(self, offer: HostImport) -> None:
        left = MAX_IMPORTED_FUNCTIONS
        with self._linker.root() as root:
            for interface, extern in self._component.type.imports(self.engine).items():
                item = extern.ty
                if isinstance(item, wt.ComponentInstanceType):
                    with root.add_instance(interface) as instance:
                        left -= self._link_interface(instance, interface, item, offer)
                elif isinstance(item, _NOT_OFFERED):
                    raise LinkFailure(f"imports {interface!r}, which this host does not offer")
                if left < 0:
                    raise too_many_functions()

    def _link_interface(
        self,
        instance: wasm_component.LinkerInstance,
        interface: str,
        type_: wt.ComponentInstanceType,
        offer: HostImport,
    ) -> int:
        count = 0
        where = ctypes.cast(instance.ptr(), c_void_p).value
        for name, extern in type_.exports(self.engine).items():
            item = extern.ty
            if isinstance(item, wt.FuncType):
                self._link_function(where, interface, name, self._types.function(item), offer)
                count += 1
            elif isinstance(item, wasm_component.ResourceType):
                self._link_resource(where, interface, name, offer)
            elif isinstance(item, _NOT_OFFERED):
                raise LinkFailure(f"imports {name!r} of {interface}, which this host does not offer")
        return count

    def _link_function(
        self, where: int | None, interface: str, name: str, type_: FunctionType, offer: HostImport
    ) -> None:
        function = host_function(offer, interface, name, type_)
        callback = as_callback(function, type_)
        self._keep.append(callback)
        add = component_capi.linker_add_func_async if function.blocks else component_capi.linker_add_func
        encoded = name.encode()
        _check(add(where, encoded, len(encoded), callback, None, None))

    def _link_resource(self, where: int | None, interface: str, name: str, offer: HostImport) -> None:
        number = host_resource(offer, interface, name)
        type_ = wasm_component.ResourceType.host(number)
        callback = as_destructor(offer.destructor, number)
        self._keep += (type_, callback)
        encoded = name.encode()
        type_address = ctypes.cast(type_.ptr(), c_void_p).value
        _check(
            component_capi.linker_add_resource(
                where, encoded, len(encoded), type_address, callback, None, None
            )
        )


def named_resources(
    type_: wt.ComponentType, engine: Engine
) -> Callable[[wasm_component.ResourceType], tuple[str, str] | None]:
    """What tells the interface and the name that a component imports a resource by."""
    named = [
        (inner.ty, (interface, name))
        for interface, extern in type_.imports(engine).items()
        if isinstance(extern.ty, wt.ComponentInstanceType)
        for name, inner in extern.ty.exports(engine).items()
        if isinstance(inner.ty, wasm_component.ResourceType)
    ]
    return lambda sought: next((name for known, name in named[:_MAX_RESOURCES] if known == sought), None)


def _check(error: int | None) -> None:
    if error:
        raise LinkFailure(capi.take_message(error))


def _load(engine: Engine, source: Path | bytes | str) -> WasmComponent:
    try:
        if isinstance(source, Path):
            return WasmComponent.deserialize_file(engine, str(source))
        return WasmComponent(engine, source)
    except WasmtimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise NotLoaded(f"the component cannot be loaded: {reason}") from None


_Found: TypeAlias = tuple[wasm_component.ExportIndex, FunctionType]


def _find_entry(
    component: WasmComponent, engine: Engine, entries: Sequence[tuple[str | None, str]], types: TypeReader
) -> tuple[tuple[str | None, str], wasm_component.ExportIndex, FunctionType]:
    """The first entry that the component has, by which it is run."""
    exports = component.type.exports(engine)
    for entry in entries:
        interface, name = entry
        if (name if interface is None else interface) in exports:
            find = _find_root if interface is None else _find_inside
            return entry, *find(component, engine, interface or "", name, types)
    raise no_entry(entries)


def _find_inside(
    component: WasmComponent, engine: Engine, interface: str, name: str, types: TypeReader
) -> _Found:
    item = component.type.exports(engine)[interface].ty
    outer = component.get_export_index(interface)
    if not isinstance(item, wt.ComponentInstanceType) or outer is None:
        raise LinkFailure(f"exports no {interface}: build it for the world `process`")
    function = item.exports(engine).get(name)
    index = component.get_export_index(name, outer)
    kind = None if function is None else function.ty
    return _checked(kind, index, f"{name!r} of {interface}", types, f"exports {interface} without {name!r}")


def _find_root(component: WasmComponent, engine: Engine, _: str, name: str, types: TypeReader) -> _Found:
    item = component.type.exports(engine)[name].ty
    index = component.get_export_index(name)
    return _checked(item, index, repr(name), types, f"exports {name!r}, which is no function")


def _checked(
    item: object, index: wasm_component.ExportIndex | None, where: str, types: TypeReader, otherwise: str
) -> _Found:
    if not isinstance(item, wt.FuncType) or index is None:
        raise LinkFailure(f"{otherwise}: build it for the world `process`")
    if item.result is not None:
        raise with_result(where)
    return index, types.function(item)

"""Plans a component: how a worker runs it from its core modules.

The definitions are evaluated here (`evaluator.py`); the types of functions come
from the engine, which compiles the component's *skeleton* (`skeleton.py`): the same component
with core modules that have neither code nor data. As these keep their imports, exports and types, the
engine validates the whole component except the inside of the modules, which it validates when it compiles them
one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from wasmtime import Engine, WasmtimeError
from wasmtime.component import Component, ResourceType
from wasmtime.component import _types as wt

from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.binary.core_module import without_start
from guesthouse.wasm.binary.unused_exports import without_unused_exports
from guesthouse.wasm.engine.engines import is_small
from guesthouse.wasm.engine.fiber import MAX_TABLES
from guesthouse.wasm.errors import UnsupportedType
from guesthouse.wasm.plan.definitions import Instance, Item, LiftedFunction, Sort
from guesthouse.wasm.plan.evaluator import Outcome, evaluate
from guesthouse.wasm.plan.memories import NO_MEMORIES, memories_of
from guesthouse.wasm.plan.needs import Needs
from guesthouse.wasm.plan.plan import Call, Dropped, Import, Lifted, Plan
from guesthouse.wasm.plan.skeleton import component_skeleton
from guesthouse.wasm.plan.type_reader import TypeReader
from guesthouse.wasm.plan.weight import Weight, table_sizes, weigh

MAX_FUNCTIONS: Final = 1024
"""Imported ones. A worker links at most half of that."""
MAX_RESOURCES: Final = 256
MAX_LIFTED: Final = 512
"""Exported functions. A worker calls one, and takes 30 µs to read each."""

_Name = tuple[str, str]


class Parts(Struct, frozen=True):
    """A planned component."""

    plan: Plan
    modules: tuple[bytes, ...]
    """The core modules to compile, in the order of their numbers."""
    type: wt.ComponentType
    """What the component imports and exports."""


def take_apart(content: bytes, engine: Engine) -> Parts:
    """Plan a component.

    Args:
        content: the component.
        engine: of `new_engine`, for components of this size.

    Raises:
        UnsupportedComponent: it has something that this host does not support, or is not a component.
    """
    outcome = evaluate(content)
    try:
        compiled = Component(engine, component_skeleton(content, outcome.linking.placed()))
        planner = _Planner(outcome, compiled.type, engine)
        plan = planner.plan(small=is_small(len(content)))
    except (WasmtimeError, UnsupportedType) as error:
        raise UnsupportedComponent(str(error)) from None
    modules = (without_start(each)[0] for each in outcome.linking.modules)
    pinned = (planner.memories.pin(number, each) for number, each in enumerate(modules))
    used = plan.used_exports()
    slim = tuple(without_unused_exports(each, used[number], engine) for number, each in enumerate(pinned))
    return Parts(plan, slim, compiled.type)


class _OwnResource(UnsupportedComponent):
    """A function takes or returns the component's own resource, which is unknown to the host."""


class _Planner:
    """Joins the evaluated definitions with the types from the engine."""

    def __init__(self, outcome: Outcome, type_: wt.ComponentType, engine: Engine) -> None:
        self._linking: Final = outcome.linking
        self._caller: Final = outcome.caller
        self._exported: Final = outcome.exports
        self._engine: Final = engine
        self._imports: Final = {name: extern.ty for name, extern in type_.imports(engine).items()}
        self._exports: Final = {name: extern.ty for name, extern in type_.exports(engine).items()}
        self._functions: Final[list[tuple[str, str, wt.FuncType]]] = []
        self._resources: Final[list[tuple[ResourceType, _Name]]] = []
        self._same: Final[dict[_Name, _Name]] = {}
        self._lifted_functions = 0
        """The first name of each resource, by its other names."""
        self._types: Final = TypeReader(self._known)
        self.memories = NO_MEMORIES
        """Of the component; known with the plan."""

    def plan(self, *, small: bool) -> Plan:
        """The complete plan."""
        for interface, item in self._imports.items():
            self._import(interface, item)
        linking = self._linking
        exports = tuple(self._lifted())
        self.memories = memories_of(linking.modules, linking.instantiations, linking.memory)
        return Plan(
            modules=len(linking.modules),
            small=small,
            instantiations=tuple(linking.instantiations),
            calls=tuple(self._call(call) for call in linking.calls),
            memory=linking.memory,
            reallocs=tuple(linking.reallocs),
            functions=tuple(
                Import(interface, name, self._types.function(type_))
                for interface, name, type_ in self._functions
            ),
            resources=tuple(self._same),
            exports=exports,
            weights=tuple(
                self._weight(number, weigh(each, small=small)) for number, each in enumerate(linking.modules)
            ),
            memories=self.memories.count,
            needs=Needs(self.memories.growing_bytes, self._largest_table()),
        )

    def _largest_table(self) -> int:
        sizes = [table_sizes(each) for each in self._linking.modules]
        count = sum(len(sizes[each.module]) for each in self._linking.instantiations)
        if count > MAX_TABLES:
            raise UnsupportedComponent(f"it has {count} tables, over {MAX_TABLES}")
        return max((size for each in sizes for size in each), default=0)

    def _weight(self, number: int, weight: Weight) -> Weight:
        pinned = self.memories.pinned_bytes(number, self._linking.modules[number])
        return replace(weight, bytes=weight.bytes + pinned) if pinned else weight

    def _import(self, interface: str, item: object) -> None:
        if isinstance(item, wt.ValType):
            return  # a named type, which is expanded in the functions that use it
        if not isinstance(item, wt.ComponentInstanceType):
            raise UnsupportedComponent(f"it imports {interface!r}, which is not an interface")
        for name, extern in item.exports(self._engine).items():
            inner = extern.ty
            if isinstance(inner, wt.FuncType):
                self._functions.append((interface, name, inner))
            elif isinstance(inner, ResourceType):
                self._resource(interface, name, inner)
            elif not isinstance(inner, wt.ValType):
                raise UnsupportedComponent(
                    f"it imports {name!r} of {interface!r}, which is neither function nor type"
                )
        if len(self._functions) > MAX_FUNCTIONS or len(self._same) > MAX_RESOURCES:
            raise UnsupportedComponent(
                f"it imports over {MAX_FUNCTIONS} functions or {MAX_RESOURCES} resources"
            )

    def _resource(self, interface: str, name: str, type_: ResourceType) -> None:
        first = self._first(type_)
        if first is None:
            self._resources.append((type_, (interface, name)))
        self._same[interface, name] = first or (interface, name)

    def _first(self, type_: ResourceType) -> _Name | None:
        return next((name for known, name in self._resources if known == type_), None)

    def _known(self, type_: ResourceType) -> _Name:
        name = self._first(type_)
        if name is None:
            raise _OwnResource("an imported function takes or returns a resource of the component's own")
        return name

    def _call(self, call: Call) -> Call:
        if isinstance(call, Dropped):
            if (call.interface, call.name) not in self._same:
                raise UnsupportedComponent(f"it drops a {call.name!r}, which is not a resource")
            return Dropped(*self._same[call.interface, call.name])
        return call

    def _lifted(self) -> Iterator[Lifted]:
        """The exports, by the names in their type: an instance may have more."""
        for name, item in self._exports.items():
            _, value = self._exported.get(name, (None, None))
            if isinstance(item, wt.ComponentInstanceType):
                inner = {inside: extern.ty for inside, extern in item.exports(self._engine).items()}
                exports = value.exports if isinstance(value, Instance) else {}
                yield from self._of_instance(name, inner, exports)
            else:
                yield from self._of_instance(None, {name: item}, self._exported)

    def _of_instance(
        self, interface: str | None, types: Mapping[str, object], values: Mapping[str, tuple[Sort, Item]]
    ) -> Iterator[Lifted]:
        for name, type_ in types.items():
            if isinstance(type_, (wt.ValType, ResourceType)):
                continue
            _, value = values.get(name, (None, None))
            if not isinstance(type_, wt.FuncType) or not isinstance(value, LiftedFunction):
                raise UnsupportedComponent(f"it exports {name!r}, which is not a function of its own")
            try:
                read = self._types.function(type_)
            except _OwnResource:
                continue  # never called
            if self._caller not in (None, value.frame):
                raise UnsupportedComponent(
                    f"it exports {name!r} of a nested component other than the one that calls the host"
                )
            self._lifted_functions += 1
            if self._lifted_functions > MAX_LIFTED:
                raise UnsupportedComponent(f"it exports over {MAX_LIFTED} functions")
            yield Lifted(interface, name, value.function, read, self._linking.use(value.options))

"""A component with its core modules, linked to the host's calls by its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Self

from msgspec.structs import replace

from guesthouse.wasm.abi.layout import CoreSignature, Known, core_signature
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.abi.signatures import lower_parameters
from guesthouse.wasm.core import core_capi
from guesthouse.wasm.core.core_fiber import CoreFiber
from guesthouse.wasm.core.gate_check import check_gate
from guesthouse.wasm.core.host_calls import (
    CHECK,
    as_core_call,
    as_core_check,
    as_core_drop,
    as_core_handle,
)
from guesthouse.wasm.core.import_table import Imports, ImportScratch
from guesthouse.wasm.core.instantiation import BatchSource, EntryPoint, Step
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.fiber import Fiber, StoreLimits
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.engine.imports import (
    MAX_IMPORTED_FUNCTIONS,
    HostImport,
    host_function,
    host_resource,
    no_entry,
    too_many_functions,
    where_is,
    with_result,
)
from guesthouse.wasm.engine.owned import CoreFunctionType, Native, address_of_native
from guesthouse.wasm.errors import LinkFailure, WrongType
from guesthouse.wasm.plan.needs import Needs
from guesthouse.wasm.plan.plan import (
    Call,
    CallOf,
    Checking,
    Dropped,
    Export,
    HandleAction,
    Lifted,
    Lowered,
    OwnHandle,
    Plan,
    Source,
    Trapping,
    unchecked,
)
from guesthouse.wasm.plan.weight import Weight, problem
from guesthouse.wasm.types import FunctionType


class LinkedComponent:
    """A component and its linker. Lives as long as any of its guests."""

    def __init__(
        self,
        engine: Native,
        plan: Plan,
        modules: Sequence[Native],
        offer: HostImport,
        *entries: tuple[str | None, str],
    ) -> None:
        """Link.

        Args:
            engine: the engine that compiled the modules.
            plan: the component's plan.
            modules: its core modules, by number.
            offer: the host's calls.
            entries: as for `Engines.load`.

        Raises:
            LinkFailure: it imports what is not offered, has none of the entries, or is too large to instantiate.
            NotLoaded: its plan leads past the gate.
        """
        too_heavy = problem(_weights(plan))
        if too_heavy is not None:
            raise LinkFailure(too_heavy)
        self.engine = engine
        self.modules = len(modules)
        """The number of its core modules."""
        self._modules = modules
        self._imported = frozenset(call.name for call in plan.calls if isinstance(call, Lowered))
        self._offer, self._entries = offer, entries
        self.entry, lifted = _find_entry(plan, entries)
        self.entry_type = lifted.type
        self.run = EntryPoint(lifted.function.instance, lifted.function.name.encode(), lifted.realloc)
        self._linker = _Linker(engine)
        self._numbers = {name: host_resource(offer, *name) for name in plan.resources}
        self._run_parameters = len(lifted.type.params)
        self._lower_run = lower_parameters(
            tuple(type_ for _, type_ in lifted.type.params), self._numbers.__getitem__
        )
        direct = self._link(plan, offer)
        self.steps: Sequence[Step] = _steps(plan, list(map(address_of_native, modules)), direct)
        self._step_modules = [each.module for each in plan.instantiations]
        self._free_scratch: list[ImportScratch] = []
        self.needs = plan.total_needs()
        self.memories = plan.memories
        self.reallocs = [(export.instance, export.name.encode()) for export in plan.reallocs]
        self._batch = plan.batch
        self.answering = self._answering(modules)

    def imports(self, name: str) -> bool:
        """Whether it may call a host call of that name, of any interface."""
        return name in self._imported

    def serves(self, offer: HostImport, entries: Sequence[tuple[str | None, str]]) -> bool:
        """Whether it is linked to these calls, and was asked for these entries."""
        return self._offer is offer and self._entries == tuple(entries)

    def with_modules(self, modules: Sequence[Native], needs: Needs) -> Self:
        """A component whose plan is this one's except for its needs: what is linked for one serves both.

        Args:
            modules: its core modules, by number.
            needs: its own, as in the plan.
        """
        made = copy(self)
        made._modules = modules
        addresses = list(map(address_of_native, modules))
        numbered = zip(self.steps, self._step_modules, strict=True)
        made.steps = tuple(replace(step, module=addresses[number]) for step, number in numbered)
        made.needs = replace(needs, other_bytes=self.needs.other_bytes)
        made.answering = self._answering(modules)
        return made

    def _answering(self, modules: Sequence[Native]) -> BatchSource | None:
        batch = self._batch
        if batch is None:
            return None
        return BatchSource(address_of_native(modules[batch.module]), *self.reallocs[batch.realloc])

    def new_fiber(self, limits: StoreLimits, owner: Any) -> Fiber:
        """A new guest."""
        return CoreFiber(self, limits, owner)

    def take_scratch(self) -> ImportScratch:
        """Scratch for an instantiation, to be returned by `give_scratch`."""
        if self._free_scratch:
            return self._free_scratch.pop()
        return ImportScratch([step.imports for step in self.steps], self._linker.address)

    def give_scratch(self, scratch: ImportScratch) -> None:
        """Return scratch. One is kept, since two concurrent instantiations are rare."""
        if not self._free_scratch:
            self._free_scratch.append(scratch)

    def lower_run_arguments(self, arguments: tuple[Any, ...], memory: LinearMemory) -> list[tuple[str, int]]:
        """The arguments of the run function as core values: type and bits.

        Raises:
            ConversionError: the component's run function takes other parameters.
        """
        if len(arguments) != self._run_parameters:
            raise WrongType(f"it has {self._run_parameters} parameters, not {len(arguments)}")
        return self._lower_run(arguments, memory)

    def _link(self, plan: Plan, offer: HostImport) -> dict[Source, Source]:
        """Link the host's calls; returns what modules import instead of the gate's checked functions."""
        if len(plan.functions) > MAX_IMPORTED_FUNCTIONS:
            raise too_many_functions()
        offered: dict[tuple[str, str], tuple[HostFunction, FunctionType]] = {}
        for each in plan.functions:
            function = host_function(offer, each.interface, each.name, each.type)
            offered[each.interface, each.name] = function, each.type
        check_gate(plan, [at for at, call in enumerate(plan.calls) if _may_block(call, offered)])
        known: Known = {}
        direct: dict[Source, Source] = {}
        whole: set[int] = set()
        callbacks: dict[Lowered, Any] = {}
        for number, call in enumerate(plan.calls):
            match call:
                case Dropped(interface, name):
                    callback = as_core_drop(offer.destructor, self._numbers[interface, name])
                    self._linker.define(number, callback, (("i32",), ()))
                case OwnHandle(resource, action):
                    results = () if action is HandleAction.DROP else ("i32",)
                    self._linker.define(number, as_core_handle(resource, action), (("i32",), results))
                case Lowered(interface, name, realloc):
                    function, type_ = offered[interface, name]
                    # Once for each: a component may lower one a thousand times, in types of its own making.
                    first = function.frequent and id(function) not in whole
                    whole.add(id(function))
                    callback = callbacks.get(call)
                    if callback is None:
                        callback = callbacks[call] = as_core_call(
                            function, type_, realloc, self._numbers.__getitem__, whole=first
                        )
                    self._linker.define(
                        number, callback, core_signature(type_, known), blocks=function.blocks
                    )
                    if not function.blocks:
                        direct[Export(0, str(number))] = Export(0, unchecked(number))
                case Checking():
                    self._linker.define(number, as_core_check(), ((), ()), given=CHECK)
                case Trapping():
                    pass  # the gate's own
        return direct if any(isinstance(call, Checking) for call in plan.calls) else {}


class _Linker:
    """The host's core functions, by their numbers in the plan."""

    def __init__(self, engine: Native) -> None:
        self.address = core_capi.linker_new(address_of_native(engine))
        self._keep: list[object] = [engine]
        self._delete = core_capi.linker_delete
        self._types: dict[CoreSignature, CoreFunctionType] = {}

    def define(
        self,
        number: int,
        callback: Any,
        signature: CoreSignature,
        *,
        blocks: bool = False,
        given: object = None,
    ) -> None:
        """Define one. `given` is the object that its callback is called with, which has to live on."""
        type_ = self._types.get(signature)
        if type_ is None:
            params, results = ([core_capi.KINDS[name] for name in names] for names in signature)
            type_ = self._types[signature] = CoreFunctionType(params, results)
        name = b"%d" % number
        env = None if given is None else id(given)
        define = core_capi.linker_define_async if blocks else core_capi.linker_define
        error = define(self.address, b"", 0, name, len(name), type_.ptr(), callback, env, None)
        if error:
            raise LinkFailure(capi.take_message(error))
        self._keep.append(callback)

    def __del__(self) -> None:
        self._delete(self.address)


def _may_block(call: Call, offered: Mapping[tuple[str, str], tuple[HostFunction, FunctionType]]) -> bool:
    return isinstance(call, Lowered) and offered[call.interface, call.name][0].blocks


def _find_entry(
    plan: Plan, entries: Sequence[tuple[str | None, str]]
) -> tuple[tuple[str | None, str], Lifted]:
    """The first of these entries that the component has."""
    exported = {(each.interface, each.name): each for each in plan.exports}
    for entry in entries:
        found = exported.get(entry)
        if found is not None:
            if found.type.result is not None:
                raise with_result(where_is(entry))
            return entry, found
    raise no_entry(entries)


def _weights(plan: Plan) -> list[Weight]:
    """Of each instance."""
    return [plan.weights[each.module] for each in plan.instantiations] if plan.weights else []


def _steps(plan: Plan, modules: Sequence[int], direct: Mapping[Source, Source]) -> tuple[Step, ...]:
    """The instantiations of the component."""
    steps = []
    first = 0
    places: dict[Source, int] = {}
    for number, each in enumerate(plan.instantiations):
        memory = (
            plan.memory.name.encode() if plan.memory is not None and plan.memory.instance == number else None
        )
        start = None if each.start is None else each.start.encode()
        time = plan.weights[each.module].microseconds if plan.weights else 0
        sources = [direct.get(source, source) for source in each.imports]
        steps.append(Step(modules[each.module], _imports(first, sources, places), memory, start, time))
        first += len(each.imports)
    return tuple(steps)


def _imports(first: int, sources: Sequence[Source], places: dict[Source, int]) -> Imports:
    """A module's imports from its first slot on; `places` has the slots of all earlier sources, and is extended."""
    calls, exports, again = [], [], []
    for place, source in enumerate(sources, first):
        where = places.setdefault(source, place)
        if where != place:
            again.append((place, where))
        elif isinstance(source, CallOf):
            calls.append((place, b"%d" % source.number))
        else:
            exports.append((place, source.instance, source.name.encode()))
    return Imports(first, len(sources), tuple(calls), tuple(exports), tuple(again))

"""Encodes a plan as JSON for the compile cache, and decodes it.

The cache verifies that an entry was stored by the node; decoding is strict
all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, repeat
from typing import Final

from guesthouse.core.json_text import read_json
from guesthouse.wasm.abi.layout import MAX_FLAT_PARAMS
from guesthouse.wasm.plan.json_values import (
    Json,
    all_of,
    below,
    boolean,
    columns,
    number,
    numbers_below,
    optional,
    text,
    texts,
)
from guesthouse.wasm.plan.needs import Needs
from guesthouse.wasm.plan.plan import (
    ANSWERED,
    MAX_MEMORIES,
    MAX_MODULES,
    MAX_OWN_RESOURCES,
    BatchModule,
    Call,
    CallOf,
    Checking,
    Dropped,
    Export,
    HandleAction,
    Import,
    Instantiation,
    Lifted,
    Lowered,
    OwnHandle,
    Plan,
    Source,
    Trapping,
)
from guesthouse.wasm.plan.type_table import ReadTypes, WrittenTypes
from guesthouse.wasm.plan.weight import Weight

MAX_PLAN_BYTES: Final = 4 * 1024 * 1024
"""Of a plan's JSON. A Python guest's has 0.1 MB."""
_MOST_COMMAS: Final = MAX_PLAN_BYTES // 8

_DROP: Final = "drop"
"""In place of the allocator's number for a call that drops a handle."""
_BUILT_IN: Final = "built-in"
"""There for a built-in call, which is the next of those."""
_TRAP: Final = "trap"
_CHECK: Final = "check"
_NEEDS: Final = re.compile(rb'"needs":\[(0|[1-9][0-9]{0,18}),(0|[1-9][0-9]{0,18})\]')
"""As a key of an object: within a string, the quotes would be escaped."""
_CORE_TYPES: Final = frozenset(("i32", "i64", "f32", "f64"))


def plan_to_json(plan: Plan) -> bytes:
    """The plan as JSON.

    Raises:
        ValueError: it is over `MAX_PLAN_BYTES`, or its types are too deep.
    """
    types = WrittenTypes()
    exports, numbers = _numbered(plan)
    value = {
        "modules": plan.modules,
        "small": plan.small,
        "imported": exports,
        "instantiations": [
            [each.module, [numbers[source] for source in each.imports], each.start]
            for each in plan.instantiations
        ],
        "calls": _calls(plan.calls),
        "built_in": [
            _built_in(call) for call in plan.calls if isinstance(call, OwnHandle | Trapping | Checking)
        ],
        "memory": plan.memory,
        "memories": plan.memories,
        "needs": [plan.needs.memory_bytes, plan.needs.table_elements],
        "reallocs": plan.reallocs,
        "functions": [*_named(plan.functions), *types.functions(each.type for each in plan.functions)],
        "resources": plan.resources,
        "exports": [
            *_named(plan.exports),
            [each.function for each in plan.exports],
            [each.realloc for each in plan.exports],
            *types.functions(each.type for each in plan.exports),
        ],
        "weights": [[each.bytes for each in plan.weights], [each.microseconds for each in plan.weights]],
        "batch": None if plan.batch is None else [plan.batch.module, plan.batch.realloc, plan.batch.answered],
        "types": types.to_json(),
    }
    encoded = json.dumps(value, separators=(",", ":")).encode()
    if len(encoded) > MAX_PLAN_BYTES:
        raise ValueError(f"the plan has {len(encoded)} bytes, over {MAX_PLAN_BYTES}")
    if encoded.count(b",") > _MOST_COMMAS:
        raise ValueError(f"the plan has over {_MOST_COMMAS} parts")
    return encoded


def plan_from_json(text: bytes) -> Plan:
    """Decode `plan_to_json`'s result.

    Raises:
        ValueError: it is invalid.
    """
    try:
        return _plan(read_json(text, MAX_PLAN_BYTES, _MOST_COMMAS))
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is not a plan: {error!r}") from None


def without_needs(text: bytes) -> tuple[bytes, Needs] | None:
    """A plan's text without its own needs, and these; None for one that is not written as `plan_to_json` does. Plans
    with equal texts are the same but for `needs`: components of one tool chain and world differ in nothing else.
    """
    found = _NEEDS.findall(text)
    if len(found) != 1:
        return None
    return _NEEDS.sub(b"", text), Needs(*map(int, found[0]))


def _plan(value: Json) -> Plan:
    """Checks that every index refers to something that exists when it is needed."""
    types = ReadTypes(value["types"])
    made, modules = len(value["instantiations"]), below(MAX_MODULES + 1, value["modules"])
    reallocs = all_of(partial(_read_export, made), value["reallocs"])
    built_in = all_of(_read_built_in, value["built_in"])
    calls = _read_calls(len(reallocs), built_in, *columns(3, value["calls"]))
    sources = _Sources(len(calls), value["imported"], made)
    return Plan(
        modules=modules,
        small=boolean(value["small"]),
        instantiations=tuple(
            _read_instantiation(sources, modules, before, each)
            for before, each in enumerate(value["instantiations"])
        ),
        calls=calls,
        memory=optional(partial(_read_export, made), value["memory"]),
        memories=below(MAX_MEMORIES + 1, value["memories"]),
        needs=_read_needs(value["needs"]),
        reallocs=reallocs,
        functions=_read_imports(types, *columns(5, value["functions"])),
        resources=all_of(_read_resource, value["resources"]),
        weights=_read_weights(modules, *columns(2, value["weights"])),
        exports=_read_lifted(types, made, len(reallocs), *columns(7, value["exports"])),
        batch=optional(partial(_read_batch, modules, len(reallocs), len(calls)), value["batch"]),
    )


def _named(functions: Sequence[Import | Lifted]) -> list[Json]:
    return [[each.interface for each in functions], [each.name for each in functions]]


def _calls(calls: Sequence[Call]) -> list[Json]:
    columns: list[Json] = [[], [], []]
    for call in calls:
        match call:
            case Lowered(interface, name, realloc):
                row: tuple[Json, ...] = interface, name, realloc
            case Dropped(interface, name):
                row = interface, name, _DROP
            case _:
                row = "", "", _BUILT_IN
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def _built_in(call: OwnHandle | Trapping | Checking) -> Json:
    if isinstance(call, Checking):
        return [_CHECK]
    return [_TRAP, *call.signature] if isinstance(call, Trapping) else [call.action, call.resource]


def _numbered(plan: Plan) -> tuple[list[Json], Mapping[Source, int]]:
    """All exports that modules import, without duplicates, as names by instance; and the number of each source: calls
    come first, then these.
    """
    used = {source for each in plan.instantiations for source in each.imports}
    exports = sorted(source for source in used if isinstance(source, Export))
    numbers: dict[Source, int] = {CallOf(number): number for number in range(len(plan.calls))}
    numbers |= {export: number for number, export in enumerate(exports, len(plan.calls))}
    groups = groupby(exports, lambda export: export.instance)
    return [[instance, [each.name for each in group]] for instance, group in groups], numbers


class _Sources:
    """What modules may import, by number."""

    def __init__(self, calls: int, groups: Json, made: int) -> None:
        self._all: list[Source] = [CallOf(number) for number in range(calls)]
        self._bounds: list[int] = []
        """For each instantiation, the number of the first source that does not exist before it."""
        for instance, names in groups:
            if below(made, instance) < len(self._bounds) - 1:
                raise ValueError("a plan's instances are not in their order")
            self._bounds += [len(self._all)] * (instance + 1 - len(self._bounds))
            # As `Export(…)`, without thousands of calls.
            self._all += map(tuple.__new__, repeat(Export), zip(repeat(instance), texts(names)))
        self._bounds += [len(self._all)] * (made - len(self._bounds))

    def read(self, made: int, numbers: Json) -> tuple[Source, ...]:
        """The sources of these numbers, which exist once `made` instances do."""
        return tuple(map(self._all.__getitem__, numbers_below(self._bounds[made], numbers)))


def _read_instantiation(sources: _Sources, modules: int, made: int, value: Json) -> Instantiation:
    module, imports, start = value
    return Instantiation(below(modules, module), sources.read(made, imports), optional(text, start))


def _read_export(made: int, value: Json) -> Export:
    instance, name = value
    return Export(below(made, instance), text(name))


def _read_batch(modules: int, reallocs: int, calls: int, value: Json) -> BatchModule:
    module, realloc, answered = value
    numbers = tuple(optional(partial(below, calls), number) for number in answered)
    if len(numbers) != len(ANSWERED):
        raise ValueError("a plan: which calls a batch answers was expected")
    return BatchModule(below(modules, module), below(reallocs, realloc), numbers)


def _read_calls(
    bound: int, built_in: Sequence[Call], interfaces: Json, names: Json, reallocs: Json
) -> tuple[Call, ...]:
    numbers_below(bound, [each for each in reallocs if each not in (None, _DROP, _BUILT_IN)])
    others = iter(built_in)
    named = zip(texts(interfaces), texts(names), reallocs, strict=True)
    calls = tuple(_read_call(interface, name, realloc, others) for interface, name, realloc in named)
    if any(True for _ in others):
        raise ValueError("a plan: there are unused calls")
    return calls


def _read_call(interface: str, name: str, realloc: Json, built_in: Iterator[Call]) -> Call:
    if realloc == _DROP:
        return Dropped(interface, name)
    if realloc != _BUILT_IN:
        return Lowered(interface, name, realloc)
    found = next(built_in, None)
    if found is None or interface or name:
        raise ValueError("a plan: a call does not exist")
    return found


def _read_built_in(value: Json) -> OwnHandle | Trapping | Checking:
    word, *rest = value
    if word == _CHECK and not rest:
        return Checking()
    if word == _TRAP:
        params, results = map(texts, rest)
        if not {*params, *results} <= _CORE_TYPES or len(params) > MAX_FLAT_PARAMS + 1 or len(results) > 1:
            raise ValueError("a plan: a function of core types was expected")
        return Trapping((params, results))
    (resource,) = rest
    return OwnHandle(below(MAX_OWN_RESOURCES, resource), HandleAction(word))


def _read_weights(modules: int, sizes: Json, times: Json) -> tuple[Weight, ...]:
    if len(sizes) not in (0, modules):
        raise ValueError("a plan: weights of all modules or none were expected")
    return tuple(map(Weight, map(number, sizes), map(number, times)))


def _read_needs(value: Json) -> Needs:
    memory_bytes, table_elements = map(number, value)
    return Needs(memory_bytes, table_elements)


def _read_imports(types: ReadTypes, interfaces: Json, names: Json, *type_: Json) -> tuple[Import, ...]:
    return tuple(map(Import, texts(interfaces), texts(names), types.functions(*type_)))


def _read_resource(value: Json) -> tuple[str, str]:
    interface, name = value
    return text(interface), text(name)


def _read_lifted(
    types: ReadTypes,
    made: int,
    bound: int,
    interfaces: Json,
    names: Json,
    functions: Json,
    reallocs: Json,
    *type_: Json,
) -> tuple[Lifted, ...]:
    return tuple(
        map(
            Lifted,
            [optional(text, interface) for interface in interfaces],
            texts(names),
            [_read_export(made, function) for function in functions],
            types.functions(*type_),
            [optional(partial(below, bound), realloc) for realloc in reallocs],
        )
    )

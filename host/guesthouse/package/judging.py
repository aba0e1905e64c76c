"""Why a component cannot run here, as a worker would find out: by the checks that the worker makes.

Runs in the compiler subprocess, as it looks at types that the component made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from wasmtime import Engine
from wasmtime.component import ResourceType
from wasmtime.component import _types as wt

from guesthouse.canonical.plan import Import, Plan
from guesthouse.package.description import MAX_PROBLEM, MAX_PROBLEMS, Description
from guesthouse.worker.boundary.errors import LinkFailure, UnsupportedType
from guesthouse.worker.boundary.offers import (
    MAX_IMPORTED_FUNCTIONS,
    no_entry,
    offered_function,
    offered_resource,
    too_many_functions,
    where_is,
    with_result,
)
from guesthouse.worker.boundary.types import FunctionType, TypeReader
from guesthouse.worker.boundary.whole.component import named_resources
from guesthouse.worker.calls import ENTRIES, HostCalls, check_entry, offered

_CALLS: Final = HostCalls()
_Exports = dict[tuple[str | None, str], FunctionType]


def problems_of_plan(description: Description, plan: Plan) -> tuple[str, ...]:
    """Why a component that is taken apart cannot run here, a line each; none when it can."""
    exports: _Exports = {(each.interface, each.name): each.type for each in plan.exports}
    return _cut((*_not_offered(description), *_problems(plan.functions, plan.resources, exports)))


def problems_of_whole(description: Description, type_: wt.ComponentType, engine: Engine) -> tuple[str, ...]:
    """The same for one that is run as a whole."""
    types = TypeReader(named_resources(type_, engine))
    try:
        exports = _entries(type_, engine, types)
        functions, resources = _imports(type_, engine, types)
    except UnsupportedType as error:
        return _cut((*_not_offered(description), str(error)))
    return _cut((*_not_offered(description), *_problems(functions, resources, exports)))


def _problems(
    functions: Iterable[Import], resources: Iterable[tuple[str, str]], exports: _Exports
) -> Iterator[str]:
    functions = list(functions)
    if len(functions) > MAX_IMPORTED_FUNCTIONS:
        yield str(too_many_functions())
    for each in functions:
        if offered(each.interface, each.name):
            try:
                offered_function(_CALLS, each.interface, each.name, each.type)
            except LinkFailure as failure:
                yield str(failure)
    for interface, name in resources:
        try:
            offered_resource(_CALLS, interface, name)
        except LinkFailure as failure:
            yield str(failure)
    yield from _entry_problems(exports)


def _entry_problems(exports: _Exports) -> Iterator[str]:
    entry = next((each for each in ENTRIES if each in exports), None)
    try:
        if entry is None:
            raise no_entry(tuple(ENTRIES))
        if exports[entry].result is not None:
            raise with_result(where_is(entry))
        check_entry(entry, exports[entry])
    except LinkFailure as failure:
        yield str(failure)


def _not_offered(description: Description) -> Iterator[str]:
    for item in description.imports:
        if item.kind == "type":
            continue
        if item.kind != "interface":
            yield f"imports the {item.kind} {item.name}, which this host does not offer"
            continue
        missing = [name for name in item.functions if not offered(item.name, name)]
        if missing:
            yield f"imports {', '.join(missing[:20])} of {item.name}, which this host does not offer"


def _imports(
    type_: wt.ComponentType, engine: Engine, types: TypeReader
) -> tuple[list[Import], list[tuple[str, str]]]:
    functions, resources = [], []
    for interface, extern in type_.imports(engine).items():
        if isinstance(extern.ty, wt.ComponentInstanceType):
            for name, inner in extern.ty.exports(engine).items():
                if isinstance(inner.ty, wt.FuncType):
                    functions.append(Import(interface, name, types.function(inner.ty)))
                elif isinstance(inner.ty, ResourceType):
                    resources.append((interface, name))
    return functions, resources


def _entries(type_: wt.ComponentType, engine: Engine, types: TypeReader) -> _Exports:
    exported = {name: extern.ty for name, extern in type_.exports(engine).items()}
    found: _Exports = {}
    for interface, name in ENTRIES:
        item = exported.get(name if interface is None else interface)
        if interface is not None and isinstance(item, wt.ComponentInstanceType):
            extern = item.exports(engine).get(name)
            item = None if extern is None else extern.ty
        if isinstance(item, wt.FuncType):
            found[interface, name] = types.function(item)
    return found


def _cut(problems: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(each[:MAX_PROBLEM].split()) for each in problems[:MAX_PROBLEMS])

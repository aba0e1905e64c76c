"""Why a component cannot run here, by the checks that a worker makes when it links it.

Runs in the compiler subprocess, because the component's types are untrusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from guesthouse.package.compile.description import MAX_PROBLEM, MAX_PROBLEMS, Description
from guesthouse.wasm.engine.imports import (
    MAX_IMPORTED_FUNCTIONS,
    host_function,
    host_resource,
    no_entry,
    too_many_functions,
    where_is,
    with_result,
)
from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.plan.plan import Import, Plan
from guesthouse.wasm.plan.weight import problem
from guesthouse.wasm.types import FunctionType
from guesthouse.worker.calls import ENTRIES, HostCalls, check_entry, offered

_CALLS: Final = HostCalls()
_NO_HTTP: Final = (
    "which this host does not offer, as processes speak HTTP by messages: leave it out, in JavaScript with "
    "`jco componentize -d http -d fetch-event`"
)
_Exports = dict[tuple[str | None, str], FunctionType]


def problems_of_plan(description: Description, plan: Plan) -> tuple[str, ...]:
    """Why a component cannot run here, a line each; none when it can."""
    exports: _Exports = {(each.interface, each.name): each.type for each in plan.exports}
    heavy = problem([plan.weights[each.module] for each in plan.instantiations])
    problems = _problems(plan.functions, plan.resources, exports)
    return _cut((*_not_offered(description), *problems, *([heavy] if heavy else [])))


def _problems(
    functions: Iterable[Import], resources: Iterable[tuple[str, str]], exports: _Exports
) -> Iterator[str]:
    functions = list(functions)
    if len(functions) > MAX_IMPORTED_FUNCTIONS:
        yield str(too_many_functions())
    for each in functions:
        if offered(each.interface, each.name):
            try:
                host_function(_CALLS, each.interface, each.name, each.type)
            except LinkFailure as failure:
                yield str(failure)
    for interface, name in resources:
        if _is_http(interface):
            continue  # said once, of all of it
        try:
            host_resource(_CALLS, interface, name)
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
    unknown = [item for item in description.imports if item.kind == "interface" and _is_http(item.name)]
    if unknown:
        yield f"imports {', '.join(item.name for item in unknown)}, {_NO_HTTP}"
    for item in description.imports:
        if item.kind == "type" or item in unknown:
            continue
        if item.kind != "interface":
            yield f"imports the {item.kind} {item.name}, which this host does not offer"
            continue
        missing = [name for name in item.functions if not offered(item.name, name)]
        if missing:
            yield f"imports {', '.join(missing[:20])} of {item.name}, which this host does not offer"


def _is_http(interface: str) -> bool:
    return interface.startswith("wasi:http/")


def _cut(problems: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(each[:MAX_PROBLEM].split()) for each in problems[:MAX_PROBLEMS])

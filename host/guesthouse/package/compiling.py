"""Compiles a component: into a plan and its core modules, or, if it is not taken apart, as a whole.

Without any limits: this is what a compiler subprocess does once it has given itself some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from wasmtime import Engine, Module, WasmtimeError
from wasmtime.component import Component

from guesthouse.canonical.codec import plan_to_json
from guesthouse.canonical.core_modules import CODE
from guesthouse.canonical.gate import with_gate
from guesthouse.canonical.planner import take_apart
from guesthouse.canonical.reading import MODULE, Unplanned, sections
from guesthouse.package.describing import describe
from guesthouse.package.description import Description
from guesthouse.package.judging import problems_of_plan, problems_of_whole
from guesthouse.package.names import without_harmful_names
from guesthouse.package.task import SHARED_BYTES
from guesthouse.worker.boundary.engine import is_small, new_engine

_NOTHING: Final = Description((), ())


@dataclass(frozen=True, slots=True)
class Compiled:
    """A component as a worker takes it."""

    description: Description
    planned: bool
    """Whether the parts are a plan's JSON and each core module's code; else there is one, all of its code."""
    parts: tuple[bytes | bytearray, ...]
    handed_back: frozenset[int] = frozenset()
    """The numbers of the core modules that are as they were, not compiled."""


def compile_component(content: bytes, *, share: bool = False) -> Compiled:
    """Compile a component.

    Args:
        content: the component.
        share: whether to hand back the modules that other components may have, too: those that take long.

    Raises:
        WasmtimeError: it is faulty.
        ValueError: it has more names than any process needs.
    """
    small = is_small(len(content))
    engine = new_engine(small=small)
    harmless = without_harmful_names(content)
    # Of one that is faulty the engine says why when it gets all of it.
    return _taken_apart(harmless, engine, share=share and not small) or _whole(harmless, engine)


def compile_whole(content: bytes) -> Compiled:
    """Compile a component without taking it apart: if it is faulty, the engine says why.

    Raises:
        WasmtimeError, ValueError: as for `compile_component`.
    """
    return _whole(without_harmful_names(content), new_engine(small=is_small(len(content))))


def compile_module(content: bytes) -> Compiled:
    """Compile a core module that was handed back.

    Raises:
        WasmtimeError: it is faulty.
    """
    return Compiled(_NOTHING, False, (Module(new_engine(), content).serialize(),))


def _taken_apart(component: bytes, engine: Engine, *, share: bool) -> Compiled | None:
    try:
        parts = take_apart(component, engine)
        description = describe(parts.type, engine)
        description = replace(description, problems=problems_of_plan(description, parts.plan))
        gated, gates = with_gate(parts.plan)
        plan = plan_to_json(gated)
        handed_back = _to_share(parts.modules, len(component)) if share else frozenset()
        modules = [
            module if number in handed_back else Module(engine, module).serialize()
            for number, module in enumerate((*parts.modules, *gates))
        ]
    except (Unplanned, WasmtimeError, ValueError):
        return None
    return Compiled(description, True, (plan, *modules), handed_back)


def _to_share(modules: Sequence[bytes], most: int) -> frozenset[int]:
    """The modules with much code. It is code that takes time: most of a Python guest is the data of one module, which
    is its own. Together they have no more bytes than the component, as the node checks.
    """
    shared = set()
    for number, module in enumerate(modules):
        code = sum(
            each.end - each.body for each in sections(module, 0, len(module), MODULE) if each.kind == CODE
        )
        if code >= SHARED_BYTES and len(module) <= most:
            shared.add(number)
            most -= len(module)
    return frozenset(shared)


def _whole(component: bytes, engine: Engine) -> Compiled:
    compiled = Component(engine, component)
    description = describe(compiled.type, engine)
    problems = problems_of_whole(description, compiled.type, engine)
    return Compiled(replace(description, problems=problems), False, (compiled.serialize(),))

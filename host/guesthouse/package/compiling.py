"""Compiles a component: into a plan and its core modules, or, if it is not taken apart, as a whole.

Without any limits: this is what a compiler subprocess does once it has given itself some.
"""

from __future__ import annotations

from dataclasses import dataclass

from wasmtime import Engine, Module, WasmtimeError
from wasmtime.component import Component

from guesthouse.canonical.codec import plan_to_json
from guesthouse.canonical.planner import take_apart
from guesthouse.canonical.reading import Unplanned
from guesthouse.package.describing import describe
from guesthouse.package.description import Description
from guesthouse.package.names import without_harmful_names
from guesthouse.worker.boundary.engine import is_small, new_engine


@dataclass(frozen=True, slots=True)
class Compiled:
    """A component as a worker takes it."""

    description: Description
    planned: bool
    """Whether the parts are a plan's JSON and each core module's code; else there is one, all of its code."""
    parts: tuple[bytes | bytearray, ...]


def compile_component(content: bytes) -> Compiled:
    """Compile a component.

    Raises:
        WasmtimeError: it is faulty.
        ValueError: it has more names than any process needs.
    """
    engine = new_engine(small=is_small(len(content)))
    harmless = without_harmful_names(content)
    # Of one that is faulty the engine says why when it gets all of it.
    return _taken_apart(harmless, engine) or _whole(harmless, engine)


def _taken_apart(component: bytes, engine: Engine) -> Compiled | None:
    try:
        parts = take_apart(component, engine)
        description = describe(parts.type, engine)
        plan = plan_to_json(parts.plan)
        modules = [Module(engine, module).serialize() for module in parts.modules]
    except (Unplanned, WasmtimeError, ValueError):
        return None
    return Compiled(description, True, (plan, *modules))


def _whole(component: bytes, engine: Engine) -> Compiled:
    compiled = Component(engine, component)
    return Compiled(describe(compiled.type, engine), False, (compiled.serialize(),))

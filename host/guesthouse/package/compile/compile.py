"""Compiles a component to a plan and its core modules, or refuses it.

Without limits: runs in a compiler subprocess that has set its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from msgspec import Struct
from msgspec.structs import replace
from wasmtime import Engine, Module, WasmtimeError
from wasmtime.component import Component

from guesthouse.package.compile.describe import describe
from guesthouse.package.compile.description import Description
from guesthouse.package.compile.job import SHARED_BYTES
from guesthouse.package.compile.judging import problems_of_plan
from guesthouse.package.compile.strip_names import without_harmful_names
from guesthouse.wasm.binary.byte_reader import MODULE, UnsupportedComponent, sections
from guesthouse.wasm.binary.core_module import CODE
from guesthouse.wasm.engine.engines import is_small, new_compiling_engine
from guesthouse.wasm.plan.gate import with_gate
from guesthouse.wasm.plan.long_instructions import interruptible
from guesthouse.wasm.plan.plan_json import plan_to_json
from guesthouse.wasm.plan.planner import take_apart

_ASYNCHRONOUS: Final = "requires the component model async"
_NO_ASYNCHRONOUS: Final = (
    "it uses asynchronous functions of the component model, which this host does not run: build it without, "
    "in JavaScript with `componentize-qjs --sync`"
)
_NONE: Final = Description((), ())


class Compiled(Struct, frozen=True):
    """A component as a worker loads it."""

    description: Description
    parts: tuple[bytes | bytearray, ...]
    """A plan's JSON and each core module's code; for a single core module, its code."""
    handed_back: frozenset[int] = frozenset()
    """The numbers of core modules left uncompiled."""


NOTHING: Final = Compiled(_NONE, (b"",))


def compile_component(content: bytes, *, share: bool = False) -> Compiled:
    """Compile a component.

    Args:
        content: the component.
        share: whether to leave large modules uncompiled, which components may share.

    Raises:
        WasmtimeError: it is invalid.
        ValueError: it has too many names, or something that this host does not support.
    """
    small = is_small(len(content))
    engine = new_compiling_engine(small=small)
    try:
        return _planned(content, engine, share=share and not small)
    except (UnsupportedComponent, WasmtimeError, ValueError) as error:
        refusal = error
    _raise_fault(content, engine)
    raise ValueError(f"cannot run here: {refusal}")


def find_fault(content: bytes) -> NoReturn:
    """Have the engine report what is wrong with a component.

    Raises:
        WasmtimeError, ValueError: as for `compile_component`; always one of them.
    """
    engine = new_compiling_engine(small=is_small(len(content)))
    _raise_fault(content, engine)
    try:
        for module in take_apart(content, engine).modules:
            without_harmful_names(interruptible(module))
    except UnsupportedComponent as refusal:
        raise ValueError(f"cannot run here: {refusal}") from None
    raise ValueError("cannot run here: one of its core modules cannot be compiled by itself")


def compile_module(content: bytes) -> Compiled:
    """Compile a single core module.

    Raises:
        WasmtimeError: it is invalid.
        ValueError: it has something that this host does not support.
    """
    try:
        return Compiled(_NONE, (_compiled(new_compiling_engine(), content),))
    except UnsupportedComponent as refusal:
        raise ValueError(str(refusal)) from None


def _compiled(engine: Engine, module: bytes) -> bytearray:
    changed = interruptible(module)
    if changed is not module:
        # Validated first: an invalid function index could be valid after functions are added.
        Module.validate(engine, module)
    # Of exactly what is compiled: no other reader of the component has to find the same names.
    return Module(engine, without_harmful_names(changed)).serialize()


def _planned(component: bytes, engine: Engine, *, share: bool) -> Compiled:
    parts = take_apart(component, engine)
    description = describe(parts.type, engine)
    gated, gates = with_gate(parts.plan)
    description = replace(
        description, problems=problems_of_plan(description, gated), needs=gated.total_needs()
    )
    plan = plan_to_json(gated)
    handed_back = _to_share(parts.modules, len(component)) if share else frozenset()
    modules = [
        module if number in handed_back else _compiled(engine, module)
        for number, module in enumerate(parts.modules)
    ]
    # As they are: they copy little, and what they do between two entries of functions must not be interrupted.
    ours = (Module(engine, module).serialize() for module in gates)
    return Compiled(description, (plan, *modules, *ours), handed_back)


def _to_share(modules: Sequence[bytes], most: int) -> frozenset[int]:
    """The modules with much code. Code takes time to compile; a Python guest is mostly data in one module that
    is its own. Together they are at most as large as the component, which the node checks.
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


def _raise_fault(component: bytes, engine: Engine) -> None:
    """The engine reports why a component is invalid when it gets all of it."""
    try:
        Component(engine, component)
    except WasmtimeError as error:
        if _ASYNCHRONOUS in str(error):
            raise ValueError(f"cannot run here: {_NO_ASYNCHRONOUS}") from None
        raise

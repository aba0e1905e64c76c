"""What must hold of a plan, whatever bytes it was made of."""

from __future__ import annotations

from typing import Final

import wasmtime
from wasmtime.component import Component

from guesthouse.package.compile.describe import describe
from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.plan.plan_json import plan_from_json, plan_to_json
from guesthouse.wasm.plan.planner import Parts, take_apart

from .following import follow

ENGINE: Final = new_compiling_engine(small=True)


def check(content: bytes) -> Parts | None:
    """What must hold of any bytes: they are refused cleanly, or what is made of them is sound."""
    try:
        parts = take_apart(content, ENGINE)
    except UnsupportedComponent:
        return None
    assert plan_from_json(plan_to_json(parts.plan)) == parts.plan
    try:
        for module in parts.modules:
            wasmtime.Module(ENGINE, module)
    except wasmtime.WasmtimeError:
        return None  # its code is faulty
    engine_says = Component(ENGINE, content)
    assert describe(parts.type, ENGINE) == describe(engine_says.type, ENGINE)
    try:
        follow(parts.plan, parts.modules, lambda call, arguments: None)
    except wasmtime.Trap:
        pass  # of its start, or of where its data and elements go
    except TypeError:
        assert any(each.start is not None for each in parts.plan.instantiations)  # it wanted a number
    return parts

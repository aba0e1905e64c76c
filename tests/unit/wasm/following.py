"""Follows a plan with nothing but wasmtime's core API: what a worker does, without values.

Whatever the plan wires wrongly, wasmtime refuses: it checks the type of each import that a module gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import wasmtime

from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.plan.plan import Call, CallOf, Export, Lifted, Plan, Source

Host = Callable[[Call, tuple[Any, ...]], Any]
"""What the host does when a call is called with these core values."""

_FOR_EVER: Final = 1 << 40


def silent(_: Call, arguments: tuple[Any, ...]) -> Any:
    """A host that answers nothing: for guests that do not ask while they are put together."""
    raise AssertionError(f"called with {arguments}")


@dataclass
class Followed:
    """A component brought to life."""

    store: wasmtime.Store
    plan: Plan
    instances: list[wasmtime.Instance] = field(default_factory=list)

    def get(self, export: Export) -> Any:
        """What an instance exports."""
        return self.instances[export.instance].exports(self.store)[export.name]

    def call(self, name: str, *arguments: Any) -> Any:
        """Call an exported function with core values."""
        (found,) = (each for each in self.plan.exports if each.name == name)
        return self.get(found.function)(self.store, *arguments)


def follow(plan: Plan, modules: Sequence[bytes], host: Host = silent) -> Followed:
    """Bring a component to life.

    Raises:
        WasmtimeError: a module is invalid, or what it gets is not what it imports.
        Trap: a start function came to an end of its own.
    """
    engine = new_compiling_engine(small=plan.small)
    compiled = [wasmtime.Module(engine, module) for module in modules]
    assert len(compiled) == plan.modules
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(_FOR_EVER)
    followed = Followed(store, plan)
    for each in plan.instantiations:
        module = compiled[each.module]
        wanted = module.imports
        assert len(wanted) == len(each.imports)
        imports = [
            _import(followed, type_.type, source, host)
            for type_, source in zip(wanted, each.imports, strict=True)
        ]
        instance = wasmtime.Instance(store, module, imports)
        followed.instances.append(instance)
        if each.start is not None:
            start = instance.exports(store)[each.start]
            assert isinstance(start, wasmtime.Func)
            start(store)
    if plan.memory is not None:
        assert isinstance(followed.get(plan.memory), wasmtime.Memory)
    for export in (*plan.reallocs, *(lifted.function for lifted in plan.exports)):
        assert isinstance(followed.get(export), wasmtime.Func)
    return followed


def _import(followed: Followed, type_: Any, source: Source, host: Host) -> Any:
    if not isinstance(source, CallOf):
        return followed.get(source)
    call = followed.plan.calls[source.number]
    return wasmtime.Func(followed.store, type_, lambda *arguments: host(call, arguments))


def names(exports: Sequence[Lifted]) -> list[tuple[str | None, str]]:
    """What is exported."""
    return [(each.interface, each.name) for each in exports]

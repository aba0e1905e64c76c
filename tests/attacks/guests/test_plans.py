"""Files of a compiler that is broken, or was taken over by the component that it compiled.

It may say what it likes in a plan and in the modules of its own component, and machine code is believed. But what is
none, and plans that name what is not there or is something else, end that guest, and nothing else of its worker.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
import wasmtime
from tests.patience import tried_again
from tests.tiers import thorough_but

from guesthouse.control.control_client import CommandRefused
from guesthouse.package.compile.cache import CompileCache, Made
from guesthouse.package.compile.compile import compile_component
from guesthouse.wasm.engine.engines import engine_key

from ..harness import Scene
from .attackers import SUITE, Attacker, installed

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


HARMLESS: Final = Attacker(
    "(call $our (i32.const 4096))",
    "",
    calls=("system.our", "system.print"),
    more="""(func (export "many") (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result f64 f64 f64 f64 f64 f64)
      (f64.const 1) (f64.const 1) (f64.const 1) (f64.const 1) (f64.const 1) (f64.const 1))
    (func (export "begin") (call $our (i32.const 4096)))
    (func (export "late") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "two") (param i32 i32 i32 i32) (result i32 i32) (i32.const 0) (i32.const 0))
    (table (export "table") 1 funcref) (global (export "global") i32 (i32.const 1))""",
)
MAIN: Final = 2
"""The number of the instance that runs: the gate and what has the memory come before it."""
GATED: Final = 4
"""The number of the gate's first function among what modules import: after the calls themselves and the check."""


@dataclass
class Parts:
    """What a compiler makes of a component."""

    plan: Any
    modules: list[bytes]


def plan(change: Callable[[Any], object]) -> Callable[[Parts], object]:
    """Changes the plan."""
    return lambda parts: change(parts.plan)


def put(value: Any, *path: str | int) -> Callable[[Parts], None]:
    """Puts that at a place in the plan."""

    def change(parts: Parts) -> None:
        *way, last = path
        found = parts.plan
        for each in way:
            found = found[each]
        found[last] = value

    return change


def built_in(*call: Any) -> Callable[[Parts], None]:
    """Puts a call that is none of an import in the place of the first one."""

    def change(parts: Parts) -> None:
        for column, value in zip(parts.plan["calls"], ("", "", "built-in"), strict=True):
            column[0] = value
        parts.plan["built_in"].insert(0, list(call))

    return change


def swap_modules(parts: Parts) -> None:
    parts.modules.reverse()


def swap_names(parts: Parts) -> None:
    names = parts.plan["calls"][1]
    names[0], names[1] = names[1], names[0]


def late_allocator(parts: Parts) -> None:
    """A start function calls the host, which is to use the allocator of an instance that comes later."""
    instantiations = parts.plan["instantiations"]
    instantiations.append(list(instantiations[MAIN]))
    instantiations[MAIN][2] = "begin"
    parts.plan["reallocs"][0] = [MAIN + 1, "late"]


def no_gate(parts: Parts) -> None:
    """Modules get the calls themselves."""
    modules = parts.plan["instantiations"]
    modules[MAIN][1] = [number - GATED if number >= GATED else number for number in modules[MAIN][1]]


def no_check(parts: Parts) -> None:
    """Nothing asks whether a call may block now."""
    del parts.plan["built_in"][-1]
    for column in parts.plan["calls"]:
        del column[-1]
    for module in parts.plan["instantiations"]:
        module[1] = [number - (number >= GATED) for number in module[1] if number != GATED - 1]


def no_code(parts: Parts) -> None:
    parts.modules[0] = b"\x7fELF" + bytes(5000)


def cut(parts: Parts) -> None:
    parts.modules[1] = parts.modules[1][: len(parts.modules[1]) // 2]


LIES: Final[dict[str, Callable[[Parts], object]]] = {
    "memory that is a function": put([MAIN, "run"], "memory"),
    "memory that is a table": put([MAIN, "table"], "memory"),
    "memory that there is not": put([MAIN, "nothing"], "memory"),
    "no memory": put(None, "memory"),
    "an allocator that is a memory": put([1, "memory"], "reallocs", 0),
    "an allocator that is a global": put([MAIN, "global"], "reallocs", 0),
    "an allocator of ten parameters and six results": put([MAIN, "many"], "reallocs", 0),
    "an allocator of two results": put([MAIN, "two"], "reallocs", 0),
    "an allocator that there is not": put([MAIN, "nothing"], "reallocs", 0),
    "an allocator of the future": late_allocator,
    "an allocator that is a call of the host": put([0, "0"], "reallocs", 0),
    "a call that blocks past its check": put("0 unchecked", "imported", 0, 1, 0),
    "a call that does not block past its check": put("1 unchecked", "imported", 0, 1, 1),
    "modules that import calls themselves": no_gate,
    "a gate that checks nothing": no_check,
    "a gate with a start function": put("0", "instantiations", 0, 2),
    "a gate that there is twice": put(2, "instantiations", 1, 0),
    "a run function that is a memory": put([1, "memory"], "exports", 2, 0),
    "a run function of another type": put([MAIN, "many"], "exports", 2, 0),
    "an instance of the future": put([9, "run"], "exports", 2, 0),
    "a billion modules": put(10**9, "modules"),
    "the other engine": put(False, "small"),
    "thousands of instances": plan(lambda it: it["instantiations"].extend([it["instantiations"][1]] * 5000)),
    "a start of another type": put("many", "instantiations", MAIN, 2),
    "calls under others' names": swap_names,
    "a call that makes handles": built_in("new", 0),
    "a call that takes handles": built_in("take", 255),
    "a call that the gate is to have": built_in("trap", ["i32"], []),
    "a call of the component that there is not": built_in("drop", 256),
    "a billion memories": put(10**9, "memories"),
    "memory of half a gigabyte": put([1 << 29, 0], "needs"),
    "modules in another order": swap_modules,
    "modules of zeros": no_code,
    "half a module": cut,
}


TRUE: Final = {
    "no weights": put([[], []], "weights"),
    "no times": put([0, 0, 0], "weights", 1),
    "no needs": put([0, 0], "needs"),
    "more memories": put(3, "memories"),
}
"""What makes a component no other."""


@contextmanager
def compiled_to(scene: Scene, wasm: bytes, change: Callable[[Parts], object]) -> Iterator[None]:
    """Have the node's compile cache say that a component was compiled to that, as far as its compiler says it."""
    home = scene.daemon.home
    compiled = compile_component(wasm)
    parts = Parts(json.loads(bytes(compiled.parts[0])), [bytes(each) for each in compiled.parts[1:]])
    change(parts)
    content = [json.dumps(parts.plan).encode(), *parts.modules]
    folder = home / "compiled"
    digest = hashlib.sha256(wasm).hexdigest()
    made = scene.folder / f"{digest}.made"
    made.write_bytes(b"".join(content))
    cache = CompileCache(folder, engine_key())
    cache.store(digest, Made(made, tuple(map(len, content)), compiled.description), {})
    try:
        yield
    finally:
        for path in folder.glob(f"{digest}-*"):
            path.unlink()


def unique(name: str) -> bytes:
    """The component, another for each lie: what is in a cache is under its digest."""
    return bytes(
        wasmtime.wat2wasm(HARMLESS.wat().replace('(export "two")', f'(export "two") (export "{name}")', 1))
    )


FIRST: Final = (
    "memory that is a function",
    "an allocator that is a memory",
    "an allocator that is a call of the host",
    "a call that blocks past its check",
    "a gate that checks nothing",
    "a run function of another type",
    "thousands of instances",
    "calls under others' names",
    "half a module",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(LIES, *FIRST))
@tried_again
async def test_what_a_broken_compiler_says_ends_one_guest_at_most(scene: Scene, name: str) -> None:
    wasm, process = unique(name), f"plan-{list(LIES).index(name)}"
    with compiled_to(scene, wasm, LIES[name]):
        async with scene.attack(SUITE, f"a plan with {name}") as attack:
            attack.gets = "it is not started"
            while not attack.measured:
                with pytest.raises(CommandRefused, match="cannot be started: ") as refused:
                    async with installed(scene, process, wasm):
                        pass
            attack.log = str(refused.value)


@pytest.mark.parametrize("name", thorough_but(TRUE, "no weights", "no needs"))
@tried_again
async def test_what_a_broken_compiler_leaves_out_changes_nothing_for_others(scene: Scene, name: str) -> None:
    wasm, process = unique(name), f"less-{list(TRUE).index(name)}"
    with compiled_to(scene, wasm, TRUE[name]):
        async with installed(scene, process, wasm) as process_id:
            async with scene.attack(SUITE, f"a plan with {name}", process_id) as attack:
                attack.gets = "it runs, within its limits"
                while not attack.measured:
                    await scene.ask("send", address=process_id, body="go")
            assert (await scene.ps())[process_id]["state"] == "running"

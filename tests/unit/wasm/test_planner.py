"""Real components and small ones, taken apart, and brought to life by what that gave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime
from tests.tiers import thorough_but
from wasmtime.component import Component

from guesthouse.package.compile.describe import describe
from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.engine.engines import is_small, new_compiling_engine
from guesthouse.wasm.plan.plan import Call, Dropped, Export, Import, Instantiation, Lifted, Lowered, Plan
from guesthouse.wasm.plan.plan_json import plan_from_json, plan_to_json
from guesthouse.wasm.plan.planner import Parts, take_apart
from guesthouse.wasm.types import STRING, U32, FunctionType, Handle

from ...e2e.kinode_guests import ERAS, SOURCES, Era, build_process
from . import shapes
from .following import Followed, follow, names

ROOT: Final = Path(__file__).parents[3]
GUEST: Final = "guesthouse:process/guest@0.1.0"
OF_EACH_LANGUAGE: Final = ("echo", "echo-c", "chat-cpp", "chat-go", "chat-js", "chat-rust")


def binary(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def parts_of(text: str) -> Parts:
    return take_apart(binary(text), new_compiling_engine(small=True))


class Host:
    """Answers each call with a number, and remembers what was asked."""

    def __init__(self, answer: int | None = None) -> None:
        self.answer = answer
        self.calls: list[tuple[Call, tuple[Any, ...]]] = []

    def __call__(self, call: Call, arguments: tuple[Any, ...]) -> int | None:
        self.calls.append((call, arguments))
        return self.answer


def alive(text: str, host: Host) -> Followed:
    parts = parts_of(text)
    return follow(parts.plan, parts.modules, host)


def test_a_component_is_its_modules_and_what_they_get() -> None:
    parts = parts_of(shapes.GUEST)
    number = FunctionType((("x", U32),), U32)
    assert parts.plan == Plan(
        modules=1,
        small=True,
        instantiations=(Instantiation(0, (parts.plan.instantiations[0].imports[0],)),),
        calls=(Lowered("a:b/c", "f"),),
        memory=None,
        reallocs=(),
        functions=(Import("a:b/c", "f", number),),
        resources=(),
        exports=(Lifted("a:b/guest", "run", Export(0, "run"), number),),
        weights=parts.plan.weights,
    )
    assert len(parts.plan.weights) == 1
    host = Host(41)
    assert follow(parts.plan, parts.modules, host).call("run", 7) == 42
    assert host.calls == [(Lowered("a:b/c", "f"), (7,))]


def test_functions_that_need_memory_are_reached_through_a_table() -> None:
    host = Host()
    followed = alive(shapes.SHIM, host)
    followed.call("run")
    assert host.calls == [(Lowered("a:b/t", "g", 0), (1, 2, 16))]
    assert followed.plan.memory == Export(1, "memory")
    assert followed.plan.reallocs == (Export(1, "realloc"),)
    assert [(each.interface, each.name, each.realloc) for each in followed.plan.exports] == [
        (None, "run", None)
    ]
    assert followed.plan.functions[0].type == FunctionType((("x", STRING),), STRING)


def test_a_resource_is_known_by_the_first_name_it_is_imported_by() -> None:
    host = Host()
    followed = alive(shapes.NESTED, host)
    thing = ("a:b/r", "thing")
    assert followed.plan.resources == (thing, ("a:b/s", "same"))
    assert followed.plan.calls == (Dropped(*thing),)
    (run,) = followed.plan.exports
    assert (run.interface, run.type.params) == ("a:b/guest", (("x", Handle(True, thing)),))
    followed.call("run", 5)
    assert host.calls == [(Dropped(*thing), (5,))]


def test_a_start_function_is_called_once_its_module_has_its_data() -> None:
    host = Host(9)
    followed = alive(shapes.START, host)
    assert host.calls == [(Lowered("a:b/c", "f"), (42,))]
    assert followed.call("run") == 9
    (instantiation,) = followed.plan.instantiations
    assert instantiation.start == "start'"  # as it exports another `start`


@pytest.mark.parametrize("name", shapes.PLANNED)
def test_what_is_taken_apart_describes_itself_as_the_whole_does(name: str) -> None:
    content, engine = binary(shapes.PLANNED[name]), new_compiling_engine(small=True)
    whole = Component(engine, content)
    assert describe(take_apart(content, engine).type, engine) == describe(whole.type, engine)


@pytest.mark.parametrize(
    "name", thorough_but(shapes.REFUSED, *shapes.REFUSED.keys() - {"its components multiply"})
)
@pytest.mark.slow
def test_an_unusual_component_is_left_to_the_engine(name: str) -> None:
    text, says = shapes.REFUSED[name]
    content, engine = binary(text), new_compiling_engine(small=True)
    Component(engine, content)
    with pytest.raises(UnsupportedComponent) as caught:
        take_apart(content, engine)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", shapes.NOT_TAKEN)
def test_what_the_engine_does_not_take_is_not_planned_either(name: str) -> None:
    text, says = shapes.NOT_TAKEN[name]
    content, engine = binary(text), new_compiling_engine(small=True)
    with pytest.raises(wasmtime.WasmtimeError):
        Component(engine, content)
    with pytest.raises(UnsupportedComponent, match=says):
        take_apart(content, engine)


INVALID = {
    "a function of another type": ("(result i32)", "(result i64)"),
    "another number of parameters": ('(param "x" u32) (result u32) (canon', "(result u32) (canon"),
    "no such import": ('(export "f" (func $f))', ""),
    "no such export": ('(core func $m "run")', '(core func $m "ran")'),
}


@pytest.mark.parametrize("how", INVALID)
def test_a_component_whose_parts_do_not_fit_is_not_planned(how: str) -> None:
    text = shapes.GUEST.replace(*INVALID[how])
    assert text != shapes.GUEST
    with pytest.raises(UnsupportedComponent):
        parts_of(text)


def test_faulty_code_is_found_when_the_modules_are_compiled() -> None:
    content = bytearray(binary(shapes.GUEST))
    at = content.index(bytes((0x41, 1, 0x6A, 0x0B)))  # i32.const 1, i32.add, end
    content[at + 2] = 0x7C  # i64.add
    parts = take_apart(bytes(content), new_compiling_engine(small=True))
    with pytest.raises(wasmtime.WasmtimeError, match="type mismatch"):
        follow(parts.plan, list(parts.modules))


def built() -> Iterator[Path]:
    """Components that tool chains made, as far as they are built."""
    for folder in ("sample_processes", "tests/e2e/guests", "bench/guests"):
        yield from sorted(ROOT.glob(f"{folder}/*/build/*.wasm"))


def by_language() -> list[Any]:
    """Those, all thorough but samples of each language."""
    paths = list(built())
    return thorough_but(paths, *(path for path in paths if path.stem in OF_EACH_LANGUAGE))


@pytest.mark.parametrize("path", by_language(), ids=lambda path: path.stem)
@pytest.mark.slow
def test_a_guest_that_a_tool_chain_made_is_taken_apart(path: Path) -> None:
    content = path.read_bytes()
    small = is_small(len(content))
    parts = take_apart(content, new_compiling_engine(small=small))
    assert parts.plan.small == small
    assert (GUEST, "run") in names(parts.plan.exports)
    assert parts.plan.memory is not None
    assert plan_from_json(plan_to_json(parts.plan)) == parts.plan
    if small:
        follow(parts.plan, parts.modules)


@pytest.mark.parametrize("era", ERAS, ids=lambda era: era.name)
@pytest.mark.slow
def test_an_application_of_the_kinode_os_is_taken_apart(era: Era) -> None:
    content = build_process(era, SOURCES / "src/game.c")
    parts = take_apart(content, new_compiling_engine(small=True))
    assert names(parts.plan.exports) == [(None, "init")]
    assert parts.plan.functions[0].interface == f"{era.package.replace('@', '/standard@')}"
    follow(parts.plan, parts.modules)


@pytest.mark.thorough
@pytest.mark.timeout(300)
@pytest.mark.slow
def test_a_python_guest_comes_to_life_by_its_plan() -> None:
    """Fourteen modules, linked to one another by 2,300 imports: each has the type that is asked for."""
    content = (ROOT / "sample_processes/echo/build/echo.wasm").read_bytes()
    parts = take_apart(content, new_compiling_engine())
    followed = follow(parts.plan, parts.modules)
    assert len(followed.instances) == len(parts.plan.instantiations) > 10

"""Components whose plans differ in their needs alone are linked once, and are otherwise what they were."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Final

import pytest
from wasmtime import wat2wasm

from guesthouse.package.compile.compile import compile_component
from guesthouse.wasm.artifact_files import PLAN_SUFFIX, core_path
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine.engines import new_engine
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.loader import Engines
from guesthouse.wasm.plan.plan_json import plan_from_json, without_needs

from ...boundary.components import MEMORY, RUN
from ...boundary.harness import Calls, fiber_of, finish_step, guest, run

_SAY: Final = '(export "say" (func (param "number" u32)))'
_IMPORT: Final = '(import "host" "say" (func $say (param i32)))'
_FOUR_PAGES: Final = '(memory (export "memory") 4)'
_PAGE: Final = 65_536


def saying(number: int, pages: int, more: str = "") -> str:
    """A component that says a number, and has so many pages of memory."""
    assert _FOUR_PAGES in MEMORY
    memory = MEMORY.replace(_FOUR_PAGES, f'(memory (export "memory") {pages})')
    return guest(f"(call $say (i32.const {number}))", _SAY, libc=memory, more=_IMPORT + more)


class Loading:
    """Components that are stored as in a node, and loaded as by a worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[int] = []
        self.calls = Calls({"say": lambda owner, number: self.said.append(number)})
        engine = new_engine(small=True)
        self.engines = Engines(engine, engine)
        self._stored = 0

    def stored(self, text: str) -> Path:
        self._stored += 1
        plan = self.folder / f"c{self._stored}{PLAN_SUFFIX}"
        made = compile_component(bytes(wat2wasm(text)))
        plan.write_bytes(made.parts[0])
        for number, module in enumerate(made.parts[1:]):
            core_path(plan, number).write_bytes(module)
        return plan

    def load(self, path: Path, calls: Any = None, *entries: tuple[str | None, str]) -> LinkedComponent:
        return self.engines.load(path, calls or self.calls, *(entries or (RUN,)))


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


def test_they_share_what_was_linked_and_run_their_own_code(loading: Loading) -> None:
    one, two = (loading.load(loading.stored(saying(number, number))) for number in (1, 2))
    assert one._linker is two._linker
    assert [each.needs.memory_bytes for each in (one, two)] == [_PAGE, 2 * _PAGE]
    for component in (one, two, two, one):
        run(component)
    assert loading.said == [1, 2, 2, 1]


def test_both_may_be_instantiated_at_a_time(loading: Loading) -> None:
    one, two = (loading.load(loading.stored(saying(number, number))) for number in (1, 2))
    with fiber_of(one) as first, fiber_of(two) as second:
        for fiber in (first, second):
            finish_step(fiber)
        for fiber in (second, first):
            fiber.start()
            finish_step(fiber)
    assert loading.said == [2, 1]


def test_each_has_its_own_needs(loading: Loading) -> None:
    small, large = (loading.load(loading.stored(saying(pages, pages))) for pages in (1, 9))
    limits = StoreLimits(memory_bytes=4 * _PAGE, table_elements=10)
    run(small, limits=limits)
    with pytest.raises(LinkFailure, match="has 589824 bytes of memory from the start"):
        large.new_fiber(limits, None)


def test_the_second_outlives_the_first(loading: Loading) -> None:
    one = loading.load(loading.stored(saying(1, 1)))
    two = loading.load(loading.stored(saying(2, 2)))
    run(one)
    del one
    gc.collect()
    run(two)
    run(loading.load(loading.stored(saying(3, 3))))
    assert loading.said == [1, 2, 3]
    del two
    gc.collect()
    assert not loading.engines._linked


def test_others_are_linked_by_themselves(loading: Loading) -> None:
    one = loading.load(loading.stored(saying(1, 1)))
    heavier = loading.load(loading.stored(saying(1, 1, '(func (export "another"))')))
    assert heavier._linker is not one._linker
    heard: list[int] = []
    other_calls = loading.load(
        loading.stored(saying(2, 2)), Calls({"say": lambda owner, number: heard.append(number)})
    )
    assert other_calls._linker is not one._linker
    run(other_calls)
    assert (heard, loading.said) == ([2], [])
    two_calls = guest("(call $say (i32.const 3))", _SAY + '(export "hush" (func))', more=_IMPORT)
    with pytest.raises(LinkFailure, match="hush"):
        loading.load(loading.stored(two_calls))


def test_an_entry_that_another_lacks_is_looked_for_again(loading: Loading) -> None:
    one, two = loading.stored(saying(1, 1)), loading.stored(saying(2, 2))
    kept = loading.load(one)
    with pytest.raises(LinkFailure):
        loading.load(two, None, (None, "start"))
    assert kept.serves(loading.calls, (RUN,))


def test_what_identifies_a_plan_is_all_but_its_needs(loading: Loading) -> None:
    texts = [loading.stored(saying(number, number)).read_bytes() for number in (1, 2)]
    found = [without_needs(text) for text in texts]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][0] == found[1][0]
    for text, (_, needs) in zip(texts, filter(None, found), strict=True):
        assert plan_from_json(text).needs == needs
    changed = texts[0].replace(b'"say"', b'"sag"')
    assert changed != texts[0]
    assert without_needs(changed) != found[0]


@pytest.mark.parametrize(
    "needs",
    [
        b"[1]", b"[-1,0]", b"[01,0]", b"[1.0,0]", b"[1, 0]", b"[1,0],\"needs\":[1,0]", b"[true,0]",
        b"[" + b"9" * 20 + b",0]",
    ],
)  # fmt: skip
def test_a_plan_that_is_written_otherwise_has_no_identity(loading: Loading, needs: bytes) -> None:
    text = loading.stored(saying(1, 1)).read_bytes()
    known = b'"needs":[%d,0]' % _PAGE
    assert known in text
    assert without_needs(text.replace(known, b'"needs":' + needs)) is None


def test_a_name_that_looks_like_needs_is_a_name() -> None:
    inside = b'{"names":["\\"needs\\":[1,2]"],"needs":[3,4]}'
    found = without_needs(inside)
    assert found is not None
    assert (found[1].memory_bytes, found[1].table_elements) == (3, 4)

"""Plans to JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.wasm.plan.plan import (
    MAX_MEMORIES,
    MAX_MODULES,
    MAX_OWN_RESOURCES,
    Call,
    CallOf,
    Checking,
    Dropped,
    Export,
    HandleAction,
    Import,
    Instantiation,
    Lifted,
    Lowered,
    OwnHandle,
    Plan,
    Source,
    Trapping,
)
from guesthouse.wasm.plan.plan_json import MAX_PLAN_BYTES, plan_from_json, plan_to_json
from guesthouse.wasm.types import (
    CHAR,
    MAX_COMPONENT_NODES,
    STRING,
    U8,
    EnumOf,
    FlagsOf,
    FunctionType,
    Handle,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

NAMES = st.text(max_size=8)
LABELS = st.lists(NAMES, max_size=3).map(tuple)
HANDLES = st.builds(Handle, st.booleans(), st.none() | st.tuples(NAMES, NAMES))


def compound(inner: st.SearchStrategy[WitType]) -> st.SearchStrategy[WitType]:
    pairs = st.lists(st.tuples(NAMES, inner), max_size=3).map(tuple)
    cases = st.lists(st.tuples(NAMES, st.none() | inner), max_size=3).map(tuple)
    return st.one_of(
        st.builds(ListOf, inner),
        st.builds(OptionOf, inner),
        st.builds(RecordOf, pairs),
        st.builds(VariantOf, cases),
        st.builds(TupleOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(ResultOf, st.none() | inner, st.none() | inner),
    )


LEAVES = st.one_of(
    st.sampled_from([U8, CHAR, STRING]), HANDLES, st.builds(EnumOf, LABELS), st.builds(FlagsOf, LABELS)
)
TYPES: st.SearchStrategy[WitType] = st.recursive(LEAVES, compound, max_leaves=8)
FUNCTIONS = st.builds(
    FunctionType, st.lists(st.tuples(NAMES, TYPES), max_size=3).map(tuple), st.none() | TYPES
)


CORE = st.sampled_from(("i32", "i64", "f32", "f64"))
TRAPPING = st.builds(
    Trapping,
    st.tuples(st.lists(CORE, max_size=17).map(tuple), st.lists(CORE, max_size=1).map(tuple)),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    def many(strategy: st.SearchStrategy[Any], size: int = 3) -> tuple[Any, ...]:
        return tuple(draw(st.lists(strategy, max_size=size)))

    modules, made = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    export = st.builds(Export, st.integers(0, made - 1), NAMES)
    reallocs = many(export)
    realloc = st.none() if not reallocs else st.none() | st.integers(0, len(reallocs) - 1)
    lowered: st.SearchStrategy[Call] = st.builds(Lowered, NAMES, NAMES, realloc)
    own = st.builds(OwnHandle, st.integers(0, MAX_OWN_RESOURCES - 1), st.sampled_from(HandleAction))
    calls = many(lowered | st.builds(Dropped, NAMES, NAMES) | own | TRAPPING | st.just(Checking()))

    def sources(number: int) -> st.SearchStrategy[Source]:
        before = st.builds(Export, st.integers(0, max(0, number - 1)), NAMES) if number else st.nothing()
        return before | (st.builds(CallOf, st.integers(0, len(calls) - 1)) if calls else st.nothing())

    instantiations = tuple(
        Instantiation(
            draw(st.integers(0, modules - 1)),
            many(sources(number)) if number or calls else (),
            draw(st.none() | NAMES),
        )
        for number in range(made)
    )
    return Plan(
        modules=modules,
        small=draw(st.booleans()),
        instantiations=instantiations,
        calls=calls,
        memory=draw(st.none() | export),
        reallocs=reallocs,
        functions=many(st.builds(Import, NAMES, NAMES, FUNCTIONS)),
        resources=many(st.tuples(NAMES, NAMES)),
        exports=many(st.builds(Lifted, st.none() | NAMES, NAMES, export, FUNCTIONS, realloc)),
        memories=draw(st.integers(0, MAX_MEMORIES)),
    )


@pytest.mark.slow
@given(plans())
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    assert plan_from_json(plan_to_json(plan)) == plan


PLAN = Plan(
    modules=2,
    small=True,
    instantiations=(
        Instantiation(0, ()),
        Instantiation(1, (CallOf(0), CallOf(1), Export(0, "memory")), "start"),
    ),
    calls=(
        Lowered("a:b/c", "f", 0),
        Dropped("a:b/c", "thing"),
        OwnHandle(3, HandleAction.NEW),
        Trapping((("i32", "f64"), ("i64",))),
        Checking(),
    ),
    memory=Export(0, "memory"),
    reallocs=(Export(1, "realloc"),),
    functions=(Import("a:b/c", "f", FunctionType((("x", ListOf(U8)),), ResultOf(None, STRING))),),
    resources=(("a:b/c", "thing"),),
    exports=(Lifted("a:b/guest", "run", Export(1, "run"), FunctionType((), None), 0),),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each part of a JSON value."""
    found = [at] if at else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        found += places(each, (*at, key))
    return found


@pytest.mark.parametrize("wrong", [-1, 10_000, True, 0.5, "no such", [], {}, ["own"], [[], []], "gone"])
def test_what_is_no_plan_is_refused_or_another_plan(wrong: Any) -> None:
    """Wherever something else stands. What is read has numbers of what there is, as reading it checks."""
    text = plan_to_json(PLAN)
    refused = 0
    for way in places(json.loads(text)):
        value = json.loads(text)
        inside = value
        for key in way[:-1]:
            inside = inside[key]
        if wrong == "gone":
            del inside[way[-1]]
        else:
            inside[way[-1]] = wrong
        try:
            read = plan_from_json(json.dumps(value).encode())
        except ValueError:
            refused += 1
        else:
            assert plan_from_json(plan_to_json(read)) == read
            assert read != PLAN or inside[way[-1]] == wrong
    assert refused > 20


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_what_is_not_even_an_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json has words of its own
        plan_from_json(text)


def test_a_plan_over_its_size_is_neither_written_nor_read() -> None:
    long = Plan(0, True, (), (), None, (), (), (("a", "x" * MAX_PLAN_BYTES),), ())
    with pytest.raises(ValueError, match="over 4194304"):
        plan_to_json(long)
    with pytest.raises(ValueError, match="over 4194304 bytes"):
        plan_from_json(b" " * (MAX_PLAN_BYTES + 1))


def test_types_too_deep_are_not_written() -> None:
    type_: WitType = U8
    for _ in range(250):
        type_ = ListOf(type_)
    function = FunctionType((("x", type_),), None)
    with pytest.raises(ValueError, match="over 200 deep"):
        plan_to_json(Plan(0, True, (), (), None, (), (Import("a", "f", function),), (), ()))


def with_types(entries: list[Any], *numbers: int) -> bytes:
    """A plan with these types, and a function that takes some of them."""
    value = json.loads(plan_to_json(PLAN))
    names = [f"x{number}" for number in range(len(numbers))]
    functions = [["a"], ["f"], [names], [numbers], [None]]
    value |= {"types": entries, "exports": [[]] * 7, "functions": functions}
    return json.dumps(value).encode()


def test_a_type_that_is_used_often_is_written_once_and_read_as_one_object() -> None:
    pair = TupleOf((ListOf(U8), ListOf(U8)))
    functions = tuple(Import("a", name, FunctionType((("x", pair),), pair)) for name in "fg")
    text = plan_to_json(Plan(0, True, (), (), None, (), functions, (), ()))
    assert json.loads(text)["types"] == ["u8", ["list", 0], ["tuple", [1, 1]]]
    f, g = (each.type for each in plan_from_json(text).functions)
    assert f.params[0][1] is f.result is g.result
    assert isinstance(f.result, TupleOf)
    assert f.result.elements[0] is f.result.elements[1]


@pytest.mark.parametrize("number", [1, 2, -1, True, None, "0"])
def test_a_type_names_types_before_it_alone(number: Any) -> None:
    with pytest.raises(ValueError, match=r"number|none of"):
        plan_from_json(with_types(["u8", ["list", number]], 1))
    assert plan_from_json(with_types(["u8", ["list", 0]], 1)).functions[0].type.params[0][1] == ListOf(U8)


def test_types_that_unfold_without_end_are_not_read() -> None:
    """A short table in which each type has the one before it twice."""
    doubled: list[Any] = ["u8", *(["tuple", [number, number]] for number in range(40))]
    with pytest.raises(ValueError, match="are too large"):
        plan_from_json(with_types(doubled, 40))
    with pytest.raises(ValueError, match="over 16384 types"):
        plan_from_json(with_types(doubled[:12], *[11] * 5))
    assert plan_from_json(with_types(doubled[:12], *[11] * 4))


@pytest.mark.parametrize("word", ["enum", "flags", "variant"])
def test_names_count_wherever_their_type_is_used(word: str) -> None:
    """Who reads or writes a value of a type knows all names of it."""
    names = [f"c{number}" for number in range(1600)]
    many: list[Any] = [word, names, *([[None] * 1600] if word == "variant" else [])]
    fits = MAX_COMPONENT_NODES // 101
    assert plan_from_json(with_types([many, ["tuple", [0] * (fits - 1)]], 1))
    with pytest.raises(ValueError, match="over 16384 types"):
        plan_from_json(with_types([many, ["tuple", [0] * (fits - 1)]], 1, 0, 0))
    with pytest.raises(ValueError, match="are too large"):
        plan_from_json(with_types([many, ["tuple", [0] * (fits + 1)]], 1))


def test_types_too_deep_are_not_read() -> None:
    nested: list[Any] = ["u8", *(["list", number] for number in range(200))]
    with pytest.raises(ValueError, match="are too large"):
        plan_from_json(with_types(nested, 0))
    assert plan_from_json(with_types(nested[:200], 199))


def test_a_module_gets_nothing_of_an_instance_that_comes_after_it() -> None:
    text = plan_to_json(PLAN).decode()
    for before, after in (
        ('[[0,["memory"]]]', '[[1,["memory"]]]'),
        ('[[0,["memory"]]]', '[[2,["memory"]]]'),
        ('[[0,["memory"]]]', '[[1,["run"]],[0,["memory"]]]'),
        ("[0,1,5]", "[0,1,6]"),
    ):
        assert before in text
        with pytest.raises(ValueError, match=r"number|order"):
            plan_from_json(text.replace(before, after).encode())


@pytest.mark.parametrize("modules", [MAX_MODULES + 1, 10**9])
def test_a_plan_of_more_modules_than_any_component_has_is_not_read(modules: int) -> None:
    """A worker looks for a file of each."""
    text = plan_to_json(PLAN).decode()
    plan_from_json(text.replace('"modules":2', f'"modules":{MAX_MODULES}').encode())
    with pytest.raises(ValueError, match="number"):
        plan_from_json(text.replace('"modules":2', f'"modules":{modules}').encode())


def test_a_call_and_an_export_are_never_the_same_nor_are_a_call_and_a_drop() -> None:
    call, export = CallOf(0), Export(0, "")
    assert len({call, export}) == 2
    assert len({Lowered("a", "f"), Dropped("a", "f"), OwnHandle(0, HandleAction.NEW)}) == 3


@pytest.mark.parametrize(
    "built_in",
    [
        [["new", MAX_OWN_RESOURCES], ["trap", ["i32"], []], ["check"]],
        [["new", -1], ["trap", ["i32"], []], ["check"]],
        [["lend", 3], ["trap", ["i32"], []], ["check"]],
        [["new", 3], ["trap", ["v128"], []], ["check"]],
        [["new", 3], ["trap", ["i32"] * 18, []], ["check"]],
        [["new", 3], ["trap", ["i32"], ["i32", "i32"]], ["check"]],
        [["new", 3]],
        [["new", 3], ["new", 3], ["new", 3], ["new", 3]],
        [["new", 3], ["trap", ["i32"], []], ["check", 1]],
    ],
)
def test_a_call_that_is_built_in_is_one_of_those_that_there_are(built_in: Any) -> None:
    value = json.loads(plan_to_json(PLAN))
    value["built_in"] = built_in
    with pytest.raises(ValueError, match=r"plan|HandleAction"):
        plan_from_json(json.dumps(value).encode())


def test_a_plan_of_more_memories_than_a_guest_may_have_is_not_read() -> None:
    text = plan_to_json(PLAN).decode()
    assert '"memories":1' in text
    with pytest.raises(ValueError, match="number"):
        plan_from_json(text.replace('"memories":1', f'"memories":{MAX_MEMORIES + 1}').encode())

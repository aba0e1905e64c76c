"""Components within one another that have code, and resources of a component's own: what becomes of them in a plan."""

from __future__ import annotations

import pytest
import wasmtime

from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.binary.core_module import read_module, trapping_exports
from guesthouse.wasm.engine.engines import WASM_PAGE, new_compiling_engine
from guesthouse.wasm.plan.plan import Dropped, HandleAction, Lowered, OwnHandle, Trapping
from guesthouse.wasm.plan.planner import Parts, take_apart

from . import shapes, shapes_within

ENGINE = new_compiling_engine(small=True)


def parts_of(text: str) -> Parts:
    return take_apart(bytes(wasmtime.wat2wasm(text)), ENGINE)


def test_a_call_of_what_only_traps_is_a_function_of_the_gate_that_traps() -> None:
    plan = parts_of(shapes_within.STUB).plan
    assert plan.calls == (Trapping((("i32", "i32", "i32"), ())), Lowered("a:b/c", "f"))
    assert [(each.interface, each.name) for each in plan.exports] == [("a:b/guest", "run")]


@pytest.mark.parametrize(
    "body",
    [
        "(i32.const 0)",
        "(local i32) unreachable",
        "nop unreachable",
        "(if (local.get 0) (then unreachable)) (i32.const 0)",
        "(loop (br 0)) unreachable",
    ],
)
def test_what_may_do_anything_else_is_not_called_across_components(body: str) -> None:
    text = shapes_within.STUB.replace(
        "(param i32 i32) (result i32) unreachable)", f"(param i32 i32) (result i32) {body})"
    )
    assert text != shapes_within.STUB
    with pytest.raises(UnsupportedComponent, match="calls another whose code does more than trap"):
        parts_of(text)


def test_exports_that_only_trap_are_those_and_no_others() -> None:
    module = read_module(
        bytes(
            wasmtime.wat2wasm("""(module
              (import "" "f" (func $imported)) (export "imported" (func $imported))
              (memory (export "unreachable memory") 1)
              (func (export "traps") unreachable) (func (export "returns"))
              (func $late (export "late") (param i64) (result f64) unreachable) (export "again" (func $late)))""")
        )
    )
    assert trapping_exports(module) == {"traps", "late", "again"}


def test_one_memory_can_grow_and_the_others_count() -> None:
    parts = parts_of(shapes_within.STUB)
    assert parts.plan.memories == 2
    engine = wasmtime.Engine()
    found = [
        export.type.limits
        for module in parts.modules
        for export in wasmtime.Module(engine, module).exports
        if isinstance(export.type, wasmtime.MemoryType)
    ]
    assert [(each.min, each.max) for each in found] == [(0, 0), (1, None)]
    larger = parts_of(
        shapes_within.STUB.replace('(memory (export "memory") 0)', '(memory (export "memory") 3)')
    )
    weights = [sum(each.bytes for each in one.plan.weights) for one in (parts, larger)]
    assert weights[1] - weights[0] == 3 * WASM_PAGE


def test_a_memory_that_passes_through_other_modules_is_the_one_that_grows() -> None:
    parts = parts_of("""(component
      (import "a:b/t" (instance $t (export "g" (func (param "x" string)))))
      (core module $libc (memory 1) (memory (export "memory") 1))
      (core instance $libc (instantiate $libc))
      (core module $through (import "" "memory" (memory 1)) (export "again" (memory 0)))
      (core instance $through (instantiate $through (with "" (instance $libc))))
      (core func (canon lower (func $t "g") (memory (core memory $through "again")))))""")
    module = parts.modules[0]
    section = next(each for each in read_module(module).sections.values() if each.kind == 5)
    assert parts.plan.memories == 2
    assert module[section.body : section.end] == b"\x02\x01\x01\x01\x00\x01"


def test_each_resource_of_its_own_has_a_number_and_its_destructor_is_guest_code() -> None:
    parts = parts_of(shapes_within.OWN)
    assert [call for call in parts.plan.calls if isinstance(call, OwnHandle)] == [
        OwnHandle(0, HandleAction.NEW),
        OwnHandle(0, HandleAction.REP),
        OwnHandle(0, HandleAction.TAKE),
        OwnHandle(1, HandleAction.NEW),
        OwnHandle(1, HandleAction.DROP),
    ]
    imports = [each.name for each in wasmtime.Module(wasmtime.Engine(), parts.modules[1]).imports]
    assert imports == ["take", "destructor"]
    assert [each.name for each in parts.plan.exports] == ["run"]  # who has its resources calls nothing of it


def test_a_component_within_has_resources_of_its_own_in_each_instance() -> None:
    plan = parts_of("""(component
      (component $c (type $r (resource (rep i32)))
        (core func (canon resource.new $r)) (core func (canon resource.new $r)) (core func (canon resource.drop $r)))
      (instance (instantiate $c)) (instance (instantiate $c)))""").plan
    assert plan.calls == tuple(
        OwnHandle(number, action) for number in (0, 1) for action in (HandleAction.NEW, HandleAction.DROP)
    )


def test_who_did_not_define_a_resource_has_handles_of_another_number() -> None:
    """It can come to hold none, as nobody gives it any: to drop one traps."""
    plan = parts_of("""(component
      (component $c (core module $m (func (export "d") (param i32))) (core instance $m (instantiate $m))
        (type $r (resource (rep i32) (dtor (core func $m "d")))) (core func (canon resource.drop $r))
        (export "r" (type $r)))
      (instance $c (instantiate $c)) (alias export $c "r" (type $r)) (core func (canon resource.drop $r)))""").plan
    assert plan.calls == (OwnHandle(0, HandleAction.TAKE), OwnHandle(1, HandleAction.DROP))


TYPES = """
  (type (record (field "a" u8) (field "b" (list string))))
  (type (variant (case "a" u8) (case "b")))
  (type (flags "a" "b")) (type (enum "a" "b")) (type (tuple u8 s64 f32 char))
  (type (result u8 (error string))) (type (result)) (type (option bool))
  (type (func (param "a" u8) (result string))) (type (func))
  (type $i (instance
    (export "r" (type (sub resource))) (type $list (list u8)) (export "l" (type (eq $list)))
    (export "f" (func (param "x" (own 0)) (param "y" (borrow 0))))))
  (type (component (import "a:b/c" (instance (export "x" (type (sub resource)))))
    (alias outer 1 $i (type $of)) (import "a:b/d" (instance (type $of)))
    (export "f" (func (param "a" string)))))
"""


def test_a_resource_is_found_among_types_of_all_kinds() -> None:
    """Also where the number of a type takes two bytes."""
    many = "(type (list u8))" * 70
    text = f"""(component
      (core module $m (func (export "d") (param i32))) (core instance $m (instantiate $m))
      (alias core export $m "d" (core func $d)) {TYPES}{many}
      (type $tuple (tuple 69 70)) (type (list $tuple)) (type $r (resource (rep i32) (dtor $d)))
      {TYPES.replace("$i", "$j")}
      (core func (canon resource.drop $r)))"""
    assert parts_of(text).plan.calls == (OwnHandle(0, HandleAction.TAKE),)


def test_a_type_that_is_no_resource_has_no_handles() -> None:
    text = (
        "(component (type $r (resource (rep i32))) (type $n (list u8)) (core func (canon resource.drop $r)))"
    )
    content = bytearray(wasmtime.wat2wasm(text))
    at = content.index(b"\x08\x03\x01\x03\x00")  # the section of `canon`
    content[at + 4] = 1
    with pytest.raises(UnsupportedComponent, match="not a resource"):
        take_apart(bytes(content), ENGINE)


def test_a_resource_of_the_host_is_dropped_by_who_calls_the_host() -> None:
    text = f"""(component {shapes.RESOURCE} {shapes.IMPORT}
      (alias export $r "thing" (type $thing)) (core func (canon lower (func $i "f")))
      (component $c (import "t" (type $t (sub resource))) (core func (canon resource.drop $t)))
      (instance (instantiate $c (with "t" (type $thing)))))"""
    with pytest.raises(UnsupportedComponent, match="several nested components call the host"):
        parts_of(text)
    alone = text.replace('(core func (canon lower (func $i "f")))', "")
    assert parts_of(alone).plan.calls == (Dropped("a:b/r", "thing"),)

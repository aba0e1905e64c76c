"""Core modules: what they import and export, and the two forms that the planner makes of them."""

from __future__ import annotations

import pytest
import wasmtime

from guesthouse.wasm.binary.byte_reader import MODULE, UnsupportedComponent, encoded_section
from guesthouse.wasm.binary.core_module import Kind, Wanted, read_module, without_start
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.plan.skeleton import module_skeleton

ENGINE = new_compiling_engine()
EVERYTHING = """
(module
  (type $f (func (param i32) (result i64)))
  (import "a" "function" (func (type $f)))
  (import "a" "table" (table 1 10 funcref))
  (import "a" "references" (table 1 funcref))
  (import "a" "memory" (memory 1 2))
  (import "b" "memory" (memory 1))
  (import "b" "global" (global i64))
  (import "b" "mutable" (global (mut f32)))
  (func $begin)
  (func (export "run") (type $f) (i64.const 1) (drop) (i64.const 2))
  (table (export "t") 2 funcref)
  (memory (export "m") 1)
  (global (export "g") i32 (i32.const 7))
  (elem (i32.const 0) $begin)
  (elem declare func $begin)
  (start $begin)
  (data (i32.const 0) "data")
  (data $passive "more")
  (func (export "init") (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 4))))
"""


def binary(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def types(content: bytes) -> list[str]:
    """What a module imports and exports, as wasmtime says it."""
    module = wasmtime.Module(ENGINE, content)
    imports = [f"{each.module} {each.name} {described(each.type)}" for each in module.imports]
    return imports + [f"{each.name} {described(each.type)}" for each in module.exports]


def described(type_: object) -> str:
    match type_:
        case wasmtime.FuncType():
            return f"{[str(each) for each in type_.params]} {[str(each) for each in type_.results]}"
        case wasmtime.TableType():
            return f"table {type_.element} {type_.limits.min} {type_.limits.max}"
        case wasmtime.MemoryType():
            return f"memory {type_.limits.min} {type_.limits.max}"
        case wasmtime.GlobalType():
            return f"global {type_.content} {type_.mutable}"
    raise AssertionError(type_)


def test_imports_and_exports_are_read_in_order() -> None:
    module = read_module(binary(EVERYTHING))
    assert module.imports == (
        Wanted("a", "function", Kind.FUNCTION),
        Wanted("a", "table", Kind.TABLE),
        Wanted("a", "references", Kind.TABLE),
        Wanted("a", "memory", Kind.MEMORY),
        Wanted("b", "memory", Kind.MEMORY),
        Wanted("b", "global", Kind.GLOBAL),
        Wanted("b", "mutable", Kind.GLOBAL),
    )
    assert module.exports == {
        "run": Kind.FUNCTION,
        "init": Kind.FUNCTION,
        "t": Kind.TABLE,
        "m": Kind.MEMORY,
        "g": Kind.GLOBAL,
    }
    assert module.start == 1


def test_a_skeleton_has_the_types_of_its_module_but_neither_code_nor_data() -> None:
    whole = binary(EVERYTHING)
    bones = module_skeleton(read_module(whole))
    assert types(bones) == types(whole)
    assert b"data" in whole
    assert b"data" not in bones
    assert module_skeleton(read_module(bones)) == bones


def test_a_skeleton_has_the_functions_that_are_exported_and_no_others() -> None:
    exports = '(export "imported" (func $i)) (export "second" (func $b)) (export "first" (func $a))'
    whole = binary(
        '(module (import "" "i" (func $i (param f32))) (func) (func $a (result i64) unreachable) (func)'
        f'(func $b (param i32)) (func) {exports} (func) (export "second again" (func $b)))'
    )
    bones = module_skeleton(read_module(whole))
    assert types(bones) == types(whole)
    assert bones.count(b"\x03\x00\x00\x0b") == 2


def test_a_skeleton_of_a_function_that_is_not_there_is_none() -> None:
    content = binary('(module (func $a) (func (export "a")) (start $a))')
    for old, new in ((b"\x01a\x00\x01", b"\x01a\x00\x02"), (bytes((8, 1, 0)), bytes((8, 1, 9)))):
        assert old in content
        with pytest.raises(UnsupportedComponent, match="does not exist"):
            module_skeleton(read_module(content.replace(old, new)))


def test_a_module_without_start_exports_that_function() -> None:
    whole = binary(EVERYTHING)
    content, name = without_start(read_module(whole))
    assert name == "start"
    assert read_module(content).start is None
    assert types(content) == [*types(whole), "start [] []"]


@pytest.mark.parametrize("exports", ["", '(export "start" (func $f))', '(export "start\'" (func $f))'])
def test_a_start_function_is_exported_by_a_name_that_is_free(exports: str) -> None:
    sections = "(table 1 funcref) (elem (i32.const 0) $f) (global (mut i32) (i32.const 0))"
    whole = binary(f"(module (func $f) {exports} (start $f) {sections})")
    content, name = without_start(read_module(whole))
    assert name not in read_module(whole).exports
    assert types(content) == [*types(whole), f"{name} [] []"]


def test_an_imported_function_can_be_the_start() -> None:
    content, name = without_start(read_module(binary('(module (import "a" "b" (func $f)) (start $f))')))
    assert types(content) == ["a b [] []", f"{name} [] []"]


def test_an_empty_section_of_exports_is_used() -> None:
    whole = binary("(module (func $f) (start $f))")
    at = whole.index(bytes((8, 1, 0)))
    content, name = without_start(read_module(whole[:at] + encoded_section(7, b"\0") + whole[at:]))
    assert types(content) == [f"{name} [] []"]


def test_a_module_that_has_no_start_stays_as_it_is() -> None:
    whole = binary("(module (func))")
    assert without_start(read_module(whole)) == (whole, None)


def test_a_start_function_with_parameters_makes_no_valid_skeleton() -> None:
    """Without its start section the module would be valid."""
    valid = binary("(module (func) (func (param i32)) (start 0))")
    content = valid.replace(bytes((8, 1, 0)), bytes((8, 1, 1)))
    module = read_module(content)
    wasmtime.Module(ENGINE, without_start(module)[0])
    with pytest.raises(wasmtime.WasmtimeError, match="start function"):
        wasmtime.Module(ENGINE, module_skeleton(module))


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (encoded_section(14, b""), "unknown kind 14"),
        (encoded_section(2, b"\x01\x00\x00\x04\x00\x00"), "unknown kind 4"),
        (encoded_section(2, b"\x01\x00\x00\x02\x04\x00"), "unknown limits"),
        (encoded_section(2, b"\x01\x00\x00\x02\x03\x00\x01"), "unknown limits"),
        (encoded_section(2, b"\x01\x00\x00\x01\x64\x70\x00\x01"), "unknown type 0x64"),
        (encoded_section(2, b"\x01\x00\x00\x03\x63\x00"), "unknown type 0x63"),
        (encoded_section(2, b"\x01\x00\x00\x03\x7f\x02"), "unknown type 0x2"),
        (encoded_section(2, b"\x00\x00"), "longer than its content"),
        (encoded_section(7, b"\x01\x00\x05\x00"), "unknown kind 5"),
        (encoded_section(7, b"\x00") * 2, "two sections of one kind"),
        (encoded_section(2, b"\x91\x4e"), "has 10001 imports of a module, over 10000"),
    ],
)
def test_what_is_unknown_in_a_module_is_refused(added: bytes, says: str) -> None:
    with pytest.raises(UnsupportedComponent, match=says):
        read_module(MODULE + added)

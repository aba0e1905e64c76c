"""From WIT and a core module to a component, without any tool but wasmtime."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from wasmtime.component import Component
from wasmtime.component._types import ComponentInstanceType

from guesthouse.package.build.componentize import make_component
from guesthouse.package.build.sdk_files import wit_folder
from guesthouse.package.build.wit import Composite, Function, Type, Use, WitPackage, read_wit
from guesthouse.package.core_module import read_core_module
from guesthouse.package.errors import BuildError
from guesthouse.wasm.engine.engines import new_engine

GUEST_RUN = "guesthouse:process/guest@0.1.0#run"
MEMORY = '(memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)'
RUN = f'(func (export "{GUEST_RUN}") (param i32 i32 i32 i32 i32 i32 i32 i32))'


def core(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def wit_of(tmp_path: Path, text: str) -> WitPackage:
    (tmp_path / "w.wit").write_text(f"package a:b@1.2.3;\n{text}")
    return read_wit(tmp_path)


def imports_of(component: bytes) -> dict[str, list[str]]:
    engine = new_engine()
    type_ = Component(engine, component).type
    found = {}
    for name, extern in type_.imports(engine).items():
        assert isinstance(extern.ty, ComponentInstanceType)
        found[name] = list(extern.ty.exports(engine))
    return found


def test_the_whole_contract_is_read() -> None:
    wit = read_wit(wit_folder())
    world = wit.worlds["process"]
    assert world.exports == ["guesthouse:process/guest@0.1.0"]
    assert set(world.imports) | set(world.exports) == set(wit.interfaces)
    messaging = wit.interfaces["guesthouse:process/messaging@0.1.0"]
    assert messaging.types["message"] == Use("guesthouse:process/types@0.1.0", "message")
    assert messaging.functions["receive"] == Function(
        (), Type("result", (Type("message"), Type("send-failure")))
    )


def test_every_kind_of_type_is_read(tmp_path: Path) -> None:
    wit = wit_of(
        tmp_path,
        """
        /* a comment */ interface i {
          /// documented
          record r { a: u8, %record: list<option<tuple<s64, char>>>, }
          variant v { none, some(r) }
          enum e { x, y, }
          flags f { p, q }
          type t = result<_, e>;
          @since(version = 1.0.0)
          g: func(a: t, b: result) -> result<r>;
        }
        world w { import i; }
        """,
    )
    interface = wit.interfaces["a:b/i@1.2.3"]
    inner = Type("list", (Type("option", (Type("tuple", (Type("s64"), Type("char"))),)),))
    assert interface.types == {
        "r": Composite("record", (("a", Type("u8")), ("record", inner))),
        "v": Composite("variant", (("none", None), ("some", Type("r")))),
        "e": Composite("enum", (("x", None), ("y", None))),
        "f": Composite("flags", (("p", None), ("q", None))),
        "t": Type("result", (None, Type("e"))),
    }
    assert interface.functions["g"] == Function(
        (("a", Type("t")), ("b", Type("result"))), Type("result", (Type("r"),))
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("interface i { resource r; }", "'resource' is not read"),
        ("interface i { f: func(a: own<r>); }", "'own' is not read"),
        ("interface i {", "'more' was expected, not 'the end'"),
        ("interface i { f: func(a u8); }", "':' was expected, not 'u8'"),
        ("include x;", "'include' is not read at the top level"),
        ("interface i { # }", "is not WIT"),
        ("world w { include x; }", "'include' is not read in a world"),
    ],
)
def test_wit_that_is_not_read_is_named_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        wit_of(tmp_path, text)
    assert says in str(caught.value)
    assert "w.wit:2:" in str(caught.value)


def test_a_folder_without_wit_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"has no \.wit file"):
        read_wit(tmp_path)


def test_a_component_imports_the_functions_that_its_module_uses_and_no_others() -> None:
    module = core(
        '(import "guesthouse:process/messaging@0.1.0" "has-blob" (func (result i32)))'
        '(import "guesthouse:process/http-server@0.1.0" "send-ws-text" (func (param i32 i32 i32 i32)))'
        f"{MEMORY} {RUN}"
    )
    imports = imports_of(make_component(module, read_wit(wit_folder()), "process", "x"))
    functions = {
        name: [f for f in inner if f in ("has-blob", "send-ws-text")] for name, inner in imports.items()
    }
    assert functions == {
        "guesthouse:process/types@0.1.0": [],
        "guesthouse:process/messaging@0.1.0": ["has-blob"],
        "guesthouse:process/http-server@0.1.0": ["send-ws-text"],
    }
    assert "receive" not in imports["guesthouse:process/messaging@0.1.0"]


def test_a_module_without_imports_makes_a_component() -> None:
    component = make_component(core(MEMORY + RUN), read_wit(wit_folder()), "process", "x")
    assert list(imports_of(component)) == ["guesthouse:process/types@0.1.0"]


def test_types_may_be_written_in_any_order(tmp_path: Path) -> None:
    wit = wit_of(
        tmp_path,
        """
        interface i { f: func(a: first) -> second; record first { a: second } enum second { x, y } }
        interface g { run: func(); }
        world w { import i; export g; }
        """,
    )
    module = core(
        f'(import "a:b/i@1.2.3" "f" (func (param i32) (result i32))) {MEMORY} (func (export "a:b/g@1.2.3#run"))'
    )
    assert list(imports_of(make_component(module, wit, "w", "x"))) == ["a:b/i@1.2.3"]


def test_a_type_inside_itself_is_refused(tmp_path: Path) -> None:
    wit = wit_of(
        tmp_path,
        "interface i { record a { b: b } record b { a: list<a> } f: func(); }"
        "interface g { run: func(); } world w { import i; export g; }",
    )
    module = core(f'(import "a:b/i@1.2.3" "f" (func)) {MEMORY} (func (export "a:b/g@1.2.3#run"))')
    with pytest.raises(BuildError, match="inside itself"):
        make_component(module, wit, "w", "x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RUN, "does not export memory"),
        ('(memory (export "memory") 1)' + RUN, "does not export cabi_realloc"),
        (MEMORY, f"does not export {GUEST_RUN}"),
        (MEMORY + RUN + '(import "env" "malloc" (func))', "imports env malloc"),
        (MEMORY + RUN + '(import "guesthouse:process/system@0.1.0" "fly" (func))', "imports .* fly"),
        (MEMORY + RUN + '(import "guesthouse:process/guest@0.1.0" "run" (func))', "imports .* run"),
        (MEMORY.replace(" 1)", " 1)", 1) + RUN + '(import "env" "g" (global i32))', "is not a function"),
    ],
)
def test_a_module_that_does_not_fit_the_world_is_refused(text: str, says: str) -> None:
    fields = text.split("(import")
    ordered = "".join(f"(import{field}" for field in fields[1:]) + fields[0]
    with pytest.raises(BuildError, match=says) as caught:
        make_component(core(ordered), read_wit(wit_folder()), "process", "src/echo.c")
    assert str(caught.value).startswith("src/echo.c")


def test_an_import_of_the_wrong_signature_is_caught_before_it_runs() -> None:
    module = core(
        f'(import "guesthouse:process/messaging@0.1.0" "has-blob" (func (param i64))) {MEMORY} {RUN}'
    )
    component = make_component(module, read_wit(wit_folder()), "process", "x")
    with pytest.raises(wasmtime.WasmtimeError):
        Component(new_engine(), component)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        read_core_module(b"\x00asm\x01\x00\x00\x00" + content, "x")
    except BuildError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def test_what_is_no_core_module_is_refused() -> None:
    with pytest.raises(BuildError, match="is not a core WebAssembly module"):
        read_core_module(b"\x00asm\x0d\x00\x01\x00", "x")

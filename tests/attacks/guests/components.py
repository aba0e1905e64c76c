"""Components that are an attack before they run: on whoever compiles, describes, links or maps them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import wasmtime

from ...unit.worker.contract import FUNCTIONS
from .attackers import Attacker

GUEST: Final = Attacker("", "")
EMPTY: Final = b"\0asm\x0d\0\x01\0"
STEP: Final = bytes.fromhex("2000 2000 6d 2100")
"""Divides a local by itself: the compiler makes ten times more of a division than of an addition."""


def with_fields(*fields: str) -> bytes:
    """A guest with more in its component."""
    text = GUEST.wat()
    assert text.endswith(")")
    return bytes(wasmtime.wat2wasm(f"{text[:-1]} {' '.join(fields)})"))


def number(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + number(len(content)) + content


def nested(component: bytes) -> bytes:
    """A section that has a component in it."""
    return section(4, component)


def with_code(functions: int, steps: int) -> bytes:
    """A guest with a core module of so many functions, in each of which every step needs the one before."""
    body = b"\x01\x01\x7f" + STEP * steps + b"\x0b"
    module = (
        b"\0asm\x01\0\0\0"
        + section(1, b"\x01\x60\0\0")
        + section(3, number(functions) + bytes(functions))
        + section(10, number(functions) + (number(len(body)) + body) * functions)
    )
    return with_fields() + section(1, module)


def slow() -> bytes:
    """As much code as a component may have: compiling it takes minutes."""
    return with_code(2500, 2000)


def giant_functions() -> bytes:
    """A few functions as large as one may be: what other CPUs help little with."""
    return with_code(6, 650_000)


def many_functions() -> bytes:
    return with_fields(f"(core module {'(func)' * 100_000})")


def many_types() -> bytes:
    return with_fields("".join(f"(type (list u{8 << number % 4}))" for number in range(100_000)))


def many_core_types() -> bytes:
    """Each another one: the longer ones are not the same as the shorter."""
    types = "".join(f"(type (func (param {'i32 ' * (number % 200)}) (result i64)))" for number in range(5000))
    return with_fields(f"(core module {types})")


def types_that_unfold() -> bytes:
    """Each type is two of the one before: 2^60 parts when it is written out."""
    lines = ["(type $t0 (tuple u8 u8))"]
    lines += [f"(type $t{n} (tuple $t{n - 1} $t{n - 1}))" for n in range(1, 60)]
    return with_fields(*lines)


def many_components() -> bytes:
    return with_fields("(component)" * 100_000)


def deep_components() -> bytes:
    component = EMPTY
    for _ in range(5000):
        component = EMPTY + nested(component)
    return with_fields() + nested(component)


def many_modules() -> bytes:
    return with_fields("(core module)" * 100_000)


def many_instances() -> bytes:
    return with_fields("(core module $none) ", "(core instance (instantiate $none))" * 20_000)


def many_imports() -> bytes:
    """Functions of an interface that there is, in more versions than anybody has written."""
    names = "".join(f'(export "{name}" (func (param "p" string)))' for name in FUNCTIONS["system"])
    interfaces = "".join(
        f'(import "guesthouse:process/system@0.1.{number}" (instance {names}))' for number in range(1, 2900)
    )
    text = GUEST.wat().replace("(component", f"(component {interfaces}", 1)
    return bytes(wasmtime.wat2wasm(text))


def much_data() -> bytes:
    """Memory that is large before it does anything."""
    return with_fields(f'(core module (memory 500) (data (i32.const 0) "{"x" * 30_000_000}"))')


GIANTS: Final[dict[str, Callable[[], bytes]]] = {
    "100,000 functions": many_functions,
    "100,000 types": many_types,
    "5,000 core types": many_core_types,
    "types that unfold to 2^60": types_that_unfold,
    "100,000 nested components": many_components,
    "components 5,000 deep": deep_components,
    "100,000 core modules": many_modules,
    "20,000 core instances": many_instances,
    "20,000 imported functions": many_imports,
    "30 MB of data": much_data,
}


def heavy_instances(fields: str, times: int) -> bytes:
    """A guest that has so many instances of a module with these fields, which may use its memory."""
    made = '(core instance (instantiate $heavy (with "libc" (instance $libc))))' * times
    text = GUEST.wat().replace(
        "(core module $main", f"(core module $heavy {fields}) {made} (core module $main", 1
    )
    return bytes(wasmtime.wat2wasm(text))


I32: Final = "i32 "
HEAVY: Final[dict[str, Callable[[], bytes]]] = {
    "100,000 globals 400 times": lambda: heavy_instances("(global i32 (i32.const 1))" * 100_000, 400),
    "1,000,000 globals 250 times": lambda: heavy_instances("(global i32 (i32.const 1))" * 1_000_000, 250),
    "20 MB of data 500 times": lambda: heavy_instances(
        f'(import "libc" "memory" (memory 1)) (data (i32.const 0) "{"x" * 20_000_000}")', 500
    ),
    "1,000 imports 500 times": lambda: with_imports(1000, 500),
    "types of 600 KB": lambda: with_fields(
        f"(core module {''.join(f'(type (func (param {I32 * (100 + n % 900)} i64)))' for n in range(1200))})"
    ),
    "a million globals that nobody has": lambda: with_fields(
        f"(core module {'(global i32 (i32.const 1))' * 200_000})" * 5
    ),
}
"""Components whose instances take more than any may."""


def as_heavy_as_may_be() -> bytes:
    """16 MB of globals in instances."""
    return heavy_instances("(global i32 (i32.const 1))" * 20_000, 50)


def with_imports(each: int, times: int) -> bytes:
    """A guest with so many instances of a module that imports so many functions."""
    given = "".join(f'(func (export "{number}"))' for number in range(each))
    taken = "".join(f'(import "given" "{number}" (func))' for number in range(each))
    made = '(core instance (instantiate $taking (with "given" (instance $given))))' * times
    return with_fields(
        f"(core module $given {given}) (core instance $given (instantiate $given))",
        f"(core module $taking {taken}) {made}",
    )


def with_receiving(times: int) -> bytes:
    """A guest that lowers the call by which it gets its messages so often."""
    text, once = GUEST.wat(), '(canon lower (func $i0 "receive") (memory $memory) (realloc $realloc))'
    assert once in text
    lowered = f"(core func {once})" * (times - text.count("canon lower"))
    return bytes(wasmtime.wat2wasm(text.replace("(core module $main", f"{lowered} (core module $main", 1)))


MODULES: Final = 120


def with_modules(name: str) -> bytes:
    """A guest of nearly as many core modules as a component may have, another one for each name."""
    made = "".join(
        f'(core module $m{number} (func (export "{name}"))) (core instance (instantiate $m{number}))'
        for number in range(MODULES)
    )
    return with_fields(made)


def truncated(component: bytes, chance: random.Random) -> bytes:
    """Its beginning."""
    return component[: chance.randrange(len(component))]


def flipped(component: bytes, chance: random.Random) -> bytes:
    """It, with some of its bits turned."""
    content = bytearray(component)
    for _ in range(chance.randint(1, 4)):
        content[chance.randrange(8, len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)

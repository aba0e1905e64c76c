"""Components as WAT: shapes that are taken apart, and shapes that are not."""

from __future__ import annotations

from typing import Final

from .shapes_within import OWN, STUB

LIBC: Final = """
  (core module $libc
    (memory (export "memory") 1)
    (memory (export "other") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "plain")))
  (core instance $libc (instantiate $libc))
"""
MEMORY: Final = '(memory (core memory $libc "memory"))'
REALLOC: Final = '(realloc (core func $libc "realloc"))'
IMPORT: Final = '(import "a:b/c" (instance $i (export "f" (func (param "x" u32) (result u32)))))'
"""An interface with one function of plain numbers."""
TEXT: Final = '(import "a:b/t" (instance $t (export "g" (func (param "x" string) (result string)))))'
"""An interface with one function that needs memory."""
LIFTED: Final = '(func $run (canon lift (core func $libc "plain")))'
RESOURCE: Final = '(import "a:b/r" (instance $r (export "thing" (type (sub resource)))))'

GUEST: Final = f"""
(component {IMPORT}
  (core func $f (canon lower (func $i "f")))
  (core module $m
    (import "host" "f" (func $f (param i32) (result i32)))
    (func (export "run") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1))))
  (core instance $m (instantiate $m (with "host" (instance (export "f" (func $f))))))
  (func $run (param "x" u32) (result u32) (canon lift (core func $m "run")))
  (instance $guest (export "run" (func $run)))
  (export "a:b/guest" (instance $guest)))
"""
"""Asks the host for a number and adds one."""

SHIM: Final = f"""
(component {TEXT}
  (core module $shim
    (type $g (func (param i32 i32 i32)))
    (table (export "table") 1 1 funcref)
    (func (export "0") (type $g)
      (call_indirect (type $g) (local.get 0) (local.get 1) (local.get 2) (i32.const 0))))
  (core instance $shim (instantiate $shim))
  (core module $main
    (import "a:b/t" "g" (func $g (param i32 i32 i32)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
    (func (export "run") (call $g (i32.const 1) (i32.const 2) (i32.const 16))))
  (core instance $main (instantiate $main (with "a:b/t" (instance (export "g" (func $shim "0"))))))
  (alias core export $main "memory" (core memory $memory))
  (alias core export $main "realloc" (core func $realloc))
  (core func $g (canon lower (func $t "g") (memory $memory) (realloc $realloc) string-encoding=utf8))
  (core module $fix
    (type $g (func (param i32 i32 i32)))
    (import "" "table" (table 1 1 funcref))
    (import "" "g" (func $g (type $g)))
    (elem (i32.const 0) func $g))
  (core instance (instantiate $fix
    (with "" (instance (export "table" (table $shim "table")) (export "g" (func $g))))))
  (func $run (canon lift (core func $main "run")))
  (export "run" (func $run)))
"""
"""As tool chains make it: what needs the memory of the main module is reached through a table that is filled later."""

NESTED: Final = f"""
(component {RESOURCE}
  (alias export $r "thing" (type $thing))
  (import "a:b/s" (instance $s
    (alias outer 1 $thing (type $inner))
    (export "same" (type (eq $inner)))))
  (alias export $s "same" (type $same))
  {LIBC}
  (core func $drop (canon resource.drop $same))
  (core module $m (import "host" "drop" (func $drop (param i32)))
    (func (export "run") (param i32) (call $drop (local.get 0))))
  (core instance $m (instantiate $m (with "host" (instance (export "drop" (func $drop))))))
  (type $record (record (field "x" u32)))
  (func $run (param "x" (own $thing)) (canon lift (core func $m "run")))
  (component $shim
    (import "thing" (type $t (sub resource)))
    (import "run" (func $f (param "x" (own $t))))
    (export $again "thing" (type $t))
    (export "run" (func $f) (func (param "x" (own $again)))))
  (instance $guest (instantiate $shim (with "thing" (type $thing)) (with "run" (func $run))))
  (export "a:b/guest" (instance $guest)))
"""
"""A resource by two names, and an export that passes through a component within."""

START: Final = f"""
(component {IMPORT}
  (core func $f (canon lower (func $i "f")))
  (core module $m
    (import "host" "f" (func $f (param i32) (result i32)))
    (memory (export "start") 1)
    (global $seen (mut i32) (i32.const 0))
    (func (export "run") (result i32) (global.get $seen))
    (func $begin (global.set $seen (call $f (i32.load (i32.const 0)))))
    (start $begin)
    (data (i32.const 0) "\\2a"))
  (core instance $m (instantiate $m (with "host" (instance (export "f" (func $f))))))
  (func $run (result u32) (canon lift (core func $m "run")))
  (export "run" (func $run)))
"""
"""Asks the host for a number when it starts, which it reads from its data."""

PLANNED: Final = {
    "guest": GUEST,
    "shim": SHIM,
    "nested": NESTED,
    "start": START,
    "stub": STUB,
    "own": OWN,
}


def component(text: str) -> str:
    """A component of these definitions, with an allocator in front."""
    return f"(component {LIBC} {text})"


def within(depth: int, each: str) -> str:
    """Components within one another, each instantiated so."""
    text = ""
    for _ in range(depth):
        text = f"(component $c {text}) {each}"
    return f"(component {text})"


LOWER: Final = "(core func (canon lower (func $f)))"
MANY_IMPORTS: Final = "".join(f'(import "many" "{n}" (func))' for n in range(1000))
MANY_EXPORTS: Final = "".join(f'(export "{n}" (func $f))' for n in range(1000))

REFUSED: Final = {
    "it imports a core module": (component('(import "m" (core module))'), "section of the kind 3"),
    "it imports a resource of no interface": (
        component('(import "r" (type (sub resource)))'),
        "'r', which is not an interface",
    ),
    "it imports a function of no interface": (
        component('(import "f" (func $f)) (core func (canon lower (func $f)))'),
        "'f', which is not an interface",
    ),
    "it imports an interface with an interface in it": (
        component('(import "a:b/c" (instance (export "x" (instance))))'),
        "'x' of 'a:b/c', which is neither",
    ),
    "it uses an interface in an interface": (
        component(
            '(import "a:b/c" (instance $i (export "x" (instance (export "f" (func))))))'
            '(alias export $i "x" (instance $x)) (core func (canon lower (func $x "f")))'
        ),
        "the export 'x' of an instance that lacks it",
    ),
    "it defines core types": (component("(core type (func))"), "section of the kind 3"),
    "its texts are UTF-16": (
        f'(component {TEXT} {LIBC} (core func (canon lower (func $t "g") {MEMORY} {REALLOC} '
        "string-encoding=utf16)))",
        "the option 0x1",
    ),
    "its texts are in two encodings": (
        f'(component {TEXT} {LIBC} (core func (canon lower (func $t "g") {MEMORY} {REALLOC} '
        "string-encoding=latin1+utf16)))",
        "the option 0x2",
    ),
    "one component within calls the host, and another exports": (
        f"""(component {IMPORT} (core func $f (canon lower (func $i "f")))
        (component $c (core module $m (func (export "run"))) (core instance $m (instantiate $m))
          (func (export "run") (canon lift (core func $m "run"))))
        (instance $c (instantiate $c)) (export "a:b/guest" (instance $c)))""",
        "'run' of a nested component other than the one that calls the host",
    ),
    "it calls itself": (
        component(f"{LIFTED} (core func (canon lower (func $run)))"),
        "a function of its own",
    ),
    "it exports what it imports, made anew": (
        f'(component {IMPORT} (core func $f (canon lower (func $i "f")))'
        '(func $g (param "x" u32) (result u32) (canon lift (core func $f))) (export "g" (func $g)))',
        "exports an imported function",
    ),
    "it exports an instance in an instance": (
        component(
            f'{LIFTED} (instance $a (export "run" (func $run))) (instance $b (export "a" (instance $a)))'
            '(export "b" (instance $b))'
        ),
        "'a', which is not a function of its own",
    ),
    "it exports a core module": (component('(core module $c) (export "c" (core module $c))'), "the sort 0"),
    "it exports less than it has": (
        component(f'{LIFTED} (instance $a (export "run" (func $run))) (export "a" (instance $a) (instance))'),
        "'a' with less than it has",
    ),
    "it has two memories": (
        f'(component {TEXT} {LIBC} (core func (canon lower (func $t "g") {MEMORY} {REALLOC}))'
        f'(core func (canon lower (func $t "g") (memory (core memory $libc "other")) {REALLOC})))',
        "with more than one memory",
    ),
    "its allocator is the host": (
        '(component (import "a:b/c" (instance $i (export "r" (func (param "a" u32) (param "b" u32) (param "c" u32)'
        f' (param "d" u32) (result u32))))) {TEXT} {LIBC} (core func $r (canon lower (func $i "r")))'
        f'(core func (canon lower (func $t "g") {MEMORY} (realloc $r))))',
        "a host function as allocator",
    ),
    "a component within calls another": (
        """(component
        (component $callee (core module $m (func (export "f"))) (core instance $m (instantiate $m))
          (func (export "f") (canon lift (core func $m "f"))))
        (instance $callee (instantiate $callee))
        (core func $f (canon lower (func $callee "f")))
        (core module $m (import "" "f" (func)) (func (export "run")))
        (core instance $m (instantiate $m (with "" (instance (export "f" (func $f))))))
        (func (export "run") (canon lift (core func $m "run"))))""",
        "calls another whose code does more than trap",
    ),
    "several components within call the host": (
        f"""(component {IMPORT}
        (component $c (import "i" (instance $i (export "f" (func (param "x" u32) (result u32)))))
          (core func (canon lower (func $i "f"))))
        (instance (instantiate $c (with "i" (instance $i)))) (instance (instantiate $c (with "i" (instance $i)))))""",
        "several nested components call the host",
    ),
    "components within have four memories": (
        "(component (component $c (core module $m (memory 0)) (core instance (instantiate $m)))"
        + "(instance (instantiate $c))" * 4
        + ")",
        "it has 4 memories, over 3",
    ),
    "its memory is that of several instances": (
        f"""(component {TEXT} (core module $m (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
        (core instance $libc (instantiate $m)) (core instance (instantiate $m))
        (core func (canon lower (func $t "g") {MEMORY} {REALLOC})))""",
        "instantiates the module with its memory several times",
    ),
    "it has too many resources of its own": (
        component(
            "".join(
                f"(type $r{n} (resource (rep i32))) (core func (canon resource.new $r{n}))"
                for n in range(257)
            )
        ),
        "over 256 resources of its own",
    ),
    "a module refers to one around": (
        component("(component $c (alias outer 1 $libc (core module $m))) (instance (instantiate $c))"),
        "of the sort 0",
    ),
    "its components are too deep": (within(9, "(instance (instantiate $c))"), "over 8 deep"),
    "its components multiply": (within(7, "(instance (instantiate $c))" * 10), "over 200000 definitions"),
    "it has too many modules": (f"(component {'(core module)' * 129})", "over 128 modules"),
    "it has too many instances": (
        component("(core instance (instantiate $libc))" * 512),
        "instantiates modules over 512 times",
    ),
    "its modules import too much": (
        f"(component (core module $all (func $f) {MANY_EXPORTS}) (core instance $all (instantiate $all))"
        f"(core module $m {MANY_IMPORTS})"
        + '(core instance (instantiate $m (with "many" (instance $all))))' * 51
        + ")",
        "have over 10000 imports together",
    ),
    "its modules export too much": (
        f"(component {f'(core module (func $f) {MANY_EXPORTS})' * 21})",
        "have over 20000 exports together",
    ),
    "its modules have too many types": (
        "(component " + f"(core module (type (func (param {'i32 ' * 999}))))" * 66 + ")",
        "have types of over 65536 bytes together",
    ),
    "its modules have too many globals": (
        "(component " + f"(core module {'(global i32 (i32.const 1))' * 50_001})" * 2 + ")",
        "have over 100000 globals and segments together",
    ),
    "its modules have too many segments": (
        "(component (core module "
        + '(data "")' * 50_001
        + f") (core module (func $f) {'(elem func $f)' * 50_000}))",
        "have over 100000 globals and segments together",
    ),
    "it exports too many functions": (
        '(component (core module $m (func (export "run"))) (core instance $m (instantiate $m))'
        '(func $run (canon lift (core func $m "run")))'
        + "".join(f'(export "f{n}" (func $run))' for n in range(513))
        + ")",
        "it exports over 512 functions",
    ),
    "it lowers too often": (
        f'(component {IMPORT} (alias export $i "f" (func $f))' + f"{LOWER * 1_501})",
        "over 1500 core functions",
    ),
    "it imports too many functions": (
        '(component (import "a:b/c" (instance'
        + "".join(f'(export "f{n}" (func))' for n in range(1025))
        + ")))",
        "over 1024 functions",
    ),
    "its types are too big": (
        '(component (import "a:b/c" (instance (type $t0 (tuple u8 u8))'
        + "".join(f"(type $t{n + 1} (tuple $t{n} $t{n}))" for n in range(12))
        + '(export "f" (func (param "x" $t12))))))',
        "over 4096 parts",
    ),
}
"""What the engine takes, and the planner does not: WAT and part of why."""

NOT_TAKEN: Final = {
    "it imports a component": (component('(import "c" (component))'), "'c', which is not an interface"),
    "it drops a resource that it hid behind a name": (
        f'(component {RESOURCE} (alias export $r "thing" (type $t)) (export $e "thing" (type $t) (type (sub resource)))'
        " (core func (canon resource.drop $e)))",
        "neither imported nor its own",
    ),
    "it exports a function that it imports": (
        f'(component {IMPORT} (alias export $i "f" (func $f)) (export "g" (func $f)))',
        "reexport of an imported function",
    ),
    "it exports an interface that it imports": (
        f'(component {IMPORT} (export "a:b/d" (instance $i)))',
        "reexport of an imported function",
    ),
    "it exports a component": (
        component('(component $c) (export "c" (component $c))'),
        "exporting a component",
    ),
    "it lowers asynchronously": (
        f'(component {IMPORT} {LIBC} (core func (canon lower (func $i "f") async {MEMORY})))',
        "the option 0x6",
    ),
    "it lifts asynchronously": (
        component(
            '(core module $m (func (export "f") (result i32) (i32.const 0)) (func (export "c") (param i32 i32 i32)'
            " (result i32) (i32.const 0))) (core instance $m (instantiate $m)) (func async (canon lift"
            ' (core func $m "f") async (callback (core func $m "c"))))'
        ),
        "the option 0x6",
    ),
    "it yields": (component("(core func (canon thread.yield))"), "the built-in function"),
}
"""What neither takes."""

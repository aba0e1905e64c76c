"""Components as WAT that have components with code within them, or resources of their own."""

from __future__ import annotations

from typing import Final

STUB: Final = """
(component
  (component $stub
    (core module $m
      (memory (export "memory") 0)
      (func (export "load") (param i32 i32) (result i32) unreachable)
      (func (export "load_post") (param i32))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
      (func (export "initialize")))
    (core instance $m (instantiate $m))
    (core module $fix (import "" "initialize" (func $f)) (start $f))
    (core instance (instantiate $fix (with "" (instance $m))))
    (type $loaded (result string (error string)))
    (func $load (param "path" string) (result $loaded) (canon lift (core func $m "load")
      (memory (core memory $m "memory")) (realloc (core func $m "realloc")) (post-return (core func $m "load_post"))))
    (instance $loader (export "load" (func $load)))
    (export "a:b/loader" (instance $loader)))
  (component $main
    (import "a:b/loader" (instance $loader
      (export "load" (func (param "path" string) (result (result string (error string)))))))
    (import "a:b/c" (instance $i (export "f" (func (param "x" u32) (result u32)))))
    (core module $libc
      (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
    (core instance $libc (instantiate $libc))
    (core func $load (canon lower (func $loader "load")
      (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
    (core func $f (canon lower (func $i "f")))
    (core module $m
      (import "" "load" (func $load (param i32 i32 i32)))
      (import "" "f" (func $f (param i32) (result i32)))
      (func (export "run") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (call $load (i32.const 0) (i32.const 0) (i32.const 16))))
        (call $f (local.get 0))))
    (core instance $m (instantiate $m
      (with "" (instance (export "load" (func $load)) (export "f" (func $f))))))
    (func $run (param "x" u32) (result u32) (canon lift (core func $m "run")
      (memory (core memory $libc "memory"))))
    (instance $guest (export "run" (func $run)))
    (export "a:b/guest" (instance $guest)))
  (import "a:b/c" (instance $i (export "f" (func (param "x" u32) (result u32)))))
  (instance $stub (instantiate $stub))
  (instance $main (instantiate $main
    (with "a:b/loader" (instance $stub "a:b/loader")) (with "a:b/c" (instance $i))))
  (export "a:b/guest" (instance $main "a:b/guest")))
"""
"""As `componentize-qjs` makes it: a component within stands for what has no other end, with a memory of no pages and
functions that trap.
"""

OWN: Final = """
(component (import "a:b/c" (instance $i (export "f" (func (param "x" u32) (result u32)))))
  (core func $f (canon lower (func $i "f")))
  (core module $shim
    (type $drop (func (param i32)))
    (table (export "table") 1 1 funcref)
    (func (export "drop") (type $drop) (call_indirect (type $drop) (local.get 0) (i32.const 0))))
  (core instance $shim (instantiate $shim))
  (type $thing (resource (rep i32) (dtor (core func $shim "drop"))))
  (type $bare (resource (rep i32)))
  (core func $new (canon resource.new $thing))
  (core func $rep (canon resource.rep $thing))
  (core func $drop (canon resource.drop $thing))
  (core func $new-bare (canon resource.new $bare))
  (core func $drop-bare (canon resource.drop $bare))
  (core module $m
    (import "" "f" (func $f (param i32) (result i32)))
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "rep" (func $rep (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (import "" "new-bare" (func $new-bare (param i32) (result i32)))
    (import "" "drop-bare" (func $drop-bare (param i32)))
    (func (export "dropped") (param i32) (drop (call $f (i32.add (local.get 0) (i32.const 1000)))))
    (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
    (func (export "look") (param i32) (result i32) (local.get 0))
    (func (export "run") (param i32) (result i32) (local $one i32) (local $two i32)
      (local.set $one (call $new (local.get 0)))
      (local.set $two (call $new-bare (i32.const 5)))
      (drop (call $f (call $rep (local.get $one))))
      (call $drop-bare (local.get $two))
      (call $drop (local.get $one))
      (call $new (i32.const 7))))
  (core instance $m (instantiate $m (with "" (instance (export "f" (func $f))
    (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))
    (export "new-bare" (func $new-bare)) (export "drop-bare" (func $drop-bare))))))
  (core module $fix (import "" "table" (table 1 1 funcref)) (import "" "dropped" (func $f (param i32)))
    (elem (i32.const 0) func $f))
  (core instance (instantiate $fix (with "" (instance
    (export "table" (table $shim "table")) (export "dropped" (func $m "dropped"))))))
  (func $run (param "x" u32) (result u32) (canon lift (core func $m "run")))
  (instance $guest (export "run" (func $run)))
  (export "a:b/guest" (instance $guest))
  (func $make (param "x" u32) (result (own $thing)) (canon lift (core func $m "make")))
  (func $look (param "self" (borrow $thing)) (result u32) (canon lift (core func $m "look")))
  (component $things
    (import "thing" (type $t (sub resource)))
    (import "make" (func $make (param "x" u32) (result (own $t))))
    (import "look" (func $look (param "self" (borrow $t)) (result u32)))
    (export $again "thing" (type $t))
    (export "make" (func $make) (func (param "x" u32) (result (own $again))))
    (export "look" (func $look) (func (param "self" (borrow $again)) (result u32))))
  (instance $things (instantiate $things
    (with "thing" (type $thing)) (with "make" (func $make)) (with "look" (func $look))))
  (export "a:b/things" (instance $things)))
"""
"""Resources of its own, one with a destructor that calls the host, reached through a table that is filled later; and an
interface of them, for whom it may concern.
"""

"""Resources that a component defines itself: the core functions for their handles, and destructor calls.

The host has the handle table. Destructors are called by a core module between guest and host,
so that they are ordinary guest code, which can be interrupted and may call the host.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from wasmtime import wat2wasm

from guesthouse.wasm.binary.byte_reader import Reader, UnsupportedComponent
from guesthouse.wasm.binary.core_module import CoreModule, Kind, read_module
from guesthouse.wasm.plan.definitions import CoreBag, Frame, OwnType, at
from guesthouse.wasm.plan.linking import Linking
from guesthouse.wasm.plan.plan import MAX_OWN_RESOURCES, Export, HandleAction, Source
from guesthouse.wasm.plan.type_section import resources_in


class OwnResources:
    """The resources of a component and its nested ones.

    Args:
        content: the component.
        linking: its linking so far.
    """

    def __init__(self, content: bytes, linking: Linking) -> None:
        self._content: Final = content
        self._linking: Final = linking
        self._numbers: Final[dict[tuple[OwnType, Frame], int]] = {}
        """Also by using component: each has its own handles, and cannot pass them to another."""
        self._functions: Final[dict[tuple[int, HandleAction], Source]] = {}
        self._dropping: Final[dict[int, Source]] = {}
        self._resources: Final[dict[int, dict[int, int | None]]] = {}
        """Results of `resources_in`, by the start of the section."""

    def function(self, type_: OwnType, frame: Frame, action: HandleAction) -> Source:
        """A component's core function for handles of a resource."""
        key = self._number(type_, frame), action
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = self._linking.own_handle(*key)
        return found

    def dropped(self, type_: OwnType, frame: Frame) -> Source:
        """A component's core function that drops a handle of a resource.

        Raises:
            UnsupportedComponent: the type is not a resource.
        """
        destructor = self._destructor(type_)
        if destructor is None or type_.frame is not frame:  # other components never hold one
            return self.function(type_, frame, HandleAction.DROP)
        number = self._number(type_, frame)
        found = self._dropping.get(number)
        if found is None:
            found = self._dropping[number] = self._calling(type_, destructor)
        return found

    def _calling(self, type_: OwnType, destructor: int) -> Source:
        take = self.function(type_, type_.frame, HandleAction.TAKE)
        calls: CoreBag = {
            "take": (Kind.FUNCTION, take),
            "destructor": (Kind.FUNCTION, at(type_.frame.core[Kind.FUNCTION], destructor)),
        }
        instance = self._linking.instantiate(self._linking.own_module(_caller()), {"": calls})
        return Export(instance.number, "drop")

    def _number(self, type_: OwnType, frame: Frame) -> int:
        number = self._numbers.setdefault((type_, frame), len(self._numbers))
        if number == MAX_OWN_RESOURCES:
            raise UnsupportedComponent(f"it has over {MAX_OWN_RESOURCES} resources of its own")
        return number

    def _destructor(self, type_: OwnType) -> int | None:
        section = type_.section
        found = self._resources.get(section.body)
        if found is None:
            found = resources_in(Reader(self._content, section.body, section.end))
            self._resources[section.body] = found
        if type_.number not in found:
            raise UnsupportedComponent("it drops handles of a type that is not a resource")
        return found[type_.number]


@cache
def _caller() -> CoreModule:
    """Drops a handle, and calls the resource's destructor with its representation."""
    text = """(module
      (import "" "take" (func $take (param i32) (result i32)))
      (import "" "destructor" (func $destructor (param i32)))
      (func (export "drop") (param i32) (call $destructor (call $take (local.get 0)))))"""
    return read_module(bytes(wat2wasm(text)))

"""Resources that a component defines itself: the core functions for their handles, and the calls of destructors.

The table of handles is the host's. A destructor is not called by the host but by a core module between guest and host,
so that it is guest code like any other: it is interrupted, and may call the host.
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
    """Those of one component and the components within it.

    Args:
        content: the component.
        linking: what its definitions add up to.
    """

    def __init__(self, content: bytes, linking: Linking) -> None:
        self._content: Final = content
        self._linking: Final = linking
        self._numbers: Final[dict[tuple[OwnType, Frame], int]] = {}
        """By the component that uses it, too: each has handles of its own, and can pass none to another."""
        self._functions: Final[dict[tuple[int, HandleAction], Source]] = {}
        self._dropping: Final[dict[int, Source]] = {}
        self._resources: Final[dict[int, dict[int, int | None]]] = {}
        """What `resources_in` gave, by where the section begins."""

    def function(self, type_: OwnType, frame: Frame, action: HandleAction) -> Source:
        """The core function of a component that does that to handles of a resource."""
        key = self._number(type_, frame), action
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = self._linking.own_handle(*key)
        return found

    def dropped(self, type_: OwnType, frame: Frame) -> Source:
        """The core function of a component that drops a handle of a resource.

        Raises:
            UnsupportedComponent: the type is no resource.
        """
        destructor = self._destructor(type_)
        if destructor is None or type_.frame is not frame:  # who did not define it comes to hold none
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
            raise UnsupportedComponent("it drops handles of a type that is no resource")
        return found[type_.number]


@cache
def _caller() -> CoreModule:
    """Drops a handle by calling the resource's destructor with the number that the handle stood for."""
    text = """(module
      (import "" "take" (func $take (param i32) (result i32)))
      (import "" "destructor" (func $destructor (param i32)))
      (func (export "drop") (param i32) (call $destructor (call $take (local.get 0)))))"""
    return read_module(bytes(wat2wasm(text)))

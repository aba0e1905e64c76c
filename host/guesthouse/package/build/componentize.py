"""Makes a component of a world out of a core module that follows the canonical ABI's names.

The module imports functions as `<interface>` `<function>`, and exports `<interface>#<function>` (or
`<function>`, for one of the world itself), `memory` and `cabi_realloc`: what C compilers and wit-bindgen
produce. Around it this writes, as component text, the types of the interfaces it uses, lowers their functions
for it and lifts its exports; `wasmtime.wat2wasm` encodes the text, and the module is put in place of the
empty one that stands for it.

A lowered function needs the module's memory, and the module needs the lowered functions, so the module is
linked to a *shim* of calls through a table, which a *fixup* module fills once both exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import wasmtime

from guesthouse.package.build.wit import PRIMITIVES, Composite, Function, Interface, Type, Use, WitPackage
from guesthouse.package.core_module import CoreModule, Signature, read_core_module
from guesthouse.package.errors import BuildError

_COMPONENT_HEADER: Final = 8
_CORE_MODULE_SECTION: Final = 1
_AS_WRITTEN: Final[Mapping[str, str]] = MappingProxyType({})
_OPTIONS: Final = "(memory (core memory $memory)) (realloc (core func $realloc)) string-encoding=utf8"


def make_component(core: bytes, wit: WitPackage, world: str, where: str) -> bytes:
    """Return the component that a core module of a world makes.

    Args:
        core: the module's bytes.
        wit: the contract.
        world: the name of a world in it.
        where: how errors name the module.

    Raises:
        BuildError: the module imports what the world does not have, or lacks one of its exports.
    """
    module = read_core_module(core, where)
    text = "\n".join(_Writer(module, wit, world, where).lines())
    try:
        shell = bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise BuildError(f"{where} cannot be made a component: {str(error).splitlines()[0]}") from None
    return _splice(shell, core)


def _splice(shell: bytes, core: bytes) -> bytes:
    """Put the module in place of the first core module of the component, which is empty."""
    at = _COMPONENT_HEADER
    while True:
        section = shell[at]
        size, body = _leb(shell, at + 1)
        if section == _CORE_MODULE_SECTION:
            return shell[:at] + bytes([section]) + _to_leb(len(core)) + core + shell[body + size :]
        at = body + size


def _leb(content: bytes, at: int) -> tuple[int, int]:
    """The unsigned LEB128 number at a position, and the position after it."""
    value = shift = 0
    while content[at] & 0x80:
        value |= (content[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | content[at] << shift, at + 1


def _to_leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class _Writer:
    """Writes the component text, top to bottom. Each `$name` in it is unique by its interface."""

    def __init__(self, module: CoreModule, wit: WitPackage, world: str, where: str) -> None:
        if world not in wit.worlds:
            raise BuildError(f"the contract has no world {world}: it has {', '.join(wit.worlds)}")
        self._wit = wit
        self._where = where
        self._imports = module.imports
        self._world = wit.worlds[world]
        self._exports = dict(module.exports)
        self._check()

    def lines(self) -> Iterator[str]:
        """The text, in order."""
        yield "(component"
        yield from self._imported_interfaces()
        yield "(core module $main)"
        yield from self._shim()
        yield from self._main()
        yield from self._fixup()
        for interface in self._world.exports:
            yield from self._export(self._wit.interfaces[interface])
        for name, function in self._world.functions.items():
            yield from self._export_function(name, function)
        yield ")"

    def _check(self) -> None:
        for module, name, _ in self._imports:
            interface = self._wit.interfaces.get(module) if module in self._world.imports else None
            if interface is None or name not in interface.functions:
                raise BuildError(
                    f"{self._where} imports {module} {name}, which the contract does not have: "
                    "define that function, or correct its name"
                )
        needed = [("memory", "memory"), ("cabi_realloc", "func")]
        needed += [(name, "func") for name in self._world.functions]
        for export in self._world.exports:
            needed += [(f"{export}#{name}", "func") for name in self._wit.interfaces[export].functions]
        for name, kind in needed:
            if self._exports.get(name) != kind:
                raise BuildError(f"{self._where} does not export {name}: link the guest SDK's source with it")

    def _imported_interfaces(self) -> Iterator[str]:
        used = {module for module, _, _ in self._imports} | set(self._world.exports)
        for interface in with_sources(used, self._wit):
            if interface.id not in self._world.exports:
                functions = [name for module, name, _ in self._imports if module == interface.id]
                yield from self._import(interface, functions)

    def _import(self, interface: Interface, functions: Sequence[str]) -> Iterator[str]:
        short = _short(interface.id)
        yield f"(type ${short}-type (instance"
        for name, definition in in_order(interface):
            if isinstance(definition, Use):
                yield f"(alias outer 1 ${_short(definition.interface)}.{definition.name} (type ${name}-raw))"
            else:
                yield f"(type ${name}-raw {_definition(definition)})"
            yield f'(export "{name}" (type ${name} (eq ${name}-raw)))'
        for name in functions:
            yield f'(export "{name}" (func {_function(interface.functions[name])}))'
        yield "))"
        yield f'(import "{interface.id}" (instance ${short} (type ${short}-type)))'
        for name in interface.types:
            yield f'(alias export ${short} "{name}" (type ${short}.{name}))'

    def _shim(self) -> Iterator[str]:
        count = len(self._imports)
        yield f'(core module $shim (table (export "table") {count} {count} funcref)'
        for index, (_, _, signature) in enumerate(self._imports):
            yield f"(type $type-{index} (func {_core(signature)}))"
            arguments = " ".join(f"(local.get {i})" for i in range(len(signature.parameters)))
            yield f'(func (export "{index}") (type $type-{index})'
            yield f"(call_indirect (type $type-{index}) {arguments} (i32.const {index})))"
        yield ")"
        yield "(core instance $shim (instantiate $shim))"

    def _main(self) -> Iterator[str]:
        yield "(core instance $main (instantiate $main"
        for module in dict.fromkeys(module for module, _, _ in self._imports):
            yield f'(with "{module}" (instance'
            for index, (owner, name, _) in enumerate(self._imports):
                if owner == module:
                    yield f'(export "{name}" (func $shim "{index}"))'
            yield "))"
        yield "))"
        yield '(alias core export $main "memory" (core memory $memory))'
        yield '(alias core export $main "cabi_realloc" (core func $realloc))'

    def _fixup(self) -> Iterator[str]:
        count = len(self._imports)
        yield f'(core module $fixup (import "" "table" (table {count} {count} funcref))'
        for index, (_, _, signature) in enumerate(self._imports):
            yield f'(import "" "{index}" (func {_core(signature)}))'
        yield f"(elem (i32.const 0) func {' '.join(map(str, range(count)))}))"
        for index, (module, name, _) in enumerate(self._imports):
            yield f'(core func $lowered-{index} (canon lower (func ${_short(module)} "{name}") {_OPTIONS}))'
        yield '(core instance (instantiate $fixup (with "" (instance (export "table" (table $shim "table"))'
        for index in range(count):
            yield f'(export "{index}" (func $lowered-{index}))'
        yield "))))"

    def _export(self, interface: Interface) -> Iterator[str]:
        short = _short(interface.id)
        names = {name: _taken(definition, name, interface) for name, definition in interface.types.items()}
        for name, function in interface.functions.items():
            core_name = f"{interface.id}#{name}"
            yield f'(alias core export $main "{core_name}" (core func ${short}-core-{name}))'
            yield f"(type ${short}-type-{name} (func {_function(function, names)}))"
            yield f"(func ${short}-{name} (type ${short}-type-{name})"
            yield f"(canon lift (core func ${short}-core-{name}) {_OPTIONS}{self._post_return(core_name)}))"
        yield f"(instance ${short}"
        for name in interface.types:
            yield f'(export "{name}" (type ${names[name]}))'
        for name in interface.functions:
            yield f'(export "{name}" (func ${short}-{name}))'
        yield ")"
        yield f'(export "{interface.id}" (instance ${short}))'

    def _export_function(self, name: str, function: Function) -> Iterator[str]:
        """A function of the component itself; its types are plain ones, since it has no interface for others."""
        yield f'(alias core export $main "{name}" (core func $core-{name}))'
        yield f"(func ${name} {_function(function)}"
        yield f"(canon lift (core func $core-{name}) {_OPTIONS}{self._post_return(name)}))"
        yield f'(export "{name}" (func ${name}))'

    def _post_return(self, core_name: str) -> str:
        name = f"cabi_post_{core_name}"
        return f' (post-return (func $main "{name}"))' if self._exports.get(name) == "func" else ""


def with_sources(used: set[str], wit: WitPackage) -> list[Interface]:
    """The used interfaces and those whose types they take, sources first."""
    ordered: dict[str, Interface] = {}

    def add(identifier: str) -> None:
        interface = wit.interfaces.get(identifier)
        if interface is None:
            raise BuildError(f"the contract takes types from {identifier}, which it does not define")
        for definition in interface.types.values():
            if isinstance(definition, Use):
                add(definition.interface)
        ordered.setdefault(identifier, interface)

    for identifier in sorted(used):
        add(identifier)
    return list(ordered.values())


def in_order(interface: Interface) -> Iterator[tuple[str, Type | Use | Composite]]:
    """The types of an interface, each after those it is made of: WIT has no order, a component has one."""
    written: set[str] = set()

    def write(name: str, within: tuple[str, ...]) -> Iterator[tuple[str, Type | Use | Composite]]:
        if name in within or name not in interface.types:
            raise BuildError(f"{interface.id} has the type {name} inside itself, or does not define it")
        if name not in written:
            for other in _names(interface.types[name]):
                yield from write(other, (*within, name))
            written.add(name)
            yield name, interface.types[name]

    for name in interface.types:
        yield from write(name, ())


def _names(definition: Type | Use | Composite | None) -> Iterator[str]:
    """The named types that a definition mentions."""
    if isinstance(definition, Composite):
        for _, of in definition.parts:
            yield from _names(of)
    elif isinstance(definition, Type):
        if definition.head not in PRIMITIVES and not definition.arguments and definition.head != "result":
            yield definition.head
        for argument in definition.arguments:
            yield from _names(argument)


def _taken(definition: Type | Use | Composite, name: str, interface: Interface) -> str:
    """What a type that an exported interface takes from an imported one is called in the component."""
    if not isinstance(definition, Use):
        raise BuildError(f"{interface.id} exports its own type {name}: define it in an imported interface")
    return f"{_short(definition.interface)}.{definition.name}"


def _short(identifier: str) -> str:
    return identifier.partition("@")[0].replace(":", ".").replace("/", ".")


def _core(signature: Signature) -> str:
    return f"(param {' '.join(signature.parameters)}) (result {' '.join(signature.results)})"


def _function(function: Function, names: Mapping[str, str] = _AS_WRITTEN) -> str:
    parameters = [f'(param "{name}" {_type(of, names)})' for name, of in function.parameters]
    result = [f"(result {_type(function.result, names)})"] if function.result else []
    return " ".join(parameters + result)


def _definition(definition: Type | Composite) -> str:
    if isinstance(definition, Type):
        return _type(definition)
    if definition.kind in ("enum", "flags"):
        labels = " ".join(f'"{name}"' for name, _ in definition.parts)
        return f"({definition.kind} {labels})"
    word = "field" if definition.kind == "record" else "case"
    parts = [f'({word} "{name}"{f" {_type(of)}" if of else ""})' for name, of in definition.parts]
    return f"({definition.kind} {' '.join(parts)})"


def _type(of: Type, names: Mapping[str, str] = _AS_WRITTEN) -> str:
    """A type as component text; `names` says what named types are called where it stands."""
    if of.head in PRIMITIVES:
        return of.head
    if not of.arguments and of.head != "result":
        return f"${names.get(of.head, of.head)}"
    arguments = [_type(argument, names) if argument else "" for argument in of.arguments]
    if of.head == "result" and arguments[1:]:
        arguments[1] = f"(error {arguments[1]})"
    return f"({of.head} {' '.join(arguments)})"

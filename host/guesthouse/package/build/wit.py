"""Reads the part of WIT that process contracts are written in.

Packages of interfaces and worlds; records, variants, enums, flags, type aliases and functions over values.
Resources, streams and futures, which no process contract has, are refused by name. Pure: text in, one
`WitPackage` or one error out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from guesthouse.package.errors import BuildError

PRIMITIVES: Final = frozenset(
    "bool s8 u8 s16 u16 s32 u32 s64 u64 f32 f64 char string".split()  # noqa: SIM905 - reads as WIT does
)

_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\s+|->|@[a-z]+\([^)]*\)|%?[A-Za-z0-9][A-Za-z0-9.-]*|[{}()<>,;:=/@_*]", re.DOTALL
)


class Type(Struct, frozen=True):
    """A type as written: `head` is a primitive, a constructor (`list`, `option`, …) or a name."""

    head: str
    arguments: tuple[Type | None, ...] = ()
    """None stands for `_`, and for a side of a `result` that is not there."""


class Use(Struct, frozen=True):
    """A type taken from another interface."""

    interface: str
    name: str


class Composite(Struct, frozen=True):
    """A record, variant, enum or flags: its kind and its named parts; enums and flags have no types."""

    kind: str
    parts: tuple[tuple[str, Type | None], ...]


class Function(Struct, frozen=True):
    """A function's parameters and its result, if any."""

    parameters: tuple[tuple[str, Type], ...]
    result: Type | None


class Interface(Struct):
    """An interface; `id` is its full name such as `guesthouse:process/types@0.1.0`."""

    id: str
    types: dict[str, Type | Use | Composite] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)


class World(Struct):
    """The interfaces that a component of this world may import and must export, by full name; and the functions
    that it exports itself.
    """

    imports: list[str] = field(default_factory=list)
    exports: list[str] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)


class WitPackage(Struct):
    """One WIT package: interfaces by full name, worlds by name."""

    interfaces: dict[str, Interface] = field(default_factory=dict)
    worlds: dict[str, World] = field(default_factory=dict)


def read_wit(folder: Path) -> WitPackage:
    """Read every `.wit` file of a folder; what they define is told apart by full names.

    Raises:
        BuildError: there is none, or one does not parse.
    """
    files = sorted(folder.glob("*.wit"))
    if not files:
        raise BuildError(f"{folder} has no .wit file: name the folder of the contract")
    package = WitPackage()
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise BuildError(f"{file} is not UTF-8: save it as UTF-8") from None
        _Parser(text, str(file), package).file()
    return package


class _Parser:
    """Recursive descent over one file; adds to the package."""

    def __init__(self, text: str, where: str, package: WitPackage) -> None:
        self._where = where
        self._package = package
        self._tokens = list(self._scan(text))
        self._at = 0
        self._prefix = ""
        self._suffix = ""

    def file(self) -> None:
        self._package_header()
        while self._peek():
            match self._take():
                case "interface":
                    self._interface()
                case "world":
                    self._world()
                case other:
                    raise self._error(f"'{other}' is not read at the top level")

    def _scan(self, text: str) -> Iterator[tuple[str, int]]:
        at, line = 0, 1
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise BuildError(f"{self._where}:{line}: {text[at]!a} is not WIT: correct it")
            token = match.group()
            if not token.isspace() and not token.startswith(("//", "/*")) and not _is_gate(token):
                yield token.removeprefix("%"), line
            line += token.count("\n")
            at = match.end()

    def _peek(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _take(self, expected: str | None = None) -> str:
        token = self._peek()
        if not token or (expected is not None and token != expected):
            raise self._error(f"'{expected or 'more'}' was expected, not '{token or 'the end'}'")
        self._at += 1
        return token

    def _skip(self, token: str) -> bool:
        if self._peek() == token:
            self._at += 1
            return True
        return False

    def _error(self, problem: str) -> BuildError:
        line = self._tokens[min(self._at, len(self._tokens) - 1)][1] if self._tokens else 1
        return BuildError(f"{self._where}:{line}: {problem}: process contracts use plain WIT values only")

    def _package_header(self) -> None:
        self._take("package")
        namespace = self._take()
        self._take(":")
        self._prefix = f"{namespace}:{self._take()}/"
        if self._skip("@"):
            self._suffix = f"@{self._take()}"
        self._take(";")

    def _full(self, name: str) -> str:
        return f"{self._prefix}{name}{self._suffix}"

    def _until(self, close: str, item: Callable[[], None]) -> None:
        """Items parted by commas, up to and with `close`."""
        while not self._skip(close):
            item()
            if not self._skip(","):
                self._take(close)
                return

    def _interface(self) -> None:
        interface = Interface(self._full(self._take()))
        self._take("{")
        while not self._skip("}"):
            self._item(interface)
        self._package.interfaces[interface.id] = interface

    def _item(self, interface: Interface) -> None:
        word = self._take()
        if self._skip(":"):
            interface.functions[word] = self._function()
        elif word == "use":
            self._use(interface)
        elif word == "type":
            name = self._take()
            self._take("=")
            interface.types[name] = self._type()
            self._take(";")
        elif word in ("record", "variant", "enum", "flags"):
            name = self._take()
            interface.types[name] = self._composite(word)
        else:
            raise self._error(f"'{word}' is not read in an interface")

    def _use(self, interface: Interface) -> None:
        source = self._full(self._take().rstrip("."))
        self._take("{")

        def name() -> None:
            taken = self._take()
            local = self._take() if self._skip("as") else taken
            interface.types[local] = Use(source, taken)

        self._until("}", name)
        self._take(";")

    def _composite(self, kind: str) -> Composite:
        parts: list[tuple[str, Type | None]] = []
        self._take("{")

        def part() -> None:
            name = self._take()
            if kind == "record":
                self._take(":")
                parts.append((name, self._type()))
            elif kind == "variant" and self._skip("("):
                parts.append((name, self._type()))
                self._take(")")
            else:
                parts.append((name, None))

        self._until("}", part)
        return Composite(kind, tuple(parts))

    def _function(self) -> Function:
        self._take("func")
        self._take("(")
        parameters: list[tuple[str, Type]] = []

        def parameter() -> None:
            name = self._take()
            self._take(":")
            parameters.append((name, self._type()))

        self._until(")", parameter)
        result = self._type() if self._skip("->") else None
        self._take(";")
        return Function(tuple(parameters), result)

    def _type(self) -> Type:
        head = self._take()
        if head in ("resource", "own", "borrow", "stream", "future", "error-context"):
            raise self._error(f"'{head}' is not read")
        if not self._skip("<"):
            return Type(head)
        arguments: list[Type | None] = []
        self._until(">", lambda: arguments.append(None if self._skip("_") else self._type()))
        return Type(head, tuple(arguments))

    def _world(self) -> None:
        world = World()
        self._package.worlds[self._take()] = world
        self._take("{")
        while not self._skip("}"):
            side = self._take()
            if side not in ("import", "export"):
                raise self._error(f"'{side}' is not read in a world")
            name = self._take()
            if not self._skip(":"):
                name = self._full(name)
            elif side == "export" and self._peek() == "func":
                world.functions[name] = self._function()
                continue
            else:
                name = self._of_other_package(name)
            (world.imports if side == "import" else world.exports).append(name)
            self._take(";")

    def _of_other_package(self, namespace: str) -> str:
        """The rest of a full name such as `wasi:random/random@0.2.0`, behind its colon."""
        package = self._take()
        self._take("/")
        name = f"{namespace}:{package}/{self._take()}"
        return f"{name}@{self._take()}" if self._skip("@") else name


def _is_gate(token: str) -> bool:
    """Whether it is a feature gate such as `@since(version = 0.2.0)`, which changes nothing here."""
    return token.startswith("@") and token.endswith(")")

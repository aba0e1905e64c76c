"""Imports modules from sources that are given at run time, and those of the standard library and the SDK that were
packed when the component was built: it has no files.
"""

from __future__ import annotations

import builtins
import io
import linecache
import marshal
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import IO, Any, Final

APP_FOLDER: Final = "/1"
"""Where componentize-py mounts the author's folder, and what tracebacks therefore begin with."""
LIBRARY_FOLDER: Final = "/3"
"""Where it mounts the packages that are installed."""

_LIBRARY: Final = "/python"
_NOT_PACKED: Final = frozenset(
    (
        *("__phello__", "__pycache__", "curses", "ensurepip", "idlelib", "lib2to3", "multiprocessing"),
        *(
            "pydoc_data",
            "site-packages",
            "test",
            "testing",
            "tests",
            "tkinter",
            "turtle.py",
            "turtledemo",
            "venv",
        ),
    )
)

Ask = Callable[[str], Mapping[str, bytes]]
"""Returns the files of an installed package by its name; nothing if there is none."""


def packed_library(sdk: str) -> dict[str, tuple[str, bool, bytes]]:
    """The modules of the standard library and of the SDK in the folder `sdk`: file, whether it is a package, and
    compressed code.
    """
    packed = {}
    for root, place in ((_LIBRARY, _LIBRARY), (sdk, f"{sdk}/guesthouse_sdk")):
        for path in _modules(place):
            name, is_package = _module_name(path, root)
            with open(path, "rb") as source:
                code = compile(source.read(), path, "exec", dont_inherit=True)
            packed[name] = (path, is_package, zlib.compress(marshal.dumps(code), 1))
    return packed


def _modules(root: str) -> Iterator[str]:
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_PACKED]
        yield from (f"{place}/{file}" for file in files if file.endswith(".py") and file not in _NOT_PACKED)


def _module_name(path: str, root: str) -> tuple[str, bool]:
    name = path.removeprefix(f"{root}/").removesuffix(".py").replace("/", ".")
    is_package = name.endswith(".__init__")
    return name.removesuffix(".__init__"), is_package


class GivenModules:
    """A finder and loader of modules: the app's, those of installed packages, and the standard library's.

    Args:
        files: the app's, by their paths in its folder.
        library: what `packed_library` returned.
        ask: for installed packages.
    """

    def __init__(
        self, files: Mapping[str, bytes], library: Mapping[str, tuple[str, bool, bytes]], ask: Ask
    ) -> None:
        self.files: dict[str, bytes] = {}
        """By whole path."""
        self._library = library
        self._ask = ask
        self._asked: set[str] = set()
        self._add(APP_FOLDER, files)

    def _add(self, root: str, files: Mapping[str, bytes]) -> None:
        self.files |= {f"{root}/{path}": content for path, content in files.items()}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        found = self._given(APP_FOLDER, name) or self._packed(name)
        if found is None and (top := name.partition(".")[0]) not in self._library:
            if top not in self._asked:
                self._asked.add(top)
                self._add(LIBRARY_FOLDER, self._ask(top))
            found = self._given(LIBRARY_FOLDER, name)
        return found

    def _given(self, root: str, name: str) -> ModuleSpec | None:
        base = f"{root}/{name.replace('.', '/')}"
        for path, is_package in ((f"{base}/__init__.py", True), (f"{base}.py", False)):
            if path in self.files:
                return self._spec(name, path, is_package=is_package)
        if any(path.startswith(f"{base}/") and path.endswith(".py") for path in self.files):
            spaces = ModuleSpec(name, None, is_package=True)
            spaces.submodule_search_locations = [base]
            return spaces
        return None

    def _packed(self, name: str) -> ModuleSpec | None:
        packed = self._library.get(name)
        return None if packed is None else self._spec(name, packed[0], is_package=packed[1])

    def _spec(self, name: str, path: str, *, is_package: bool) -> ModuleSpec:
        spec = ModuleSpec(name, self, origin=path, is_package=is_package)  # type: ignore[arg-type] # duck-typed
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [path.removesuffix("/__init__.py")]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """See `importlib.abc.Loader`."""

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        path = module.__spec__.origin  # type: ignore[union-attr] # made here
        assert path is not None  # noqa: S101 - made here
        exec(self._code(module.__name__, path), module.__dict__)  # noqa: S102 - this is what imports are

    def _code(self, name: str, path: str) -> CodeType:
        source = self.files.get(path)
        if source is None:
            code: CodeType = marshal.loads(zlib.decompress(self._library[name][2]))  # noqa: S302 - packed above
            return code
        lines = source.decode(errors="replace").splitlines(keepends=True)
        # A modification time of None keeps the entry without the file.
        linecache.cache[path] = (len(source), None, lines, path)
        return compile(source, path, "exec", dont_inherit=True)

    def get_data(self, path: str) -> bytes:
        """See `importlib.abc.ResourceLoader`.

        Raises:
            FileNotFoundError: it is not among the given files.
        """
        try:
            return self.files[os.path.normpath(path)]
        except KeyError:
            raise FileNotFoundError(2, "no such file in the package", path) from None

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Modules can be imported, and the app's files be read, as when a component is built; afterwards neither."""
        opens = builtins.open
        sys.meta_path.insert(0, self)
        builtins.open = io.open = self._opener(opens)
        try:
            yield
        finally:
            builtins.open = io.open = opens
            sys.meta_path.remove(self)

    def _opener(self, opens: Callable[..., IO[Any]]) -> Any:
        def open_given(file: Any, mode: str = "r", *given: Any, **options: Any) -> IO[Any]:
            path = os.path.normpath(os.fsdecode(file)) if isinstance(file, str | bytes | os.PathLike) else ""
            content = self.files.get(path)
            if content is None or not set(mode) <= set("rbt"):
                return opens(file, mode, *given, **options)
            raw = io.BytesIO(content)
            return raw if "b" in mode else io.TextIOWrapper(raw, options.get("encoding") or "utf-8")

        return open_given

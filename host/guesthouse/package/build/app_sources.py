"""What an app is loaded from when it runs from its sources, under `guesthouse run --dev`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from guesthouse.core.files.regular_file import read_regular
from guesthouse.package.build.bundler import Bundler
from guesthouse.package.build.running import Report
from guesthouse.package.errors import BuildError
from guesthouse.package.format.load import inside
from guesthouse.package.format.manifest import BuildSpec

LANGUAGES: Final = ("python", "javascript")
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of one app, and of one installed package."""
_MOST_OF_DATA: Final = 1024 * 1024
"""Of a file that is no module."""
_SKIPPED: Final = frozenset(("build", "target", "node_modules", "__pycache__", "venv"))


class AppSources(Struct, frozen=True):
    """What an app is loaded from."""

    folder: Path
    source: str
    """The file in it that begins the app."""
    files: Mapping[str, bytes]
    """By their paths in the folder."""
    installed: Callable[[str], Mapping[str, bytes]] = lambda name: {}
    """Returns the files of an installed package. Blocks on the file system."""

    @property
    def digest(self) -> str:
        """Tells these from others."""
        whole = hashlib.sha256(self.source.encode())
        for path, content in self.files.items():
            whole.update(b"%s\n%d\n%s" % (os.fsencode(path), len(content), content))
        return whole.hexdigest()


def read_sources(folder: Path, build: BuildSpec, bundler: Bundler, report: Report) -> AppSources:
    """Read an app's sources. Blocks.

    Args:
        folder: of the package.
        build: how the app is built.
        bundler: for JavaScript.
        report: called with warnings.

    Raises:
        BuildError: they cannot be read, or bundled.
    """
    source = inside(folder, build.source)
    if not source.is_file():
        raise BuildError(f"{source} does not exist: check 'source' in the manifest")
    if build.language == "javascript":
        bundle = bundler.bundle(source, build.engine or "quickjs", report)
        return AppSources(source.parent, source.name, bundle)
    files = dict(_files(source.parent, folder))
    return AppSources(source.parent, source.name, files, _installed)


def _files(root: Path, bounds: Path) -> Iterator[tuple[str, bytes]]:
    """The modules and the data in a folder, by their paths; none that links lead to outside of `bounds`.

    Raises:
        BuildError: they are too large.
    """
    size, inner = 0, bounds.resolve()
    for place, folders, files in os.walk(root):
        folders[:] = sorted(each for each in folders if each not in _SKIPPED and not each.startswith("."))
        for path in (Path(place, file) for file in sorted(files)):
            if path.name.startswith(".") or not _is_source(path) or not path.resolve().is_relative_to(inner):
                continue
            content = read_regular(path)
            size += len(content)
            if size > MOST_BYTES:
                raise BuildError(
                    f"{root} has over {MOST_BYTES} bytes of sources: move what is no source elsewhere"
                )
            yield path.relative_to(root).as_posix(), content


def _is_source(path: Path) -> bool:
    if not path.is_file() or path.suffix in (".wasm", ".pyc", ".so"):
        return False
    return path.suffix == ".py" or path.stat().st_size <= _MOST_OF_DATA


def _installed(name: str) -> dict[str, bytes]:
    """The files of an installed package of Python, found where componentize-py finds it."""
    if not name.isidentifier():
        return {}
    for folder in _site_packages():
        package, module = folder / name, folder / f"{name}.py"
        if package.is_dir():
            return {f"{name}/{path}": content for path, content in _files(package, folder)}
        if module.is_file() and module.resolve().is_relative_to(folder.resolve()):
            return {module.name: read_regular(module)}
    return {}


@cache
def _site_packages() -> tuple[Path, ...]:
    environment = os.environ.get("VIRTUAL_ENV")
    if environment is not None:
        return tuple(Path(environment).glob("lib/python*/site-packages"))
    python = shutil.which("python3")
    if python is None:
        return ()
    program = "import site; print(*site.getsitepackages(), sep='\\n')"
    out = subprocess.run([python, "-c", program], capture_output=True, check=False)  # noqa: S603 - of the PATH, as componentize-py does
    return tuple(Path(os.fsdecode(line)) for line in out.stdout.splitlines())

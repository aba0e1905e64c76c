"""The templates of `guesthouse new`: a small package in each language, ready to build, run and test.

Their files are in `templates/`, with `{name}` for the package's name in paths and text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.disk import disk_errors
from guesthouse.package.build import javascript, rust
from guesthouse.package.build.rust import LOCK
from guesthouse.package.build.rust_templates import RUST_TEMPLATES
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import PackageError
from guesthouse.package.format.manifest import MANIFEST_NAME

_TEMPLATES: Final = Path(__file__).with_name("templates")
_SUFFIX: Final = ".template"
_NAME: Final = "{name}"
_PUBLISHER: Final = "{publisher}"
_NOT_OF_MODULES: Final = re.compile(r"[.~]")
_NOT_OF_CRATES: Final = re.compile(r"[^A-Za-z0-9_-]")
_TAKEN_CRATES: Final = frozenset(
    ("guesthouse", "serde", "core", "std", "alloc", "test", "self", "super", "crate")
)
"""What the crate depends on, and names that mean something else in its sources."""

_MANIFEST: Final = """\
[package]
name = "{name}"
publisher = "{publisher}"
version = "0.1.0"
description = "{description}"

[[process]]
name = "{name}"
wasm = "build/{name}.wasm"
on-exit = "restart"
public = true
{more}
[process.build]
language = "{language}"
source = "{source}"
"""

_README: Final = """\
# {name}

{description}.

{first}    guesthouse run --dev .    # serve it; reload it as you edit
    guesthouse build .        # {source} to build/{name}.wasm

{use}
"""


class _Language(Struct, frozen=True):
    """A language of templates."""

    language: str
    """In the manifest."""
    source: str
    ignored: tuple[str, ...]
    """What git leaves out, beside `/build/`."""
    first: str
    """Lines of the README: what to run before all else, and the tests."""
    shared: tuple[str, ...] = ()
    """Folders of `templates/` that all its packages have."""
    tests: str = ""
    """A folder of `templates/` that has a test for each kind, where the language has none of its own."""


class _Kind(Struct, frozen=True):
    """What a package does."""

    description: str
    use: str
    """How it is used, for the README, with `{note}` for a path of the API."""
    shared: tuple[str, ...] = ()
    more: str = ""
    """More lines of the manifest's process."""


_RUST: Final = (
    "    rustup target add wasm32-wasip2\n    cargo test                # with a host made for tests\n"
)
_NPM: Final = (
    "    npm install               # what it is built with\n"
    "    npm test                  # with a host made for tests\n"
)
_FAKE: Final = "    pytest                    # with a host made for tests\n"
_KIT: Final = "    pytest                    # in a real node: pip install 'guesthouse[build,testing]'\n"
_MODULES: Final = ("/.guesthouse/", "/node_modules/")
_PYTEST: Final = ("__pycache__/",)
_LANGUAGES: Final[Mapping[str, _Language]] = MappingProxyType(
    {
        "python": _Language("python", "app.py", _PYTEST, _FAKE),
        "typescript": _Language("javascript", "app.ts", _MODULES, _NPM, ("npm/typescript",)),
        "javascript": _Language("javascript", "app.js", _MODULES, _NPM, ("npm/javascript",)),
        "c": _Language("c", "src/{name}.c", _PYTEST, _KIT, tests="kit"),
        "cpp": _Language("cpp", "src/{name}.cpp", _PYTEST, _KIT, tests="kit"),
        "go": _Language("go", "main.go", ("/go.work", "/go.work.sum", *_PYTEST), _KIT, ("go_module",), "kit"),
        "rust": _Language("rust", "src/lib.rs", ("/.guesthouse/", "/target/"), _RUST),
    }
)
_KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "echo": _Kind(
            "Answers every message with the same message",
            'Clients register on `/` with `"target_process": "{name}:{name}:{publisher}"`.',
        ),
        "chat": _Kind(
            "A chat: what one says, all hear",
            "The login URL that `run --dev` prints leads to its page.",
            ("page",),
            'ui = "ui"\n',
        ),
        "http": _Kind(
            "An API of JSON over HTTP",
            "Its paths are below `/{name}:{name}:{publisher}`:\n\n"
            '    curl -X PUT -d \'{{"text": "hello"}}\' http://127.0.0.1:8080/{name}:{name}:{publisher}{note}\n'
            "    curl http://127.0.0.1:8080/{name}:{name}:{publisher}{note}",
        ),
    }
)


def scaffold(name: str, publisher: str, template: str, parent: Path) -> Path:
    """Create a package folder `parent/name`; returns it.

    Raises:
        BadProcessId: the name or the publisher is not a valid name.
        PackageError: the folder exists, or cannot be written.
    """
    ProcessId.parse(f"{name}:{name}:{publisher}")
    folder = parent / name
    try:
        folder.mkdir(parents=True)
        for path, content in _content(name, publisher, template):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")
        if template.partition("-")[0] == "rust":
            rust.link_sdk(folder)
            (folder / LOCK).write_bytes(
                (sdk_folder("rust") / LOCK).read_bytes()
            )  # what the SDK is tested with
        if _parts(template)[0].language == "javascript":
            javascript.link_sdk(folder, sdk_folder("javascript"))
    except FileExistsError:
        raise PackageError(f"{folder} exists already: choose another name") from None
    except OSError as error:
        wanted = disk_errors.remedy(error, "choose another place")
        raise PackageError(f"{folder} cannot be written: {error.strerror}; {wanted}") from None
    return folder


def first_steps(folder: Path, template: str) -> str:
    """What to type to run a new package."""
    prepare = (
        f"cd {folder} && npm install && cd .. && " if _parts(template)[0].language == "javascript" else ""
    )
    return f"{prepare}guesthouse run --dev {folder}"


def _parts(template: str) -> tuple[_Language, _Kind, str]:
    language, _, kind = template.partition("-")
    kind = kind or "echo"
    return _LANGUAGES[language], _KINDS[kind], f"{language}/{kind}"


def _content(name: str, publisher: str, template: str) -> Iterator[tuple[str, str]]:
    """The files of a package, by their paths."""
    language, kind, own = _parts(template)
    if language.language == "rust":
        rights = 'request-capabilities = ["kv:distro:sys"]\n' if template == "rust-http" else ""
        kind = _Kind(
            kind.description, kind.use if template != "rust-chat" else _KINDS["echo"].use, (), rights
        )
    values = {"name": name, "publisher": publisher, "language": language.language}
    values |= {"source": language.source.format(**values), "description": kind.description, "more": kind.more}
    yield MANIFEST_NAME, _MANIFEST.format(**values)
    note = "/note" if template == "c-http" else "/notes/today"
    yield (
        "README.md",
        _README.format(**values, first=language.first, use=kind.use.format(**values, note=note)),
    )
    yield ".gitignore", "".join(f"{path}\n" for path in ("/build/", *language.ignored))
    for file, content in RUST_TEMPLATES.get(template, ("", {}))[1].items():
        yield file, content.replace("NAME", crate_name(name))
    tests = (own.replace(template.partition("-")[0], language.tests, 1),) if language.tests else ()
    for place in (*tests, own, *language.shared, *kind.shared):
        root = _TEMPLATES / place
        for path in sorted(root.rglob(f"*{_SUFFIX}")):
            shown = path.relative_to(root).as_posix().removesuffix(_SUFFIX)
            # A test is a module of Python, whose name has no dots but the one before its ending.
            in_path = _NOT_OF_MODULES.sub("_", name) if shown.startswith("tests/") else name
            text = path.read_text(encoding="utf-8").replace(_NAME, name).replace(_PUBLISHER, publisher)
            yield shown.replace(_NAME, in_path), text


def crate_name(name: str) -> str:
    """A name that cargo takes for the crate of a package: not all that packages may have are."""
    crate = _NOT_OF_CRATES.sub("-", name)
    return f"process-{crate}" if crate[0].isdigit() or crate in _TAKEN_CRATES else crate

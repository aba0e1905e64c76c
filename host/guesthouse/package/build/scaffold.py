"""The templates of `guesthouse new`: a small package in each language, ready to build, run and test.

Their files are in `templates/`, with `{name}` for the package's name in paths and text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.package.build.rust import LOCK, link_sdk
from guesthouse.package.build.rust_templates import RUST_TEMPLATES
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import PackageError
from guesthouse.package.format.manifest import MANIFEST_NAME

_TEMPLATES: Final = Path(__file__).with_name("templates")
_SUFFIX: Final = ".template"
_NAME: Final = "{name}"

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
    shared: tuple[str, ...] = ()
    """Folders of `templates/` that all its packages have."""
    first: str = ""
    """A line of the README: what to run before all else."""


class _Kind(Struct, frozen=True):
    """What a package does."""

    description: str
    use: str
    """How it is used, for the README."""
    shared: tuple[str, ...] = ()
    more: str = ""
    """More lines of the manifest's process."""


_RUST: Final = (
    "    rustup target add wasm32-wasip2\n    cargo test                # with a host made for tests\n"
)
_NPM: Final = "    npm install               # what it is built with\n"
_LANGUAGES: Final[Mapping[str, _Language]] = MappingProxyType(
    {
        "python": _Language("python", "app.py"),
        "typescript": _Language("javascript", "app.ts", ("npm/typescript",), _NPM),
        "javascript": _Language("javascript", "app.js", ("npm/javascript",), _NPM),
        "c": _Language("c", "src/{name}.c"),
        "cpp": _Language("cpp", "src/{name}.cpp"),
        "go": _Language("go", "main.go", ("go_module",)),
        "rust": _Language("rust", "src/lib.rs", (), _RUST),
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
            "Its paths are below `/{name}:{name}:{publisher}`.",
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
            link_sdk(folder)
            (folder / LOCK).write_bytes(
                (sdk_folder("rust") / LOCK).read_bytes()
            )  # what the SDK is tested with
    except FileExistsError:
        raise PackageError(f"{folder} exists already: choose another name") from None
    except OSError as error:
        raise PackageError(f"{folder} cannot be written: {error.strerror}; choose another place") from None
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
    yield "README.md", _README.format(**values, first=language.first, use=kind.use.format(**values))
    for file, content in RUST_TEMPLATES.get(template, ("", {}))[1].items():
        yield file, content.replace("NAME", name)
    for place in (own, *language.shared, *kind.shared):
        root = _TEMPLATES / place
        for path in sorted(root.rglob(f"*{_SUFFIX}")):
            shown = path.relative_to(root).as_posix().removesuffix(_SUFFIX)
            yield shown.replace(_NAME, name), path.read_text(encoding="utf-8").replace(_NAME, name)

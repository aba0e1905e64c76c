"""The component in which `guesthouse run --dev` runs an app in Python: an interpreter with this SDK, which gets the
app's sources from the node when it starts. It needs `development:distro:sys`, which a node has only with `--dev`.

Built by `python -m guesthouse_sdk.build --development`, once for many apps.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FunctionType, ModuleType
from typing import Any, Final

from guesthouse_sdk import _json_guard, _wit
from guesthouse_sdk._given_modules import APP_FOLDER, LIBRARY_FOLDER, GivenModules, packed_library
from guesthouse_sdk._wit import types
from guesthouse_sdk.address import Address, address_from_wit
from guesthouse_sdk.entry import BadMain, Main, checked_main, start
from guesthouse_sdk.errors import SendError
from guesthouse_sdk.log import keep_sources
from guesthouse_sdk.messaging import Request, get_blob, receive
from guesthouse_sdk.system import Verbosity, print_to_log, set_our

NODE_SECONDS: Final = 30
_HOST: Final = (
    _wit.capabilities,
    _wit.http_server,
    _wit.messaging,
    _wit.spawning,
    _wit.system,
    _wit.tracing,
)
_OWN: Final = (APP_FOLDER, LIBRARY_FOLDER)

_ONLY_IN_DEVELOPMENT: Final = (
    "this component runs an app from its sources, "
    "and only under `guesthouse run --dev`: build the app instead"
)

_importing = False


class CalledWhileImported(Exception):
    """A module called the host while it was imported, when a component that is built has no host."""


def development_guest() -> type:
    """The class that the component exports; called at build time."""
    library = packed_library(str(Path(__file__).parent.parent))
    for module in _HOST:
        _refuse_while_importing(module)

    class Guest:
        def run(self, our: types.Address) -> None:
            random.seed()
            address = address_from_wit(our)
            set_our(address)
            try:
                given = _Node(address)
            except SendError:
                print_to_log(_ONLY_IN_DEVELOPMENT, Verbosity.ERROR)
                return
            main = _imported(given, library)
            if main is None:
                return
            if given.only_checks:
                receive()  # the node sees that it could start, and stops it
            start(main, address)

    _json_guard.install()
    keep_sources()
    gc.collect()
    gc.freeze()
    return Guest


def _imported(node: _Node, library: Mapping[str, tuple[str, bool, bytes]]) -> Main | None:
    """The app's `main`; None if it cannot be imported, which the node was told."""
    modules = GivenModules(node.files, library, node.installed)
    printed = sys.stdout, sys.stderr
    if node.only_checks:
        sys.stdout = sys.stderr = None
    try:
        with modules.importing(), _without_host():
            app = importlib.import_module(node.module)
            return checked_main(getattr(app, "main", None), node.module)
    except BaseException as error:  # whatever fails here fails a build
        node.failed(_told(error, node.source))
        return None
    finally:
        sys.stdout, sys.stderr = printed


class _Node:
    """What the node gives, and is told."""

    def __init__(self, our: Address) -> None:
        self._target = f"{our.node}@development:distro:sys"
        given = self._ask("Sources")
        self.source: str = given["source"]
        """The file of the app's module."""
        self.module = PurePosixPath(self.source).stem
        self.only_checks: bool = given["check"]
        """Whether it is to be found out only whether the app can be imported."""
        self.files = self._files(given)

    def installed(self, name: str) -> Mapping[str, bytes]:
        """The files of an installed package."""
        with _with_host():
            return self._files(self._ask({"Package": name}))

    def failed(self, text: str) -> None:
        """The app cannot be imported."""
        self._ask({"Failed": text})

    def _ask(self, body: object) -> Any:
        request = Request().target(self._target).body(json.dumps(body))
        return json.loads(request.send_and_await_response(NODE_SECONDS).body)

    def _files(self, given: Mapping[str, Any]) -> dict[str, bytes]:
        blob = get_blob()
        content = memoryview(b"" if blob is None else blob.bytes)
        files, at = {}, 0
        for path, size in given["files"]:
            files[path] = bytes(content[at : at + size])
            at += size
        return files


# --- as in a build, there is no host while modules are imported


def _refuse_while_importing(module: ModuleType) -> None:
    for name, call in list(vars(module).items()):
        if isinstance(call, FunctionType) and not name.startswith("_"):
            setattr(module, name, _refused(name.replace("_", "-"), call))


def _refused(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def checked(*given: Any, **named: Any) -> Any:
        if _importing:
            raise CalledWhileImported(name)
        return call(*given, **named)

    return checked


@contextmanager
def _without_host() -> Iterator[None]:
    global _importing
    _importing = True
    try:
        yield
    finally:
        _importing = False


@contextmanager
def _with_host() -> Iterator[None]:
    global _importing
    before, _importing = _importing, False
    try:
        yield
    finally:
        _importing = before


# --- what is told of a failure: file and line first


def _told(error: BaseException, source: str) -> str:
    if isinstance(error, BadMain):
        return f"{source}:1: error: {error}"
    if isinstance(error, CalledWhileImported):
        why = f"{source} calls {error} while it is imported: call the host only from main or from what main calls"
        return f"{_place(error, source)}: error: {why}"
    if isinstance(error, SyntaxError) and (error.filename or "").startswith(_OWN):
        column = f":{error.offset}" if error.offset else ""
        place = f"{_short(error.filename or '')}:{error.lineno or 1}{column}"
        shown = traceback.format_exception_only(error)
        return "".join([f"{place}: error: {type(error).__name__}: {error.msg}\n", *shown[1:-1]]).rstrip()
    title = "".join(traceback.format_exception_only(error)).strip()
    frames = "".join(traceback.format_list(_author_frames(error)))
    return f"{_place(error, source)}: error: {title}\n{frames}".rstrip()


def _author_frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [
        traceback.FrameSummary(_short(frame.filename), frame.lineno, frame.name, line=frame.line)
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(_OWN)
    ]


def _place(error: BaseException, source: str) -> str:
    frames = _author_frames(error)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else f"{source}:1"


def _short(path: str) -> str:
    for root in _OWN:
        path = path.removeprefix(f"{root}/")
    return path

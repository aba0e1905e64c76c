"""Runs the user's module in a component: finds `main`, calls it, logs its failure."""

from __future__ import annotations

import gc
import inspect
import os
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, TypeAlias, cast

from guesthouse_sdk import _json_guard
from guesthouse_sdk._heap_filling import filling
from guesthouse_sdk._lasting_note import lasting_note
from guesthouse_sdk._wit import types
from guesthouse_sdk.address import Address, address_from_wit
from guesthouse_sdk.log import keep_sources, log_exception, log_to_host, logging_to_host
from guesthouse_sdk.process import Process
from guesthouse_sdk.system import set_our

Main: TypeAlias = type[Process] | Callable[[Address], object]
"""The type of `main` in a user's module."""


class BadMain(Exception):
    """A module's `main` is missing or cannot be run."""


def guest(app: ModuleType) -> type:
    """The class that a component exports for the user's module; called at build time.

    Raises:
        BadMain: the module has no `main`, or one that is neither a `Process` class nor a function.
    """
    main = checked_main(getattr(app, "main", None), app.__name__)

    class Guest:
        def run(self, our: types.Address) -> None:
            try:
                address = address_from_wit(our)
                set_our(address)
                _run(main, address)
            except Exception:
                sys.stderr = None  # the log has the traceback already
                raise

    _json_guard.install()
    keep_sources()
    log_to_host()  # now, as what a process does at its start it writes to pages that processes share
    Guest.lasting = lasting_note()  # type: ignore[attr-defined] # for the build
    gc.collect()
    if sys.platform == "wasi":
        random.seed = _seed  # which the runtime calls as a process starts: else all had the seed of the build
        Guest.filling = filling()  # type: ignore[attr-defined] # to be kept
    gc.freeze()  # keeps what was loaded at build time on pages that processes share
    return Guest


_seed_with: Final = random.seed
_SEED_BYTES: Final = 32


def _seed(a: int | float | str | bytes | bytearray | None = None, version: int = 2) -> None:
    """`random.seed`. By itself it takes 2,496 bytes for a seed, for which a process asks the host ten times."""
    _seed_with(int.from_bytes(os.urandom(_SEED_BYTES)) if a is None else a, version)


def checked_main(main: Any, module: str) -> Main:
    """Return `main` if it can be run.

    Raises:
        BadMain: it cannot; the message says what to write instead.
    """
    remedy = "write `main = YourProcess`, or `def main(our): …`"
    if main is None:
        raise BadMain(f"{module} has no main: {remedy}")
    if isinstance(main, Process):
        raise BadMain(f"main in {module} is an instance: write `main = {type(main).__name__}` without ()")
    if isinstance(main, type) and not issubclass(main, Process):
        raise BadMain(f"main in {module} is a class, but no Process: {remedy}")
    if inspect.iscoroutinefunction(main):
        raise BadMain(f"main in {module} is async: a process simply waits in receive(); {remedy}")
    if not callable(main):
        raise BadMain(f"main in {module} is of type {type(main).__name__}: {remedy}")
    return main  # type: ignore[no-any-return]


def start(main: Main, our: Address) -> None:
    """Run a process until it ends, where nothing was prepared at build time. `sys.exit()` ends it like returning.

    Raises:
        Exception: what `main` did not catch, after it was logged; the host then follows the
            process's on-exit.
    """
    set_our(our)
    try:
        with logging_to_host():
            _run(main, our)
    finally:
        set_our(None)


def _run(main: Main, our: Address) -> None:
    try:
        if isinstance(main, type) and issubclass(main, Process):
            main().run(our)
        else:
            cast("Callable[[Address], object]", main)(our)
    except SystemExit:
        return
    except Exception as error:
        log_exception("the process", error)
        raise

"""Modules that libraries import and this program hardly ever uses: executed when something of them is used first."""

from __future__ import annotations

import os
import sys
from _thread import RLock
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

PLATFORM: Final[dict[str, Callable[[], str]]] = {"system": lambda: os.uname().sysname}
"""What `uuid` asks of `platform` while it is imported, which msgspec has it."""

_lock = RLock()


def put_off(name: str, **known: object) -> None:
    """Have the import of a module find it without executing it. Nothing happens when it is there already.

    Args:
        name: of the module.
        known: what it has already, for who uses that while being imported itself.

    Unlike `importlib.util.LazyLoader` this serves packages, too, whose submodules are imported for themselves.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    vars(module).update(known, __getattr__=_Execution(module, spec))
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)


class _Execution:
    """What a module is asked for that it does not have yet."""

    def __init__(self, module: ModuleType, spec: ModuleSpec) -> None:
        self._module = module
        self._spec = spec
        self._begun = False

    def __call__(self, attribute: str) -> Any:
        with _lock:
            if not self._begun and not attribute.startswith("__") and self._spec.loader is not None:
                self._begun = True
                self._spec.loader.exec_module(self._module)
                vars(self._module).pop("__getattr__", None)
                return getattr(self._module, attribute)
        try:
            return vars(self._module)[attribute]
        except KeyError:
            raise AttributeError(
                f"module {self._spec.name!r} has no attribute {attribute!r}", name=attribute, obj=self._module
            ) from None

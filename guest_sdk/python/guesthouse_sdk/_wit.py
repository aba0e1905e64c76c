"""The contract's bindings: those of the component, or those of the fake host.

The rest of the SDK uses them only through this module. Values may be passed as the
SDK's own classes: the bindings read records by attributes and enums by value. Variants are
distinguished by class, so these must be the bindings'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from guesthouse_sdk._native import capabilities, http_server, messaging, spawning, system, tracing, types
    from guesthouse_sdk._native.types import Err
else:
    try:
        from componentize_py_types import Err
        from wit_world.imports import capabilities, http_server, messaging, spawning, system, tracing, types
    except ModuleNotFoundError as missing:
        if missing.name not in {"componentize_py_types", "wit_world"}:
            raise
        from guesthouse_sdk._native import (
            capabilities,
            http_server,
            messaging,
            spawning,
            system,
            tracing,
            types,
        )
        from guesthouse_sdk._native.types import Err

__all__ = [
    "Err",
    "capabilities",
    "http_server",
    "messaging",
    "refusal",
    "spawning",
    "system",
    "tracing",
    "types",
]

T = TypeVar("T")


def refusal(failure: Err[T]) -> T:
    """The error that the host returned.

    Its traceback is removed: its frames are those of the bindings, with `failure` in a variable. That cycle would keep
    everything that was sent until garbage collection, long after a busy process had run out of memory.
    """
    failure.with_traceback(None)
    return failure.value

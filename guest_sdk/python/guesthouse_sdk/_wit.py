"""The seam: the contract's bindings, those of the component or those of the fake host.

The rest of the SDK takes them from here and knows no difference. Values may be handed down as the
SDK's own classes: the bindings read records by their fields and enums by their value. Variants are
told apart by class, so those must be the bindings'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from guesthouse_sdk._native import capabilities, http_server, messaging, spawning, system, types
    from guesthouse_sdk._native.types import Err
else:
    try:
        from componentize_py_types import Err
        from wit_world.imports import capabilities, http_server, messaging, spawning, system, types
    except ModuleNotFoundError as missing:
        if missing.name not in {"componentize_py_types", "wit_world"}:
            raise
        from guesthouse_sdk._native import capabilities, http_server, messaging, spawning, system, types
        from guesthouse_sdk._native.types import Err

__all__ = ["Err", "capabilities", "http_server", "messaging", "refusal", "spawning", "system", "types"]

T = TypeVar("T")


def refusal(failure: Err[T]) -> T:
    """What the host answered in the place of a result.

    The traceback goes: its frames are those of the bindings, which have `failure` in a variable. That circle would keep
    all that was sent until garbage is collected, long after a process that sends much had run out of memory.
    """
    failure.with_traceback(None)
    return failure.value

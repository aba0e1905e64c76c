"""The seam: the contract's bindings, those of the component or those of the fake host.

The rest of the SDK takes them from here and knows no difference. Values may be handed down as the
SDK's own classes: the bindings read records by their fields and enums by their value. Variants are
told apart by class, so those must be the bindings'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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

__all__ = ["Err", "capabilities", "http_server", "messaging", "spawning", "system", "types"]

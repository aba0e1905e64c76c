"""Host calls, whichever way a component runs: what they are, how they wait, and what becomes of what they raise."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from msgspec import Struct

from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.capi import CONTINUATION_STRUCT
from guesthouse.wasm.engine.fiber import FIBERS, Fiber
from guesthouse.wasm.errors import host_fault
from guesthouse.wasm.values import Form


class _Pending:
    """The type of `PENDING`."""


PENDING: Final = _Pending()
"""What a blocking host call returns when it has no result yet: `Fiber.answer` gives it later."""


SMALL_BYTES: Final = 65_536
"""Bytes of a text or a `list<u8>` that every call takes."""


TEXT_BYTES: Final = 1024 * 1024
"""Bytes of the longest text that a call takes as a text: whose payloads are text takes them as UTF-8."""


class Beyond(Enum):
    """What becomes of a text or bytes beyond a call's limit. They are not copied to find out."""

    TRAP = auto()
    """The guest traps."""
    MARK = auto()
    """The call gets `Oversize` for bytes, and for text where it wants UTF-8; other texts trap."""
    CUT = auto()
    """The call gets the beginning of a text, `SMALL_BYTES` or a little less; bytes trap."""


def _small(owner: Any) -> int:
    return SMALL_BYTES


class HostFunction(Struct, frozen=True):
    """A host call. `call` gets the fiber's owner and the lifted arguments."""

    call: Callable[..., Any]
    blocks: bool = False
    """Whether it may return `PENDING`."""
    utf8: bool = False
    """Whether it gets its strings as the bytes of their UTF-8."""
    forms: tuple[Form, ...] = ()
    """What it may return besides values of its type."""
    most: Callable[[Any], int] = _small
    """Bytes of the longest text or `list<u8>` that the owner may pass it; never fewer than `SMALL_BYTES`."""
    beyond: Beyond = Beyond.TRAP
    takes_none: bool = False
    """Whether it does without its arguments, which are then not looked at: their types are the component's own."""


Destructor: TypeAlias = Callable[[Any, int, int], None]
"""`(owner, resource type number, number)`."""


def _wait(context: int) -> bool:
    """Whether the host call that the guest waits in has its result now.

    wasmtime looks for an error when a host call begins, not when it ends. So a guest whose answer cannot be
    made stays where it is, and `Fiber.poll` ends it.
    """
    fiber = FIBERS.get(context)
    if fiber is None:
        return False
    produce, fiber.pending_answer = fiber.pending_answer, None
    if produce is None:
        return False
    try:
        fiber.blocked(produce())
    except BaseException as error:
        note_fault(fiber, error)
        return False
    fiber.blocked = None
    return True


_WAIT: Final = capi.CONTINUATION(_wait)
WAIT_ADDRESS: Final = ctypes.cast(_WAIT, ctypes.c_void_p).value or 0
"""The continuation of a host call that waits, with the context of its store."""

# A continuation that is done at once needs no Python: `abs(1)` answers with 1, which is true.
_ABS_ADDRESS: Final = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value or 0
DONE: Final = CONTINUATION_STRUCT.pack(_ABS_ADDRESS, 1, 0)
"""The continuation of a blocking host call that has its result."""

put_wait: Final = CONTINUATION_STRUCT.pack_into
put_address: Final = capi.ADDRESS.pack_into


def note_fault(fiber: Fiber | None, error: BaseException) -> bytes:
    """Keep what a host call raised, in few words; returns what wasmtime gets to see of it."""
    fault = host_fault(error)
    if fiber is not None and fiber.fault is None:
        fiber.fault = fault
    return str(fault).encode("utf-8", "replace").replace(b"\0", b" ")

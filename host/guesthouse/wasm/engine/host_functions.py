"""Host calls: their definition, how they block, and their exceptions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from msgspec import Struct

from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.capi import CONTINUATION_STRUCT
from guesthouse.wasm.engine.fiber import Fiber
from guesthouse.wasm.errors import host_fault
from guesthouse.wasm.values import Form


class _Pending:
    """The type of `PENDING`."""


PENDING: Final = _Pending()
"""Returned by a blocking host call without a result yet, which `Fiber.answer` gives later."""


SMALL_BYTES: Final = 65_536
"""Bytes of a string or a `list<u8>` that every call accepts."""


TEXT_BYTES: Final = 1024 * 1024
"""Bytes of the longest `str` that a call accepts; calls with text payloads take UTF-8."""


class Beyond(Enum):
    """What happens to a string or bytes over a call's limit, without copying them."""

    TRAP = auto()
    """The guest traps."""
    MARK = auto()
    """The call gets `Oversize` for bytes, and for strings taken as UTF-8; other strings trap."""
    CUT = auto()
    """The call gets the start of a string, `SMALL_BYTES` or slightly less; bytes trap."""


def _small(owner: Any) -> int:
    return SMALL_BYTES


class HostFunction(Struct, frozen=True):
    """A host call. `call` gets the fiber's owner and the lifted arguments."""

    call: Callable[..., Any]
    blocks: bool = False
    """Whether it may return `PENDING`."""
    utf8: bool = False
    """Whether strings are passed to it as UTF-8 bytes."""
    forms: tuple[Form, ...] = ()
    """What it may return besides values of its type."""
    most: Callable[[Any], int] = _small
    """Bytes of the longest string or `list<u8>` that it accepts from the owner; at least `SMALL_BYTES`."""
    beyond: Beyond = Beyond.TRAP
    takes_none: bool = False
    """Whether it ignores its arguments, which are then not lifted: their types are the component's own."""
    views_from: int | None = None
    """Bytes from which a `list<u8>`, or a string taken as UTF-8, is passed as a view of the guest's memory, which is
    valid until the guest runs on; None: never.
    """
    frequent: bool = False
    """Whether guests make it for each message: it is then compiled as a whole when a component is linked, where the
    component lowers it first."""


Destructor: TypeAlias = Callable[[Any, int, int], None]
"""`(owner, resource type number, number)`."""


class BlockedCall(Struct, frozen=True):
    """A host call that waits for its result. The engine asks for its truth at each poll: whether it has it now."""

    fiber: Any
    finish: Callable[..., None]
    """`(value, fiber, address of the core parameters, address of the core results)`: lower the result."""
    params: int
    results: int

    def __bool__(self) -> bool:
        """Lower the result, if it is there.

        wasmtime checks for an error when a host call starts, not when it ends. So a guest whose result cannot be
        converted stays blocked, and `Fiber.poll` ends it.
        """
        fiber = self.fiber
        produce = fiber.pending_answer
        if produce is None:
            return False
        fiber.pending_answer = None
        try:
            self.finish(produce(), fiber, self.params, self.results)
        except BaseException as error:
            note_fault(fiber, error)
            return False
        fiber.blocked, fiber.answered = (
            None,
            self,
        )  # whoever asks for the truth of an object expects it to live on
        return True


def address_of_python(name: str) -> int:
    """The address of a function of Python's C API. As a callback that is given an object, which has to live as long as
    the callback may be called, it costs a fifth of one by ctypes; what it calls in the object must not raise.
    """
    return ctypes.cast(ctypes.pythonapi[name], ctypes.c_void_p).value or 0


WAIT_ADDRESS: Final = address_of_python("PyObject_IsTrue")
"""The continuation of a waiting host call, with the address of its `BlockedCall`."""

# A continuation that is done at once needs no Python: `abs(1)` returns 1, which is true.
_ABS_ADDRESS: Final = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value or 0
DONE: Final = CONTINUATION_STRUCT.pack(_ABS_ADDRESS, 1, 0)
"""The continuation of a host call that has its result."""

put_wait: Final = CONTINUATION_STRUCT.pack_into
put_address: Final = capi.ADDRESS.pack_into


def note_fault(fiber: Fiber | None, error: BaseException) -> bytes:
    """Record what a host call raised, briefly; returns the message for wasmtime."""
    fault = host_fault(error)
    if fiber is not None and fiber.fault is None:
        fiber.fault = fault
    return str(fault).encode("utf-8", "replace").replace(b"\0", b" ")

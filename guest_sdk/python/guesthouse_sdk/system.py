"""The process itself: its address, its log, its state, and what happens when it ends."""

from __future__ import annotations

from enum import Enum
from typing import Final

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import checked_bytes
from guesthouse_sdk._wit import Err, refusal
from guesthouse_sdk.address import Address, address_from_wit
from guesthouse_sdk.capabilities import capability_from_wit
from guesthouse_sdk.errors import StateError, StateNotWritten, StateTooBig


class Verbosity(Enum):
    """Log levels."""

    ERROR = _wit.system.Verbosity.ERROR
    WARNING = _wit.system.Verbosity.WARNING
    INFO = _wit.system.Verbosity.INFO
    DEBUG = _wit.system.Verbosity.DEBUG


class _Self:
    """The process's address, once it runs."""

    __slots__ = ("address",)

    def __init__(self) -> None:
        self.address: Address | None = None


_self: Final = _Self()


def set_our(address: Address | None) -> None:
    """Set the address that the host started this process with."""
    _self.address = address


def our() -> Address:
    """The address of this process."""
    if _self.address is None:
        return address_from_wit(_wit.system.our())
    return _self.address


def print_to_log(text: str, verbosity: Verbosity = Verbosity.INFO) -> None:
    """Write to the process's log. `print` and `logging` also go there."""
    if not text.isascii():
        text = text.encode(errors="replace").decode()  # a lone surrogate must not cost the line
    _wit.system.print(verbosity.value, text)


def get_state() -> bytes | None:
    """The stored bytes, if any."""
    return _wit.system.get_state()


def set_state(state: bytes) -> None:
    """Replace the stored bytes. They are durable once this returns.

    Raises:
        StateTooBig: larger than this process may store.
        StateNotWritten: the node could not write it.
    """
    try:
        _wit.system.set_state(checked_bytes(state, "the state"))
    except Err as failure:
        raise _state_error(refusal(failure)) from None


def clear_state() -> None:
    """Delete the stored bytes, durably.

    Raises:
        StateNotWritten: the node could not write it.
    """
    try:
        _wit.system.clear_state()
    except Err as failure:
        raise _state_error(refusal(failure)) from None


def _state_error(raw: _wit.system.StateError) -> StateError:
    if not isinstance(raw, _wit.system.StateError_TooBig):
        return StateNotWritten("the node could not write the state; its log says why")
    error = StateTooBig("the state is larger than this process may keep: store less")
    error.missing = capability_from_wit(raw.value)
    return error

"""The values and calls of `wit/system.wit`."""

from __future__ import annotations

from enum import Enum

from guesthouse_sdk._native import types
from guesthouse_sdk._native.running import host


class Verbosity(Enum):
    ERROR = 0
    WARNING = 1
    INFO = 2
    DEBUG = 3


class StateError(Enum):
    TOO_BIG = 0
    STORAGE = 1


def our() -> types.Address:
    return host().our()


def print(verbosity: Verbosity, text: str) -> None:  # noqa: A001 - the contract's name
    host().print(verbosity, text)


def get_state() -> bytes | None:
    return host().get_state()


def set_state(bytes: bytes) -> None:  # noqa: A002 - the contract's name
    host().set_state(bytes)


def clear_state() -> None:
    host().clear_state()


def get_on_exit() -> types.OnExit:
    return host().get_on_exit()


def set_on_exit(on_exit: types.OnExit) -> None:
    host().set_on_exit(on_exit)

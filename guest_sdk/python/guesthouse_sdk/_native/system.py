"""The values and calls of `wit/system.wit`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from guesthouse_sdk._native import types
from guesthouse_sdk._native.running import host


class Verbosity(Enum):
    ERROR = 0
    WARNING = 1
    INFO = 2
    DEBUG = 3


@dataclass
class StateError_TooBig:  # noqa: N801 - the bindings' spelling
    value: types.Capability


@dataclass
class StateError_Storage:  # noqa: N801 - the bindings' spelling
    pass


StateError: TypeAlias = StateError_TooBig | StateError_Storage


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

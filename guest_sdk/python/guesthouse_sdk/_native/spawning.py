"""The values and calls of `wit/spawning.wit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from guesthouse_sdk._native import types
from guesthouse_sdk._native.running import host


@dataclass
class SpawnError_NameTaken:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class SpawnError_NoFileAtPath:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class SpawnError_NotAuthorised:  # noqa: N801 - the bindings' spelling
    value: types.Capability


@dataclass
class SpawnError_TooMany:  # noqa: N801 - the bindings' spelling
    pass


SpawnError: TypeAlias = (
    SpawnError_NameTaken | SpawnError_NoFileAtPath | SpawnError_NotAuthorised | SpawnError_TooMany
)


def spawn(
    name: str | None,
    wasm_path: str,
    on_exit: types.OnExit,
    request_capabilities: list[types.Capability],
    grant_capabilities: list[types.ProcessId],
    public: bool,
) -> types.ProcessId:
    return host().spawn(name, wasm_path, on_exit, request_capabilities, grant_capabilities, public)

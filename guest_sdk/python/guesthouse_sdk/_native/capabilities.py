"""The calls of `wit/capabilities.wit`."""

from __future__ import annotations

from guesthouse_sdk._native import types
from guesthouse_sdk._native.running import host


def save(capabilities: list[types.Capability]) -> None:
    host().save_capabilities(capabilities)


def drop(capabilities: list[types.Capability]) -> None:
    host().drop_capabilities(capabilities)


def ours() -> list[types.Capability]:
    return host().our_capabilities()

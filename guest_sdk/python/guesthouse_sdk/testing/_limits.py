"""The limits of a fake host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FakeLimits:
    """The limits that the fake host keeps; the defaults are those of a node. Sizes are bytes."""

    message_bytes: int = 1 << 20
    outbox_bytes: int = 4 << 20
    state_bytes: int = 16 << 20
    bindings: int = 256
    kv_bytes: int = 64 << 20
    drive_bytes: int = 64 << 20

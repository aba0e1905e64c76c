"""The clock of the fake host, in the place of `time.monotonic`."""

from __future__ import annotations

from guesthouse_sdk._native.running import host


def monotonic() -> float:
    """Seconds that passed in the fake host."""
    return host().now

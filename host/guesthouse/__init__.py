"""Guesthouse: a host for untrusted WebSocket code in WebAssembly components."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """`__version__`, looked up by whoever asks: reading the installed metadata is a tenth of a worker's start."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("guesthouse")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"

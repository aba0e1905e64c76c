"""Guesthouse: a host for untrusted WebSocket code in WebAssembly components."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("guesthouse")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

"""How tests have components run. Imports no wasmtime: its handlers of signals have to come after pytest's."""

from __future__ import annotations


class Lane:
    """What `harness.load` does."""

    apart = False
    """Whether components are taken apart where that can be done, as the compiler does it."""
    frequent = False
    """Whether all host calls are `HostFunction.frequent`."""

"""Limits what the components of one package may have mapped in a worker.

Each compiled core module is an open file and three mappings, of which a worker has 16,384 and 65,530 for guests of all
packages. A component may have a hundred modules, and a package hundreds of components.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.loader import Loaded

MAX_MODULES: Final = 1024
"""Of all components of a package together. A Python guest has 15, one in C four."""


class PackageModules:
    """The components of each package that have guests in this worker."""

    def __init__(self) -> None:
        self._guests: dict[str, Counter[Loaded]] = {}
        """The number of guests of each component, by package."""

    def check(self, package: str, component: Loaded) -> None:
        """Check that a guest of this component may start.

        Raises:
            LinkFailure: the package would have too many modules.
        """
        running = self._guests.get(package, ())
        if component in running:
            return
        count = component.modules + sum(each.modules for each in running)
        if count > MAX_MODULES:
            raise LinkFailure(
                f"has {component.modules} core modules, and with those of {package} that run it is {count} in one "
                f"worker, over {MAX_MODULES}: build it of fewer, or start fewer different components"
            )

    def add(self, package: str, component: Loaded) -> None:
        """A guest has started."""
        self._guests.setdefault(package, Counter())[component] += 1

    def remove(self, package: str, component: Loaded) -> None:
        """A guest has ended."""
        running = self._guests[package]
        running[component] -= 1
        if not running[component]:
            del running[component]
            if not running:
                del self._guests[package]

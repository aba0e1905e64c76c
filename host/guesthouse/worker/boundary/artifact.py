"""What the compiler made of a component, loaded: whole, or taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from wasmtime import Engine, Module, WasmtimeError

from guesthouse.canonical.codec import plan_from_json
from guesthouse.canonical.files import PLAN_SUFFIX, core_path
from guesthouse.worker.boundary.apart.assembly import Assembly
from guesthouse.worker.boundary.errors import NotLoaded
from guesthouse.worker.boundary.offers import Offer
from guesthouse.worker.boundary.whole.component import Component

Loaded: TypeAlias = Component | Assembly


@dataclass(frozen=True, slots=True)
class Engines:
    """The two engines of a worker."""

    main: Engine
    small: Engine

    def load(self, path: Path, offer: Offer, *entries: tuple[str | None, str]) -> Loaded:
        """Load a component with the engine that compiled it, and link it.

        Args:
            path: of an artifact of the compile cache.
            offer: the host's calls.
            entries: as for `Component`.

        Raises:
            LinkFailure: it imports what is not offered or has none of the entries.
            NotLoaded: it is not of these engines.
        """
        if path.suffix == PLAN_SUFFIX:
            return self._apart(path, offer, entries)
        try:
            return Component(self.main, path, offer, *entries)
        except NotLoaded:
            return Component(self.small, path, offer, *entries)

    def _apart(self, path: Path, offer: Offer, entries: tuple[tuple[str | None, str], ...]) -> Assembly:
        try:
            plan = plan_from_json(path.read_bytes())
            engine = self.small if plan.small else self.main
            modules = [
                Module.deserialize_file(engine, str(core_path(path, number)))
                for number in range(plan.modules)
            ]
        except (OSError, ValueError, WasmtimeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise NotLoaded(f"the component cannot be loaded: {reason}") from None
        return Assembly(engine, plan, modules, offer, *entries)

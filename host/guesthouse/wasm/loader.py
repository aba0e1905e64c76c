"""Loads compiled components."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias
from weakref import WeakValueDictionary

from msgspec import Struct, field

from guesthouse.wasm.artifact_files import MODULE_SUFFIX, PLAN_SUFFIX, module_paths
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine.imports import HostImport
from guesthouse.wasm.engine.owned import CompiledModule, EngineError, Native
from guesthouse.wasm.errors import NotLoaded
from guesthouse.wasm.plan.needs import NO_NEEDS
from guesthouse.wasm.plan.plan_json import plan_from_json, without_needs

Loaded: TypeAlias = LinkedComponent


class Engines(Struct, frozen=True):
    """A worker's two engines."""

    main: Native
    small: Native
    _shared: WeakValueDictionary[tuple[bool, Path], CompiledModule] = field(
        default_factory=WeakValueDictionary
    )
    """Loaded shared modules as long as a component uses them, by engine (small or not) and file: a module is loaded for
    one engine."""
    _linked: WeakValueDictionary[bytes, LinkedComponent] = field(default_factory=WeakValueDictionary)
    """One of the loaded components for each plan, by what is the same in those that differ in their needs only."""

    def load(self, path: Path, offer: HostImport, *entries: tuple[str | None, str]) -> Loaded:
        """Load a component with the engine that compiled it, and link it.

        Args:
            path: of its plan in the compile cache.
            offer: the host's calls.
            entries: exports that may run a process, in order of preference: interface, or None for a function of the
                component itself, and name.

        Raises:
            LinkFailure: it imports what is not offered or has none of the entries.
            NotLoaded: it was not compiled for these engines.
        """
        if path.suffix != PLAN_SUFFIX:
            raise NotLoaded("the component cannot be loaded: the file is not a plan")
        try:
            text = path.read_bytes()
            known, needs = without_needs(text) or (b"", NO_NEEDS)
            twin = self._linked.get(known) if known else None
            if twin is not None and twin.serves(offer, entries):
                return twin.with_modules(
                    self._modules(path, twin.modules, small=twin.engine is self.small), needs
                )
            plan = plan_from_json(text)
            modules = self._modules(path, plan.modules, small=plan.small)
        except (OSError, ValueError, EngineError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise NotLoaded(f"the component cannot be loaded: {reason}") from None
        try:
            linked = LinkedComponent(self.small if plan.small else self.main, plan, modules, offer, *entries)
        except LookupError as error:
            raise NotLoaded(
                f"the component cannot be loaded: its plan names {error}, which it does not have"
            ) from None
        if known:
            self._linked[known] = linked
        return linked

    def _modules(self, path: Path, count: int, *, small: bool) -> list[CompiledModule]:
        return [self._module(each, small=small) for each in module_paths(path, count)]

    def _module(self, path: Path, *, small: bool) -> CompiledModule:
        module = self._shared.get((small, path))
        if module is None:
            module = CompiledModule.deserialize_file(self.small if small else self.main, path)
            if path.suffix == MODULE_SUFFIX:
                self._shared[small, path] = module
        return module

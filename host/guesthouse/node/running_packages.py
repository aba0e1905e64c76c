"""The packages of a node, found by host, by id and by process in one look each: it may have thousands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from guesthouse.http_server.routing.subdomains import label_of
from guesthouse.package.spec import Package, ProcessSpec


class RunningPackages:
    """What was added and not removed, in that order. There may be several of one id: a bare component does not replace
    a package.
    """

    def __init__(self) -> None:
        # Each by its identity: to compare packages is to compare all in them.
        self._all: dict[int, Package] = {}
        self._on_hosts: dict[str, dict[int, Package]] = {}
        self._processes: dict[int, ProcessSpec] = {}

    def __iter__(self) -> Iterator[Package]:
        """Those that there are now, whatever becomes of them meanwhile."""
        return iter(tuple(self._all.values()))

    def add(self, packages: Iterable[Package]) -> None:
        """Add packages, at the end."""
        for package in packages:
            self._all[id(package)] = package
            self._on_hosts.setdefault(label_of(package.id), {})[id(package)] = package
            self._processes.update((id(spec), spec) for spec in package.processes)

    def remove(self, packages: Iterable[Package]) -> None:
        """Remove packages, which are there."""
        for package in packages:
            label = label_of(package.id)
            del self._all[id(package)]
            del self._on_hosts[label][id(package)]
            if not self._on_hosts[label]:
                del self._on_hosts[label]
            for spec in package.processes:
                self._processes.pop(id(spec), None)

    def has(self, spec: ProcessSpec) -> bool:
        """Whether a process is one of a package that is there: this very version of it."""
        return id(spec) in self._processes

    def of(self, package_id: str) -> Sequence[Package]:
        """Those with this id."""
        return [each for each in self._on(package_id) if each.id == package_id]

    def hosted_with(self, package_id: str) -> set[str]:
        """The ids of those that are served on the host of a package with this id, whether it is there or not."""
        return {each.id for each in self._on(package_id)}

    def _on(self, package_id: str) -> Iterable[Package]:
        return self._on_hosts.get(label_of(package_id), {}).values()

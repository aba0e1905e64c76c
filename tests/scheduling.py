"""Which of pytest-xdist's processes runs what, when one of them dies: its test fails, and all others run."""

from __future__ import annotations

from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]


class Scheduling(LoadGroupScheduling):  # type: ignore[misc] # it has no types
    """That of `--dist loadgroup`, which gave the test that killed a process to the next, and so to all, and tests to
    the process in its place before that had loaded any.
    """

    def remove_node(self, node: WorkerController) -> str | None:
        """Give what is left of a dead process's work to others. Returns the test that it died in."""
        units = self.assigned_work.pop(node)
        died_in = next((test for unit in units.values() for test, done in unit.items() if not done), None)
        for group, unit in units.items():
            if died_in in unit:
                unit[died_in] = True
            if not all(unit.values()):
                self.workqueue[group] = unit
        for other in self.nodes:
            self._reschedule(other)
        return died_in

    def _reschedule(self, node: WorkerController) -> None:
        if node in self.registered_collections:
            super()._reschedule(node)

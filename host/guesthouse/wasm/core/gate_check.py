"""Checks in the worker that a plan leads every call that may block through its gate (`plan/gate.py`), which refuses it
where the engine would panic and end all guests of the worker.

A plan comes from a compiler that may have been compromised, and only the worker knows which calls block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from guesthouse.wasm.errors import NotLoaded
from guesthouse.wasm.plan.plan import CallOf, Checking, Export, Plan, Trapping


def check_gate(plan: Plan, blocking: Collection[int]) -> None:
    """Check how a plan's modules reach the host.

    Args:
        plan: the plan.
        blocking: the numbers of its calls that may block.

    Raises:
        NotLoaded: a guest could reach one of them without a check.
    """
    if not blocking:
        return
    fault = _fault(plan)
    if fault is not None:
        raise NotLoaded(f"the component cannot be loaded: {fault}, so a call could block where it must not")


def _fault(plan: Plan) -> str | None:
    last = len(plan.calls) - 1
    if [number for number, call in enumerate(plan.calls) if isinstance(call, Checking)] != [last]:
        return "its plan has no gate"
    gate, *others = plan.instantiations or (None,)
    calls = tuple(CallOf(at) for at, call in enumerate(plan.calls) if not isinstance(call, Trapping))
    if gate is None or gate.imports != calls or gate.start is not None:
        return "its plan has another gate"
    if any(each.module == gate.module for each in others):
        return "its plan has two gates"
    if plan.batch is not None and any(each.module == plan.batch.module for each in plan.instantiations):
        return "its plan has an instance of its batch"
    checked = {str(number) for number in range(last)}
    for source in chain.from_iterable(each.imports for each in others):
        if isinstance(source, CallOf) or (source.instance == 0 and source.name not in checked):
            return "its plan leads around the gate"
    if any(export.instance == 0 for export in _own(plan)):
        return "its plan takes the gate for its own code"
    return None


def _own(plan: Plan) -> Iterator[Export]:
    """What has to be of the component's own modules."""
    yield from plan.reallocs
    yield from (each.function for each in plan.exports)
    if plan.memory is not None:
        yield plan.memory

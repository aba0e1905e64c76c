"""Errors for missing capabilities, as a component's own types can express them.

An error names the missing capability. Components are built against contracts of any age: one whose type
has the case without the capability gets the bare case, one without the case the closest that it has.
"""

from __future__ import annotations

from typing import Any, Final

from guesthouse.link.calls import CallDenied, Outcome
from guesthouse.wasm.values import OK, Err, FirstOf
from guesthouse.worker.contract_messages import capability_values

_CLOSEST: Final = {
    "not-authorised": ("bad-path", "no-file-at-path"),
    "too-big": ("storage",),
    "too-many": ("no-file-at-path",),
}


def as_result(outcome: Outcome) -> Any:
    """The outcome of a call without a result value."""
    return OK if outcome is None else Err(as_error(outcome))


def as_error(outcome: Outcome) -> Any:
    """The error of a failed outcome."""
    missing = (outcome.missing,) if isinstance(outcome, CallDenied) else ()
    name = outcome.error if isinstance(outcome, CallDenied) else str(outcome)
    named = [(name, capability) for capability in capability_values(missing)]
    return FirstOf((*named, (name, None), *((other, None) for other in _CLOSEST.get(name, ()))))

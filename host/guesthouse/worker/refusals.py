"""Refusals for want of a capability, in the words that a component's own types have.

A refusal names the capability that was missing. Components are built against contracts of any age: one whose type
has the case without the capability gets the bare case, one without the case the closest that it has.
"""

from __future__ import annotations

from typing import Any, Final

from guesthouse.worker.boundary.values import OK, Err, FirstOf
from guesthouse.worker.messages import capability_values

_CLOSEST: Final = {
    "not-authorised": ("bad-path", "no-file-at-path"),
    "too-big": ("storage",),
    "too-many": ("no-file-at-path",),
}


def as_result(value: Any) -> Any:
    """A call's outcome as the node replies it: None, the name of an error, or `[name, issuer, params]`."""
    return OK if value is None else Err(as_error(value))


def as_error(value: Any) -> Any:
    """The error of such an outcome."""
    name, *missing = [value] if type(value) is str else value
    named = [(name, capability) for capability in capability_values([missing] if missing else [])]
    return FirstOf((*named, (name, None), *((other, None) for other in _CLOSEST.get(name, ()))))

"""Report on a process's capabilities and where they come from. Pure."""

from __future__ import annotations

from typing import Any

from guesthouse.core.capabilities import Capability
from guesthouse.kernel.process.process import Process


def explained(process: Process) -> dict[str, Any]:
    """A process's capabilities with their origin, and those it was refused for lack of."""
    return {
        "process": str(process.id),
        "package": process.id.package_id,
        "public": process.public,
        "capabilities": [
            {**_named(capability), "from": _origin(process, capability)}
            for capability in sorted(process.holdings.all())
        ],
        "refused": [
            {**_named(capability), "times": times}
            for capability, times in sorted(process.holdings.refused.items())
        ],
    }


def _named(capability: Capability) -> dict[str, str]:
    return {"issuer": capability.issuer, "params": capability.params}


def _origin(process: Process, capability: Capability) -> str:
    holdings = process.holdings
    if capability in holdings.default:
        return "every process has it"
    if capability in holdings.requested:
        if not holdings.named:
            return "its parent gave it"
        return "its manifest requests it, and the operator granted it by running or installing the package"
    if capability in holdings.given:
        return f"{capability.issuer} grants it"
    giver = holdings.givers.get(capability)
    return "it saved it" if giver is None else f"{giver} handed it to it"

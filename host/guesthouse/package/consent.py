"""What a package asks for, and how a version differs from another in it. Pure.

A manifest that asks for more than the installed version needs the operator's consent. What every
process has, and what processes of one package may do with each other, needs none. Of a new package only its requests
count; of a later version also what it allows others, who could then get at data of the old one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from guesthouse.core.address import HTTP_SERVER, ProcessId, canonical
from guesthouse.core.capabilities import MESSAGING, STATE
from guesthouse.package.spec import Package, ProcessSpec


class Asked(Struct, frozen=True, order=True):
    """One item that a process's manifest asks for."""

    process: str
    kind: str
    """`request`, of a capability of `other`; `grant`, of its own to `other`; `public`; or `host`, when
    `other` was the last package on the package's host.
    """
    other: str = ""
    params: str = ""

    def __str__(self) -> str:
        if self.kind == "request":
            return f"{self.process} requests {self.params} of {self.other}"
        if self.kind == "grant":
            return f"{self.process} grants its {self.params} to {self.other}"
        if self.kind == "host":
            return f"{self.process} gets the former host of {self.other}, with what browsers keep for it"
        return f"{self.process} is public: every process may message it"


class Changes(Struct, frozen=True):
    """What a version asks for and the previous one did not, and vice versa."""

    more: tuple[Asked, ...]
    less: tuple[Asked, ...]

    def with_host_of(self, package_id: str, other: str) -> Changes:
        """The same for a package that gets the host of an uninstalled one."""
        return Changes((*self.more, Asked(package_id, "host", other)), self.less)

    def as_json(self) -> dict[str, list[str]]:
        """Both as strings."""
        return {
            "asks_more": [str(asked) for asked in self.more],
            "asks_less": [str(asked) for asked in self.less],
        }


def asked_by(package: Package) -> tuple[Asked, ...]:
    """Everything that the manifest of a package asks for, in order."""
    return tuple(sorted({asked for spec in package.processes for asked in _of_process(spec)}))


def changes(before: Package | None, after: Package, state_bytes: int) -> Changes:
    """How a version differs from the installed one.

    Args:
        before: the installed version, or None.
        after: the version to be installed.
        state_bytes: the state that every process may store.
    """
    old, new = () if before is None else asked_by(before), asked_by(after)
    if before is None:  # a new package has no data that it could expose
        new = tuple(asked for asked in new if asked.kind == "request")
    return Changes(_beyond(new, old, after.id, state_bytes), _beyond(old, new, after.id, state_bytes))


def as_json(asked: Asked) -> dict[str, Any]:
    """One item as JSON."""
    return {"process": asked.process, "kind": asked.kind, "other": asked.other, "params": asked.params}


def _of_process(spec: ProcessSpec) -> Iterable[Asked]:
    name = str(spec.id)
    for issuer, params in spec.requests:
        yield Asked(name, "request", str(canonical(issuer)), params)
    for holder, params in spec.grants:
        yield Asked(name, "grant", str(canonical(holder)), params)
    if spec.public:
        yield Asked(name, "public")


def _beyond(
    asked: Iterable[Asked], known: tuple[Asked, ...], package_id: str, state_bytes: int
) -> tuple[Asked, ...]:
    return tuple(
        one for one in asked if one not in known and not _is_free(one, known, package_id, state_bytes)
    )


def _is_free(asked: Asked, known: tuple[Asked, ...], package_id: str, state_bytes: int) -> bool:
    """Whether every process or every process of the package has it, or the same process has as much of it."""
    if asked.kind == "public":
        return False
    if asked.params == MESSAGING and ProcessId.parse(asked.other).package_id == package_id:
        return True
    if asked.kind == "grant":
        return False
    if asked.other == str(HTTP_SERVER):
        return asked.params == MESSAGING
    size = _bytes(asked)
    had = [_bytes(one) or 0 for one in known if one.kind == "request" and one.process == asked.process]
    return size is not None and size <= max((state_bytes, *had))


def _bytes(asked: Asked) -> int | None:
    """The bytes of state that a request is for, or None."""
    if asked.other != str(STATE):
        return None
    value = json.loads(asked.params)
    size = value.get("bytes") if isinstance(value, dict) and len(value) == 1 else None
    return size if type(size) is int else None

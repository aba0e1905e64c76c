"""Packages as JSON: what is installed and running of each, and what it may do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guesthouse.package.consent import Asked, as_json, asked_by
from guesthouse.package.spec import Package
from guesthouse.package.store.installed import Installation


def described(
    package_id: str, item: Installation | None, running: Package | None, unpacked: Path
) -> dict[str, Any]:
    """A package as JSON: its installed and running versions."""
    current, previous = (None, None) if item is None else (item.current, item.previous)
    return {
        "package": package_id,
        "version": None if current is None else current.version,
        "hash": None if current is None else current.hash,
        "previous_version": None if previous is None else previous.version,
        "previous_hash": None if previous is None else previous.hash,
        "running_version": None if running is None else running.version,
        "running_hash": None if running is None else content_hash(running, unpacked),
        "processes": [] if running is None else [str(spec.id) for spec in running.processes],
    }


def rights_of(package: Package | None, *, installed: bool) -> dict[str, Any]:
    """What a package's manifest asks for, and who granted it, as JSON; null if it cannot be read."""
    if package is None:
        return {"asks": None}
    operator = "the operator, by installing it" if installed else "the operator, by running it"
    asks = [_granted(asked, operator) for asked in asked_by(package)]
    return {"asks": asks}


def _granted(asked: Asked, operator: str) -> dict[str, Any]:
    by = asked.process if asked.kind == "grant" else operator
    return {**as_json(asked), "text": str(asked), "granted_by": by}


def content_hash(package: Package, unpacked: Path) -> str | None:
    """The hash of a package's content; None for a folder or component that may change in place."""
    root = unpacked.resolve()
    places = (package.source, *package.processes[0].component.parents)
    return next((place.name for place in places if place.resolve().parent == root), None)

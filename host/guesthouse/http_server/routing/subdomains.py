"""The label of a package: the first of the host on which it is served, and nothing else. Pure.

Pages that share an origin can read each other, so a page that must be safe from other processes needs an
origin of its own: `package-publisher` as the first label of the host. Names that make no label of a host name (too
long, a `-` at an end) make one with a hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from guesthouse.core.address import ProcessId
from guesthouse.core.ports import RouterPort

MAX_LABEL: Final = 63
"""Characters in one label of a host name (RFC 1035, section 2.3.4)."""

_OTHER: Final = re.compile(r"[^a-z0-9]")
_HASH: Final = 10


def subdomain_of(process: ProcessId) -> str:
    """The first label of the host that stands for the package of a process."""
    return label_of(process.package_id)


@lru_cache(maxsize=4096)
def label_of(package_id: str) -> str:
    """The first label of the host that stands for a package, `package:publisher`."""
    label = _OTHER.sub("-", package_id.lower())
    if is_label(label):
        return label
    short = re.sub("-+", "-", label)[: MAX_LABEL - _HASH - 1].strip("-")
    return f"{short}-{hashlib.sha256(package_id.encode()).hexdigest()[:_HASH]}"


def is_label(text: str) -> bool:
    """Whether it can stand in a host name, and stands for itself (RFC 5891, section 4.2.3.1)."""
    return (
        len(text) <= MAX_LABEL and not text.startswith("-") and not text.endswith("-") and text[2:4] != "--"
    )


def with_label_of(package_id: str, others: Iterable[str]) -> str | None:
    """The first of some other packages whose label is that of a package; None when it alone has it."""
    label = label_of(package_id)
    return next((other for other in others if other != package_id and label_of(other) == label), None)


def processes_on(router: RouterPort, label: str) -> tuple[ProcessId, ...]:
    """The processes whose sub-domain that label is; none for a host that is no sub-domain."""
    return tuple(process.id for process in router.processes() if subdomain_of(process.id) == label)

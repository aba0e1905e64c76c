"""Labels of packages: the first label of the host that serves only that package. Pure.

Pages of one origin can read each other, so isolated pages need an origin of their own: `package-publisher` as the
host's first label. Names that are not valid as a label (too long, `-` at an end) get one with a hash.
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
"""Maximum characters of a label (RFC 1035, section 2.3.4)."""

_OTHER: Final = re.compile(r"[^a-z0-9]")
_HASH: Final = 10


def subdomain_of(process: ProcessId) -> str:
    """Label of a process's package."""
    return label_of(process.package_id)


@lru_cache(maxsize=4096)
def label_of(package_id: str) -> str:
    """Label of a package, `package:publisher`."""
    label = _OTHER.sub("-", package_id.lower())
    if is_label(label):
        return label
    short = re.sub("-+", "-", label)[: MAX_LABEL - _HASH - 1].strip("-")
    return f"{short}-{hashlib.sha256(package_id.encode()).hexdigest()[:_HASH]}"


def is_label(text: str) -> bool:
    """Whether it is valid in a host name and not reserved for IDNA (RFC 5891, section 4.2.3.1)."""
    return (
        len(text) <= MAX_LABEL and not text.startswith("-") and not text.endswith("-") and text[2:4] != "--"
    )


def same_label(package_ids: Iterable[str], others: Iterable[str]) -> tuple[str, str] | None:
    """The first of some packages that has the same label as another one of `others`, and the first such; None if
    there is none.
    """
    of_labels: dict[str, dict[str, None]] = {}
    for other in others:
        of_labels.setdefault(label_of(other), {})[other] = None
    for package_id in package_ids:
        for other in of_labels.get(label_of(package_id), ()):
            if other != package_id:
                return package_id, other
    return None


def processes_on(router: RouterPort, label: str) -> tuple[ProcessId, ...]:
    """Processes of the packages with a label."""
    return tuple(process.id for process in router.processes() if subdomain_of(process.id) == label)

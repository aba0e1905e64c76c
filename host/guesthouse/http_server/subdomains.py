"""The sub-domain of a package, on which what it binds as secure is served, and nothing else. Pure.

Pages that share an origin can read each other, so a page that must be safe from other processes needs an
origin of its own: `package-publisher` as the first label of the host.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from guesthouse.address import ProcessId
from guesthouse.ports import RouterPort

MAX_LABEL: Final = 63
"""Characters in one label of a host name (RFC 1035, section 2.3.4)."""

_OTHER: Final = re.compile(r"[^a-z0-9]")


@lru_cache(maxsize=4096)
def subdomain_of(process: ProcessId) -> str:
    """The first label of the host on which a process serves what it bound as secure."""
    return _OTHER.sub("-", f"{process.package_name}-{process.publisher_node}".lower())


def is_label(text: str) -> bool:
    """Whether the sub-domain can stand in a host name."""
    return len(text) <= MAX_LABEL and not text.startswith("-") and not text.endswith("-")


def first_label(hosts: Sequence[str]) -> str:
    """The first label of the host that a request is for; empty when it names no host, or several."""
    if len(hosts) != 1:
        return ""
    label, dot, _ = hosts[0].lower().partition(".")
    return label if dot else ""


def processes_on(router: RouterPort, label: str) -> tuple[ProcessId, ...]:
    """The processes whose sub-domain that label is; none for a host that is no sub-domain."""
    if "-" not in label:
        return ()
    return tuple(process.id for process in router.processes() if subdomain_of(process.id) == label)

"""What a worker gives up before its first guest: a guest that breaks out of wasm finds nothing to take.

It is left with computing, its link, and reading compiled components. No file, socket, program, OS process,
signal to another or kernel interface beyond that can be had, and all of its threads are held to it.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.linux import landlock, privileges, seccomp

_OPEN_FILES: Final = 16_384
"""wasmtime keeps each core module that it has mapped open: a C guest has three, a Python guest fourteen."""
_FIRST_TO_GO: Final = 500
"""When memory runs out on the machine, workers go before the node: it starts their processes again."""


class NotConfined(GuesthouseError):
    """The kernel lacks what a worker is to be confined with, and the node is told to require it."""


def prepare(link_fd: int) -> Mapping[int, privileges.Identity]:
    """What can be given up before the node has said anything; returns the descriptors that stay, and what each is."""
    privileges.end_with_parent()
    privileges.give_up_privileges()
    kept = privileges.close_inherited(link_fd)
    privileges.volunteer_for_oom(_FIRST_TO_GO)
    return kept


def apply(configuration: Mapping[str, Any], start_threads: Callable[[], None]) -> None:
    """Confine this worker as the node says; without `components`, not at all.

    Args:
        configuration: what the node says.
        start_threads: called in between, see `confine`.

    Raises:
        NotConfined: `required` is set, and something is lacking.
    """
    components = configuration.get("components")
    if components is None:
        start_threads()
        return
    if not configuration.get("inspectable", False):
        privileges.hide_from_others()
    lacks = confine(Path(components), configuration["memory_bytes"], start_threads)
    if lacks and configuration["required"]:
        raise NotConfined(
            f"{'; '.join(lacks)}. Use a kernel that has it, or set worker_confinement to best-effort"
        )
    for lack in lacks:
        print(f"is not fully confined: {lack}", file=sys.stderr, flush=True)


def confine(
    readable: Path, memory_bytes: int, start_threads: Callable[[], None] = lambda: None
) -> tuple[str, ...]:
    """Give up everything but reading files below `readable`. Cannot be undone.

    Args:
        readable: a folder.
        memory_bytes: memory that may be written to, used or not. Addresses alone are not limited, for wasmtime
            reserves more than it ever uses.
        start_threads: starts threads with calls that are denied afterwards. They are confined like all others.

    Returns:
        What this kernel has no means for, a line each; empty when everything is in force.
    """
    privileges.give_up_privileges()
    for limit, value in (
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_DATA, memory_bytes),
    ):
        privileges.lower(limit, value)
    lacks = landlock.restrict(readable)
    start_threads()  # they inherit what is in force by now; the filter below is set for all threads
    return (*lacks, *seccomp.restrict())

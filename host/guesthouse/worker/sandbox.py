"""What a worker gives up before its first guest, so that a guest that escapes from wasm gains nothing.

It can then only compute, use its link, and read compiled components: no other file, no socket, program, OS process
or signal to one, on any of its threads.
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
"""wasmtime keeps each mapped core module's file open: a C guest has three, a Python guest fourteen."""
_FIRST_TO_GO: Final = 500
"""When the machine runs out of memory, workers are killed before the node, which restarts their processes."""


class NotConfined(GuesthouseError):
    """The kernel cannot confine a worker fully, and the settings require it."""


def prepare(link_fd: int) -> Mapping[int, privileges.Identity]:
    """Give up what can be given up before the node's configuration; returns the descriptors kept, with identities."""
    privileges.end_with_parent()
    privileges.give_up_privileges()
    kept = privileges.close_inherited(link_fd)
    privileges.volunteer_for_oom(_FIRST_TO_GO)
    return kept


def apply(configuration: Mapping[str, Any], start_threads: Callable[[], None]) -> None:
    """Confine this worker as the node says; without `components`, not at all.

    Args:
        configuration: from the node.
        start_threads: see `confine`.

    Raises:
        NotConfined: `required` is set, and the kernel lacks something.
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
    """Give up everything except reading files below `readable`. Cannot be undone.

    Args:
        readable: a folder.
        memory_bytes: limit on writable memory, used or not. Address space is not limited, because wasmtime
            reserves more than it uses.
        start_threads: starts threads by calls that are denied afterwards. They are confined, too.

    Returns:
        What this kernel cannot restrict, a line each.
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
    start_threads()  # they inherit the restrictions so far; the filter below applies to all threads
    return (*lacks, *seccomp.restrict())

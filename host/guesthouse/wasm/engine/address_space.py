"""Address space of a worker: each guest reserves 4 GiB, most of which is never used."""

from __future__ import annotations

import errno
import resource
from typing import Final

_OF_WASMTIME: Final = f"(os error {errno.ENOMEM})"
_OF_THE_LOADER: Final = ("failed to map segment", "cannot allocate memory")


def lacks_addresses(error: BaseException | str) -> bool:
    """Whether an exception or a message of wasmtime is about a lack of addresses or memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = str(error)
    return _OF_WASMTIME in text or any(words in text.lower() for words in _OF_THE_LOADER)


def no_addresses() -> str:
    """The error of a worker without enough address space: the reason and the remedy, in one line."""
    least = "a worker needs 5 GiB of address space and 4 GiB for each large guest, mostly unused"
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        return f"its address space is limited to {limit} bytes, and {least}: raise that limit (`ulimit -v`, LimitAS=)"
    return (
        f"this machine has no memory for it, and {least}: check vm.overcommit_memory and worker_memory_bytes"
    )


def no_addresses_for_guest() -> str:
    """The same for one guest."""
    return f"its worker has no room for it: {no_addresses()}"

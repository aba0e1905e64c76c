"""Whether a worker has enough addresses: a guest takes 4 GiB of them, of memory that is used as it is needed."""

from __future__ import annotations

import errno
import resource
from typing import Final

_OF_WASMTIME: Final = f"(os error {errno.ENOMEM})"
_OF_THE_LOADER: Final = ("failed to map segment", "cannot allocate memory")


def lacks_addresses(error: BaseException | str) -> bool:
    """Whether it is for want of addresses, or of memory, that something failed: an exception, or wasmtime's words."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = str(error)
    return _OF_WASMTIME in text or any(words in text.lower() for words in _OF_THE_LOADER)


def no_addresses() -> str:
    """What a worker says that cannot begin for it: the reason and what to do, in one line."""
    least = "a worker takes 5 GiB of addresses and 4 GiB more for each large guest, most of them never used"
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        return f"its address space is limited to {limit} bytes, and {least}: raise that limit (`ulimit -v`, LimitAS=)"
    return f"this machine gives it no memory, and {least}: see vm.overcommit_memory and worker_memory_bytes"


def no_addresses_for_guest() -> str:
    """The same of one guest, which its worker has no room for."""
    return f"its worker cannot hold it: {no_addresses()}"

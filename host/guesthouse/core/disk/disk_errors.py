"""What is said of a file that could not be written. Pure."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: OSError) -> bool:
    """Whether it is that of a full disk."""
    return error.errno in _FULL


def remedy(error: OSError, otherwise: str = "make it writable for this user") -> str:
    """What to do about an error of a disk: `otherwise`, unless the disk is full."""
    return "see that the disk has room" if is_full(error) else otherwise


def unwritten(path: Path, error: OSError, otherwise: str = "make it writable for this user") -> str:
    """The file, the reason and the remedy, in one line."""
    return f"{path}: {error.strerror or error}: {remedy(error, otherwise)}"

"""How many examples the longest tests of properties try; with `GUESTHOUSE_EXAMPLES=10`, ten times as many."""

from __future__ import annotations

import os
from typing import Final

TIMES: Final = int(os.environ.get("GUESTHOUSE_EXAMPLES", "1"))


def examples(count: int) -> int:
    """So many in `make test`."""
    return count * TIMES

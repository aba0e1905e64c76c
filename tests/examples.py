"""How many examples tests of properties try. `GUESTHOUSE_EXAMPLES=10`: ten times as many; `make check`: a quarter."""

from __future__ import annotations

import os
from typing import Final

TIMES: Final = float(os.environ.get("GUESTHOUSE_EXAMPLES", "1"))


def examples(count: int) -> int:
    """So many in `make test`."""
    return max(1, round(count * TIMES))

"""How many examples tests of properties try, and rounds tests of chance play.

`GUESTHOUSE_EXAMPLES=10`: ten times as many; `make check` and `make test`: a quarter; `make test ALL=1`: as many as are
written in the tests.
"""

from __future__ import annotations

import os
from typing import Final

TIMES: Final = float(os.environ.get("GUESTHOUSE_EXAMPLES", "1"))


def examples(count: int) -> int:
    """So many in `make test ALL=1`."""
    return max(1, round(count * TIMES))

"""`python -m guesthouse.controlled_node.controlled_worker`: a worker whose guests see the clock of a node for tests.

It is as confined as every worker.
"""

# ruff: noqa: E402 - what comes first makes the rest quicker to load
from __future__ import annotations

import sys

# As in `worker/__main__.py`.
sys.modules["typing_extensions"] = None  # type: ignore[assignment] # so an import of it fails

import os
from typing import TYPE_CHECKING

from guesthouse.worker.__main__ import main

if TYPE_CHECKING:
    from guesthouse.worker.loop import WorkerLoop


def controlled_loop() -> type[WorkerLoop]:
    """Load the class of its loop."""
    from guesthouse.controlled_node.controlled_loop import ControlledLoop

    return ControlledLoop


if __name__ == "__main__":
    sys.stdout.flush()
    code = main(sys.argv[1:], controlled_loop)
    sys.stderr.flush()
    os._exit(code)

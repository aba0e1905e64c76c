"""`guesthouse`, with liars for workers. They tell what the file says that LIES_FILE names, once for each SIGUSR1."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from guesthouse.cli.main import main
from guesthouse.kernel.workers.worker_process import worker_command
from guesthouse.node import prespawn


def liars(confinement: Mapping[str, object] | None = None) -> list[str]:
    """See `guesthouse.kernel.workers.worker_process.worker_command`."""
    liar = str(Path(__file__).with_name("liar.py"))
    return [sys.executable, "-P", liar, os.environ["LIES_FILE"], *worker_command(confinement)]


if __name__ == "__main__":
    prespawn.worker_command = liars  # type: ignore[attr-defined] # its own import of it
    main()

"""`guesthouse`, with liars for workers. They tell what the file says that LIES_FILE names, once for each SIGUSR1."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from guesthouse import head_start
from guesthouse.cli.main import main
from guesthouse.kernel.worker_subprocess import worker_command


def liars(confinement: Mapping[str, object] | None = None) -> list[str]:
    """See `guesthouse.kernel.worker_subprocess.worker_command`."""
    liar = str(Path(__file__).with_name("liar.py"))
    return [sys.executable, "-P", liar, os.environ["LIES_FILE"], *worker_command(confinement)]


if __name__ == "__main__":
    head_start.worker_command = liars  # type: ignore[attr-defined] # its own import of it
    main()

"""Shows on a terminal that something is under way which takes long."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show a text and how long it has taken so far, on standard error if that is a terminal, until the block ends."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in (None, "dumb", "unknown"):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from guesthouse.core.printable import printable

    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(Text(printable(text)).plain, total=None)
        yield

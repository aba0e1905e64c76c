"""What a start costs, told by what is loaded: modules that a command, a node or a worker can start without."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

HOST: Final = Path(__file__).parents[2] / "host/guesthouse"


def test_nothing_is_a_dataclass() -> None:
    """Each takes over a millisecond to make, at every start: a struct of msgspec takes a thirtieth of that."""
    makers = [
        str(path.relative_to(HOST))
        for path in HOST.rglob("*.py")
        if re.search(r"^\s*(from|import) dataclasses\b", path.read_text(), re.MULTILINE)
    ]
    assert makers == []

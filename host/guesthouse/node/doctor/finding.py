"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


class Finding(Struct, frozen=True):
    """One thing that was looked at. `remedy` is empty when there is nothing to do."""

    check: str
    status: str
    text: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """As `guesthouse doctor --json` shows it."""
        return {"check": self.check, "status": self.status, "text": self.text, "remedy": self.remedy}


Check = Callable[[], Iterable[Finding]]


def findings(name: str, check: Check) -> list[Finding]:
    """What a check finds. One that cannot be made is a warning: it must not hide what others find."""
    try:
        return list(check())
    except Exception as error:
        text = f"cannot be looked at: {type(error).__name__}: {error}"
        return [Finding(name, WARN, text, "see that this user may read what the node reads")]


def worst(found: Iterable[Finding]) -> str:
    """The worst status."""
    statuses: Any = {finding.status for finding in found}
    return next((status for status in (FAIL, WARN) if status in statuses), OK)

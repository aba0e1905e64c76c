"""What becomes of a test that hangs: it fails as that test, and the others run.

pytest-timeout raises in it by a signal. Where none is handled, in code that is not Python, the process ends with its
stack on standard error, and pytest-xdist starts another (`scheduling.py`).
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator
from typing import Any, Final

import pytest

GRACE: Final = "timeout_grace"


class Watch:
    """The plugin.

    Args:
        seconds: for a test to end that was told that it takes too long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stderr = os.dup(2)  # that of a test is captured

    @pytest.hookimpl(wrapper=True)  # of pytest-timeout, which has no types
    def pytest_timeout_set_timer(self, settings: Any) -> Generator[None, object, object]:
        faulthandler.dump_traceback_later(settings.timeout + self._seconds, exit=True, file=self._stderr)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def pytest_enter_pdb(self) -> None:
        faulthandler.cancel_dump_traceback_later()

    def pytest_unconfigure(self) -> None:
        os.close(self._stderr)

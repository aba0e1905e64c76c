"""The pytest plugin `guesthouse`: a test that fails shows the log of each node that it ran.

Loaded by its entry point, also where no test uses it, so it imports nothing of the kit.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import pytest

_KIT = "guesthouse.testing.node_under_test"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add the logs of running nodes to the report of a test that failed."""
    report = yield
    kit = sys.modules.get(_KIT)
    if report.failed and kit is not None:
        for node in kit.running:
            report.sections.append((f"Log of the node with {', '.join(node.processes)}", node.output()))
    return report

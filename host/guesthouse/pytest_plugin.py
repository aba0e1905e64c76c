"""The pytest plugin `guesthouse`: a test that fails shows the log of each node that it ran, and tests of processes in
Python find the guest SDK with its fake host, which comes with Guesthouse.

Loaded by its entry point, also where no test uses it, so it imports nothing of the kit.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import pytest

from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import BuildError

_KIT = "guesthouse.testing.node_under_test"


def pytest_configure() -> None:
    """Let tests import `guesthouse_sdk`; one that was installed by itself goes first."""
    if find_spec("guesthouse_sdk") is None:
        with suppress(BuildError):  # an installation without it: what imports it says so
            sys.path.append(str(sdk_folder("python")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add the logs of running nodes to the report of a test that failed."""
    report = yield
    kit = sys.modules.get(_KIT)
    if report.failed and kit is not None:
        for node in kit.running:
            report.sections.append((f"Log of the node with {', '.join(node.processes)}", node.output()))
    return report

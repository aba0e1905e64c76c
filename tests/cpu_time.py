"""What tests cost: `pytest --cpu` ends with the CPU seconds and the seconds of the dearest tests and files.

CPU time is that of the test process and of the subprocesses that it has waited for, with theirs. Unlike durations it
hardly depends on what else the machine does. What a fixture of a module takes counts for the tests that it is made
and ended in.
"""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Generator
from typing import Final

import pytest
from tests.forked import used_seconds

_SHOWN: Final = 40
_COST: Final = "cost"
"""The attribute of a report that has seconds of CPU, and seconds."""


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used) + used_seconds()


class CpuTimes:
    """Notes on each report what its phase took, and adds that up by file and test: of pytest-xdist's processes, too."""

    def __init__(self) -> None:
        self._cpu = self._time = 0.0
        self._tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])

    def pytest_collection_finish(self) -> None:
        self._cpu, self._time = _cpu(), time.monotonic()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        cpu, now = _cpu(), time.monotonic()
        vars(report)[_COST] = (cpu - self._cpu, now - self._time)  # pytest-xdist passes it on
        self._cpu, self._time = cpu, now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        cpu, seconds = vars(report)[_COST]
        test = self._tests[report.nodeid]
        test[0] += cpu
        test[1] += seconds
        test[2] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
        for name, took in self._tests.items():
            file = name.partition("::")[0]
            files[file] = [sum(pair) for pair in zip(files[file], took, strict=True)]
        terminalreporter.section("CPU seconds, seconds and tests")
        for each in (self._tests, files):
            dearest = sorted(each.items(), key=lambda item: item[1], reverse=True)[:_SHOWN]
            for name, (cpu, seconds, tests) in dearest:
                terminalreporter.write_line(f"{cpu:8.1f} {seconds:8.1f} {tests:6.0f} {name}")
        cpu, seconds, tests = (sum(column) for column in zip(*files.values(), strict=True))
        terminalreporter.write_line(f"{cpu:8.1f} {seconds:8.1f} {tests:6.0f} of all {len(files)} files")

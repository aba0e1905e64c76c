"""A real node, with the echo process behind it, passes the suite."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.patience import PATIENCE

from .case import Case, Grade
from .groups import TITLES, all_cases
from .node import build_echo, echo_node
from .opening import Target
from .report import describe
from .runner import Result, run_cases


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """The whole suite's results, from one run."""
    home = tmp_path_factory.mktemp("node") / "home"
    home.mkdir(mode=0o700)
    build_echo()
    return asyncio.run(_results(home))


async def _results(home: Path) -> list[Result]:
    async with echo_node(home) as url:
        target = Target.of(url)
        cases = all_cases(target)
        await _until_bound(cases[0], target)
        return await run_cases(cases, target)


async def _until_bound(case: Case, target: Target) -> None:
    """Ask until the process has bound its path: before, that answers 404."""
    async with asyncio.timeout(PATIENCE):
        (result,) = await run_cases([case], target)
        while result.verdict.grade is not Grade.OK:
            (result,) = await run_cases([case], target)


@pytest.mark.parametrize("group", TITLES, ids=lambda group: TITLES[group].lower().replace(" ", "-"))
def test_every_case_of_the_group_is_in_order(results: list[Result], group: int) -> None:
    of_group = [result for result in results if result.case.group == group]
    wrong = [result for result in of_group if not _is_in_order(result)]
    assert of_group
    assert not wrong, "\n".join(describe(result).plain for result in wrong)


def _is_in_order(result: Result) -> bool:
    return result.verdict.grade in (Grade.OK, Grade.DECLINED)


def test_only_windows_of_eight_bits_are_declined(results: list[Result]) -> None:
    declined = [result.case for result in results if result.verdict.grade is Grade.DECLINED]
    assert {case.offer for case in declined if "server_max_window_bits=8" not in (case.offer or "")} == set()

"""When the run of all tests passes though a test failed at first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from tests import whole
from tests.conftest import AGAIN, DISTURBED, FAILED

ALL: Final = "beside"


class Runs:
    """Stands for pytest: what each run exits with, and what they leave in the cache."""

    def __init__(
        self,
        cache: Path,
        codes: Sequence[int],
        failed: Sequence[str],
        uncounted: int = 0,
        disturbed: Sequence[str] = (),
    ) -> None:
        self.made: list[str | None] = []
        self._cache, self._codes, self._failed, self._uncounted = cache, codes, failed, uncounted
        self._disturbed = disturbed

    def __call__(self, *arguments: str, tests: str | None = None) -> int:
        self.made.append(tests)
        names = [*self._failed, *(f"module{number}" for number in range(self._uncounted))]
        listed, last = self._cache / "d" / FAILED, self._cache / whole.LAST
        again = self._cache / "d" / DISTURBED
        for folder in (listed, again):
            folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(self._disturbed):
            (again / str(number)).write_text(name)
        last.parent.mkdir(parents=True, exist_ok=True)
        last.write_text(json.dumps(dict.fromkeys(names, True)))
        for number, name in enumerate(self._failed):
            (listed / str(number)).write_text(name)
        return self._codes[len(self.made) - 1]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with failures of another run."""
    folder = tmp_path / "cache"
    (folder / "d" / FAILED).mkdir(parents=True)
    (folder / "d" / FAILED / "old").write_text("tests/old.py::test_old")
    monkeypatch.setattr(whole, "CACHE", folder)
    monkeypatch.delenv("STRICT", raising=False)
    return folder


def outcome(monkeypatch: pytest.MonkeyPatch, runs: Runs) -> tuple[int, list[str | None]]:
    monkeypatch.setattr(whole, "run", runs)
    return whole.main("3"), runs.made


@pytest.fixture(autouse=True)
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as it takes to run what measures beside the rest."""
    monkeypatch.setattr(whole, "CPUS", 4)


@pytest.mark.parametrize(
    ("codes", "failed", "passes", "again"),
    [
        ((0, 0), (), True, 0),
        ((0, 5), (), True, 0),  # nothing is `alone` in what was selected
        ((5, 0), (), True, 0),
        ((5, 5), (), False, 0),
        ((1, 0, 0, 0), ("a",), True, 2),
        ((0, 1, 0, 0), ("a", "b"), True, 2),
        ((1, 1, 0, 1), ("a", "b"), False, 2),
        ((1, 0), tuple("abcdef"), False, 0),
        ((3, 0), ("a",), False, 0),
        ((2, 1), ("a",), False, 0),
    ],
)
def test_with_few_cpus_what_measures_runs_after_the_rest(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    codes: Sequence[int],
    failed: Sequence[str],
    passes: bool,
    again: int,
) -> None:
    monkeypatch.setattr(whole, "CPUS", 2)
    code, made = outcome(monkeypatch, Runs(cache, codes, failed))
    assert (code == 0) == passes
    assert made == [None, None, *[AGAIN] * again]


@pytest.mark.parametrize(
    ("codes", "failed", "passes", "again"),
    [
        ((0,), (), True, 0),
        ((5,), (), False, 0),
        ((1, 0, 0), ("a",), True, 2),
        ((1, 0, 1), ("a", "b"), False, 2),
        ((1, 1), ("a",), False, 1),
        ((1, 5), ("a",), False, 1),  # it was not found again
        ((1,), tuple("abcdef"), False, 0),
        ((1,), (), False, 0),
        ((3,), ("a",), False, 0),
        ((2,), ("a",), False, 0),
    ],
)
def test_few_failures_that_pass_twice_by_themselves_pass(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: Sequence[int],
    failed: Sequence[str],
    passes: bool,
    again: int,
) -> None:
    code, made = outcome(monkeypatch, Runs(cache, codes, failed))
    assert (code == 0) == passes
    assert made == [ALL, *[AGAIN] * again]
    assert ("unreliable" in capsys.readouterr().out) == (passes and bool(failed))


def test_what_is_no_test_that_failed_is_not_run_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that cannot be loaded, or a process that died."""
    assert outcome(monkeypatch, Runs(cache, (1,), ("a",), uncounted=1)) == (1, [ALL])


def test_a_strict_run_runs_nothing_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRICT", "1")
    assert outcome(monkeypatch, Runs(cache, (1,), ("a",))) == (1, [ALL])


@pytest.mark.parametrize(
    ("codes", "failed", "code", "again"),
    [
        ((0, 0), (), 0, 0),
        ((0, 1, 0, 0), ("a",), 0, 2),
        ((0, 1, 1), ("a",), 1, 1),
        ((1, 0, 0, 0), ("b",), 0, 2),
        ((0, 5), (), 1, 0),  # it was not found again
    ],
)
def test_what_was_disturbed_is_measured_alone(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    codes: Sequence[int],
    failed: Sequence[str],
    code: int,
    again: int,
) -> None:
    runs = Runs(cache, codes, failed, disturbed=["a"])
    assert outcome(monkeypatch, runs) == (code, [ALL, "disturbed", *[AGAIN] * again])

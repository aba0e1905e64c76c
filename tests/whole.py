"""All tests: `python -m tests.whole JOBS [PYTEST_ARG…]`, which is `make test` without lint.

JOBS run side by side, and one of those marked `alone` beside them; of these, those that were disturbed run again when
all is over. When a few failed, they run twice more, by themselves: those that pass both times are unreliable, which is
a fault of the test or a race in the host, and are listed as such at the end; anything else fails the run. With STRICT=1
whatever fails first fails the run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tests.conftest import AGAIN, DISTURBED, FAILED, ids_in

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = ROOT / ".pytest_cache"
LAST: Final = "v/cache/lastfailed"
RUNS_AGAIN: Final = 2
MOST_AGAIN: Final = 5
"""More than that is no accident."""
_PASSED, _FAILED, _NONE = 0, 1, 5
"""Exit codes of pytest."""


def run(*arguments: str, tests: str | None = None) -> int:
    """Run pytest and return its exit code."""
    environment = {**os.environ, "TESTS": tests} if tests else None
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment, check=False
    ).returncode


def failures() -> tuple[str, ...] | None:
    """The ids of the tests that failed; None when something else did, such as a module or a process of the run."""
    last = CACHE / LAST
    counted = json.loads(last.read_text()) if last.exists() else {}
    ids = ids_in(CACHE / "d" / FAILED)
    return tuple(sorted(ids)) if len(ids) == len(counted) else None


def passes_again(ids: Sequence[str], more: Sequence[str]) -> bool:
    """Whether those that failed pass each further time."""
    print(f"== {len(ids)} failed: again, by themselves, {RUNS_AGAIN} times", flush=True)
    return all(run(*more, tests=AGAIN) == _PASSED for _ in range(RUNS_AGAIN))


def main(jobs: str, *more: str) -> int:
    """Run everything and return the exit code."""
    shutil.rmtree(CACHE / "d" / FAILED, ignore_errors=True)
    (CACHE / LAST).unlink(missing_ok=True)
    processes = str(int(jobs) + 1)
    code = run("-n", processes, "--dist", "loadgroup", "--durations=25", *more, tests="beside")
    if code == _NONE:
        return _NONE
    codes = {code}
    if disturbed := ids_in(CACHE / "d" / DISTURBED):
        print(f"== {len(disturbed)} that measure were disturbed: again, alone", flush=True)
        codes.add(run("--durations=25", *more, tests="disturbed"))
    if codes == {_PASSED}:
        return _PASSED
    ids = failures()
    if not codes <= {_PASSED, _FAILED} or not ids or len(ids) > MOST_AGAIN or os.environ.get("STRICT") == "1":
        return _FAILED
    if not passes_again(ids, more):
        return _FAILED
    print("== passed, but these tests are unreliable: each failed once and then passed", *ids, sep="\n   ")
    return _PASSED


def _stop(number: int, _: FrameType | None) -> None:
    """End pytest, too, rather than leave it running."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main(*sys.argv[1:]))

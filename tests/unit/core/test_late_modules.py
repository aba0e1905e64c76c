from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from types import ModuleType
from typing import Any

import pytest

from guesthouse.core.late_modules import PLATFORM, put_off

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module of a package `late`, which is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "late").mkdir()
    for name in ("late", "late.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]

    def write(name: str, content: str) -> None:
        (tmp_path / "late" / name).write_text(content)

    return write


def test_a_module_is_executed_when_something_of_it_is_used(write: Write) -> None:
    write("__init__.py", "import sys\nsys.late_executed = True\nVALUE = 7\n")
    put_off("late")
    late: Any = importlib.import_module("late")
    assert not hasattr(sys, "late_executed")
    try:
        assert late.VALUE == 7
        assert hasattr(sys, "late_executed")
    finally:
        del sys.late_executed  # type: ignore[attr-defined] # the module made it
    with pytest.raises(AttributeError, match="NOTHING"):
        _ = late.NOTHING


def test_what_is_known_of_it_does_not_have_it_executed(write: Write) -> None:
    write("__init__.py", "VALUE = 7\nOTHER = 8\n")
    put_off("late", VALUE=6)
    late: Any = importlib.import_module("late")
    assert late.VALUE == 6
    assert late.OTHER == 8
    assert late.VALUE == 7


def test_what_is_known_of_platform_is_as_it_says() -> None:
    assert {name: getattr(platform, name)() for name in PLATFORM} == {
        name: told() for name, told in PLATFORM.items()
    }


def test_a_part_of_a_package_is_imported_without_the_package(write: Write) -> None:
    write("__init__.py", "raise RuntimeError('executed')")
    write("inner.py", "VALUE = 8")
    put_off("late")
    assert importlib.import_module("late.inner").VALUE == 8


def test_what_is_there_already_stays(write: Write) -> None:
    write("__init__.py", "VALUE = 9")
    late = importlib.import_module("late")
    put_off("late")
    assert sys.modules["late"] is late


def test_what_is_not_there_is_missed_by_whoever_imports_it() -> None:
    put_off("no_such_module_anywhere")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_anywhere")


def test_threads_that_use_it_at_once_all_have_it(write: Write) -> None:
    write("__init__.py", "import time\ntime.sleep(0.01)\nVALUE = 10\n")
    put_off("late")
    late: Any = importlib.import_module("late")
    together, found = Barrier(4), []

    def use() -> None:
        together.wait()
        found.append(late.VALUE)

    threads = [Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == 4 * [10]

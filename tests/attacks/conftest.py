"""Attacks on a real node, each with its neighbours measured. `make attacks` runs them longer and prints a table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from rich.console import Console

from ..e2e.conftest import compiled, home_in, nothing_left_over
from .figures import Row
from .harness import LONG, NEIGHBOURS, QUICK, Effort, Packed, Scene, node_with_neighbours
from .table import show

__all__ = ["compiled", "nothing_left_over"]

_ROWS: Final = pytest.StashKey[list[Row]]()
_WIDE: Final = 216


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--attack-table",
        action="store_true",
        help="measure each attack for longer, and print what came of it",
    )


def pytest_terminal_summary(config: pytest.Config) -> None:
    if config.getoption("attack_table", default=False):
        rows: list[Row] = config.stash.setdefault(_ROWS, [])
        show(rows, Console(width=_WIDE))


@pytest.fixture(scope="session")
def rows(pytestconfig: pytest.Config) -> list[Row]:
    """All rows of the table."""
    return pytestconfig.stash.setdefault(_ROWS, [])


@pytest.fixture(scope="session")
def effort(pytestconfig: pytest.Config) -> Effort:
    """How long is measured."""
    return LONG if pytestconfig.getoption("attack_table", default=False) else QUICK


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """The packages of neighbours."""
    return Packed(tmp_path_factory.mktemp("neighbours"))


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """The settings of a module's node; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def samples() -> dict[str, str]:
    """The neighbours of a module's node, and which samples they are."""
    return NEIGHBOURS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """The home of a module's node."""
    return home_in(tmp_path_factory.mktemp("attacks"), compiled)


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    """How a module's node is started, beyond that: see `Daemon`."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    home: Path,
    packed: Packed,
    effort: Effort,
    rows: list[Row],
    settings: dict[str, object],
    samples: dict[str, str],
    options: dict[str, Any],
) -> AsyncIterator[Scene]:
    """A node that the module's attacks share: its tests need `pytest.mark.asyncio(loop_scope="module")`."""
    async with node_with_neighbours(home, packed, effort, rows, settings, samples, options) as scene:
        yield scene

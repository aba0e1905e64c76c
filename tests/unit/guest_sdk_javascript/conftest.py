from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from guesthouse.package.build.javascript import link_sdk, node_of_wheel
from guesthouse.package.build.sdk_files import sdk_folder

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
MODULES: Final = ROOT / "tests/e2e/node_modules"


def run_node(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Node.js of the tests in a folder."""
    node = node_of_wheel()
    assert node is not None
    return subprocess.run(
        [node, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the npm packages of the tests, and this SDK among them."""
    (tmp_path / "node_modules").symlink_to(MODULES)
    link_sdk(tmp_path, sdk_folder("javascript"))
    return tmp_path

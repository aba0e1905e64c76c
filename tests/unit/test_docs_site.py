"""The documentation as a site: it builds, and a link that leads nowhere is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]
PLANTED = "\n[page](planted.md) [source](../planted.py) [heading](cli.md#planted) [good](../wit/types.wit)\n"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_with_no_broken_links_but_those_planted(tmp_path: Path) -> None:
    for each in ROOT.iterdir():
        if each.name not in ("docs", "build"):
            (tmp_path / each.name).symlink_to(each)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs/state.md").open("a") as page:
        page.write(PLANTED)

    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    warnings = re.findall(r"WARNING -  (.*)", built.stderr)
    assert [re.search(r"'([^']*planted[^']*)'", each)[1] for each in warnings] == [  # type: ignore[index]
        "planted.md",
        "planted.py.md",
        "cli.md#planted",
    ], built.stderr
    assert built.returncode == 1

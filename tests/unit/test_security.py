"""`docs/security.md` names tests, settings and fuzz targets that there are."""

from __future__ import annotations

import re
from pathlib import Path

from guesthouse.core.config import Settings, load_settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/security.md").read_text()


def test_every_test_that_a_promise_rests_on_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", TEXT))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    files = set(re.findall(r"`(test_\w+\.py)`", TEXT))
    assert [file for file in sorted(files) if not list((ROOT / "tests").rglob(file))] == []


def test_every_fuzz_target_that_is_named_is_there() -> None:
    targets = {folder.name for folder in (ROOT / "tests/fuzz/seeds").iterdir()}
    named = {
        name
        for group in re.findall(r"`tests/fuzz` \(([^)]*)\)", TEXT)
        for name in re.findall(r"`(\w+)`", group)
    }
    assert len(named) > 8
    assert named <= targets


def test_every_setting_of_the_table_is_one(tmp_path: Path) -> None:
    settings: Settings = load_settings(str(tmp_path), environment={})
    rows = re.findall(r"^\| (`[a-z_.`, ]+) \|", TEXT, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert "isolation" in names
    for name in names:
        section, _, last = name.rpartition(".")
        assert hasattr(getattr(settings, section) if section else settings, last), name


def test_the_pages_link_to_files_that_are_there() -> None:
    for page in (ROOT / "docs/security.md", ROOT / "SECURITY.md", ROOT / "docs/processes.md"):
        for link in re.findall(r"\]\(([\w./-]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"

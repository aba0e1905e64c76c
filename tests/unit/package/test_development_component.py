"""The components that run processes from their sources are kept, and what uses them sees that they are the same."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from guesthouse.package.build import development_component as module
from guesthouse.package.build.development_component import development_component
from guesthouse.package.format.manifest import BuildSpec


def test_the_use_of_a_component_is_no_change_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_build_python", lambda output, report: output.write_bytes(b"component"))
    (tmp_path / "app.py").write_text("")
    build = BuildSpec("python", PurePosixPath("app.py"))
    component = development_component(tmp_path, build, print)
    os.utime(component, ns=(10**18, 10**18))
    assert development_component(tmp_path, build, print) == component
    found = component.stat()
    assert found.st_mtime_ns == 10**18
    assert found.st_atime_ns > 10**18  # by which the longest unused is found

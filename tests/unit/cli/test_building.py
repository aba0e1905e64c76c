"""`guesthouse build` shows what compilers say, and writes what was asked for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path
from secrets import token_hex

import pytest
from tests.patience import PATIENCE

from .test_commands import GUESTHOUSE, environment, guesthouse

SAMPLES = Path(__file__).parents[3] / "sample_processes"
MANIFEST = """
[package]
name = "shown"
publisher = "local.os"
version = "1.0.0"
description = "x"

[[process]]
name = "shown"
wasm = "build/shown.wasm"

[process.build]
language = "{language}"
source = "{source}"
"""


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
built_by = partial(guesthouse, seconds=500)
"""A tool chain on a machine that does much else takes minutes."""


def written(folder: Path, language: str, source: str, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    (folder / "package.toml").write_text(MANIFEST.format(language=language, source=source))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("language", "source", "text", "said"),
    [
        ("c", "src/shown.c", "int broken(void) { return 1 }", "expected ';' after return statement"),
        pytest.param("python", "app.py", "def main(:\n", "SyntaxError", marks=pytest.mark.thorough),
        pytest.param(
            *("rust", "Cargo.toml", "[package", "unclosed table"),
            marks=pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed"),
        ),
    ],
)
def test_what_the_compiler_says_stands_above_the_error(
    tmp_path: Path, language: str, source: str, text: str, said: str
) -> None:
    folder = written(tmp_path / "package", language, source, {source: text})
    built = built_by("build", str(folder))
    assert (built.returncode, built.stdout) == (1, "")
    *above, error = built.stderr.splitlines()
    assert any(said in line for line in above), built.stderr
    assert error.startswith("guesthouse: ")
    assert error.endswith("cannot be built: fix the errors above")


def test_warnings_of_a_build_that_succeeds_are_shown(tmp_path: Path) -> None:
    folder = Path(
        shutil.copytree(SAMPLES / "echo-c", tmp_path / "echo-c", ignore=shutil.ignore_patterns("build"))
    )
    source = folder / "src/echo.c"
    name = f"unused_{token_hex(8)}"  # a compiler that has compiled the very same says nothing again
    source.write_text(source.read_text() + f"\nstatic int\t{name};\n")
    built = built_by("build", str(folder))
    assert built.returncode == 0, built.stderr
    assert f"unused variable '{name}'" in built.stderr
    assert "\\t" not in built.stderr


def test_a_name_that_ends_in_wasm_gets_the_component(tmp_path: Path) -> None:
    folder = Path(
        shutil.copytree(SAMPLES / "echo-c", tmp_path / "echo-c", ignore=shutil.ignore_patterns("build"))
    )
    output = tmp_path / "out" / "echo.wasm"
    built = built_by("build", str(folder), "-o", str(output))
    assert (built.returncode, built.stdout) == (0, f"{output}\n"), built.stderr
    assert output.read_bytes() == (folder / "build/echo-c.wasm").read_bytes()
    own = folder / "build/echo-c.wasm"
    assert built_by("build", str(folder), "-o", str(own)).returncode == 0
    assert own.read_bytes() == output.read_bytes()


def test_one_component_cannot_be_all_of_a_package_of_two(tmp_path: Path) -> None:
    folder = written(tmp_path / "package", "c", "src/shown.c", {})
    with (folder / "package.toml").open("a") as manifest:
        manifest.write('[[process]]\nname = "other"\nwasm = "build/other.wasm"\n')
    refused = built_by("build", str(folder), "-o", str(tmp_path / "x.wasm"))
    assert refused.returncode == 1
    assert "has 2 components: name a .zip" in refused.stderr
    assert not (tmp_path / "x.wasm").exists()


def test_sources_whose_names_are_not_utf_8_are_built(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"echo-\xff")
    shutil.copytree(SAMPLES / "echo-c", folder, ignore=shutil.ignore_patterns("build"))
    (folder / "src" / os.fsdecode(b"n\xff.h")).write_text("\n")
    done = subprocess.run(
        [*GUESTHOUSE, "build", str(folder)], capture_output=True, env=environment(), timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == os.fsencode(folder) + b"\n"
    assert (folder / "build/echo-c.wasm").is_file()


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "package", "c", "src/shown.c", {"src/shown.c": ""})
    (folder / "src/gone.h").symlink_to("nowhere")
    built = built_by("build", str(folder))
    assert built.returncode == 1
    assert "gone.h cannot be used: No such file or directory" in built.stderr
    assert "Traceback" not in built.stderr


def test_a_build_that_is_stopped_stops_its_compiler(tmp_path: Path) -> None:
    """A compiler that would never end: it says its pid, and waits."""
    folder = written(tmp_path / "package", "rust", "crate", {"crate/Cargo.toml": ""})
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cargo").write_text("#!/bin/sh\necho $$ >&2\nexec sleep 600\n")
    (tools / "cargo").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    build = subprocess.Popen(
        [*GUESTHOUSE, "build", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "PATH": path},
    )
    assert build.stderr is not None
    build.stderr.readline()
    compiler = int(build.stderr.readline())
    build.send_signal(signal.SIGTERM)
    build.communicate(timeout=PATIENCE)
    assert build.returncode == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(compiler, 0)

"""The tutorials of `docs/`, done as they stand: their files are written, their commands are run, in their order."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from tests.tutorial_pages import DOCS, Command, File, steps, tabs

from guesthouse.package.build.javascript import SDK_LINK

from .conftest import home_in
from .packages import MODULES, ROOT

GUESTHOUSE = [sys.executable, "-m", "guesthouse"]
BUILD_SECONDS = 300.0
SHOWN_URL = "http://127.0.0.1:8080"
PAGES = [
    ("tutorial-chat.md", "Python"),
    ("tutorial-chat.md", "TypeScript"),
    ("tutorial-api.md", None),
    ("coming-from.md", None),
]


class Reader:
    """Someone who does what a page says, in a folder."""

    def __init__(self, folder: Path, home: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.package = ""
        self.url = ""
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("GUESTHOUSE_", "PYTEST"))
            },
            "GUESTHOUSE_HOME": str(home),
            **variables,
        }
        self.commands = {
            "pip": self.pip,
            "npm": self.npm,
            "guesthouse": self.guesthouse,
            "python": self.python,
            "curl": self.curl,
        }

    def write(self, file: File) -> None:
        if file.path == "package.toml":
            self.package = tomllib.loads(file.content)["package"]["name"]
        path = self.folder / self.package / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)

    def do(self, commands: list[Command]) -> None:
        first, *others = commands
        if not first.line.startswith("guesthouse run"):
            for command in commands:
                self.run(command)
            return
        with self.node(first.line):
            for command in others:
                self.run(command)

    def run(self, command: Command) -> None:
        name, *arguments = shlex.split(command.line)
        printed = self.commands[name](arguments)
        if command.output is not None:
            assert printed.strip() == command.output

    def pip(self, arguments: list[str]) -> str:
        """What it would install is there; that what the page names can be installed is looked up."""
        (verb, what) = arguments
        named = re.fullmatch(r"guesthouse\[([\w,]+)\]", what)
        assert verb == "install"
        assert named is not None
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert set(named[1].split(",")) <= set(project["optional-dependencies"])
        return ""

    def npm(self, arguments: list[str]) -> str:
        assert arguments[:2] == ["install", "--prefix"]
        package = json.loads((self.folder / arguments[2] / "package.json").read_text())
        tested = json.loads((MODULES.parent / "package.json").read_text())["dependencies"]
        sdk = package["devDependencies"].pop("@guesthouse/sdk")
        assert sdk == f"file:{SDK_LINK}"
        assert package["devDependencies"].items() <= tested.items()
        (self.folder / arguments[2] / "node_modules").symlink_to(MODULES)
        return ""

    def guesthouse(self, arguments: list[str]) -> str:
        if arguments[0] == "build" and not (self.folder / arguments[1] / "node_modules").exists():
            (self.folder / arguments[1] / "node_modules").symlink_to(MODULES)
        return self._ran([*GUESTHOUSE, *arguments])

    def python(self, arguments: list[str]) -> str:
        return self._ran([sys.executable, *arguments, "-p", "no:cacheprovider"])

    def curl(self, arguments: list[str]) -> str:
        method, data, url = "GET", None, ""
        given = iter(arguments)
        for argument in given:
            match argument:
                case "-X":
                    method = next(given)
                case "-d":
                    data = next(given)
                case _:
                    url = argument.replace(SHOWN_URL, self.url)
        with httpx.Client(verify=TRUSTS_NOBODY, trust_env=False, timeout=PATIENCE) as client:
            return client.request(method, url, content=data).text

    def _ran(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def node(self, line: str) -> Iterator[None]:
        """What `guesthouse run` starts, on a free port."""
        command = [*GUESTHOUSE, *shlex.split(line)[1:], "--port", "0", "--workers", "1"]
        log = self.folder / "node.log"
        with log.open("w") as errors:
            node = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        with node:
            try:
                assert node.stdout is not None
                ready = re.match(r"ready (\S+)", node.stdout.readline())
                assert ready is not None, log.read_text()
                self.url = ready[1]
                yield
            finally:
                node.send_signal(signal.SIGTERM)
                node.wait(PATIENCE)


@pytest.mark.thorough
@pytest.mark.parametrize(("page", "tab"), PAGES, ids=[f"{page}-{tab}" for page, tab in PAGES])
def test_the_page_does_what_it_says(
    tmp_path: Path, compiled: Path, development: dict[str, str], page: str, tab: str | None
) -> None:
    reader = Reader(tmp_path, home_in(tmp_path / "node", compiled), development)
    for step in steps(page, tab):
        if isinstance(step, File):
            reader.write(step)
        else:
            reader.do(step)
    assert list(tmp_path.glob("*/tests/test_*.py"))


def test_every_language_of_every_tutorial_is_done() -> None:
    pages = ["coming-from.md", *(page.name for page in DOCS.glob("tutorial-*.md"))]
    found: set[tuple[str, str | None]] = set()
    for page in pages:
        found |= {(page, tab) for tab in tabs(page)} or {(page, None)}
    assert found == set(PAGES)

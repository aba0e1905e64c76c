"""A real `guesthouse run` as a subprocess, and its command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import httpx
from tests import forked
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE

from guesthouse.control.control_client import ask

from .waiting import Subprocess, all_gone, command_line, descendants, until

NODE = "e2e-node.os"
READY_SECONDS = 300.0
_READY = re.compile(r"ready (?P<url>https?://127\.0\.0\.1:\d+) node=(?P<node>\S+)\n")
_LOGIN = re.compile(r"log in, once, within ten minutes: (\S+)")
LOG_LINE = re.compile(
    r"\d\d:\d\d:\d\d (error|warning|info) +\S+( stdout| stderr)?: |    |log in, once, |guesthouse: "
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Its output, read as JSON."""
        assert self.code == 0, self.stderr
        return json.loads(self.stdout)


def environment(home: Path, settings: Mapping[str, object] | None = None) -> dict[str, str]:
    """The environment of a command: this one's without settings, and with those given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GUESTHOUSE_", "PYTHON", "PYTEST"))
    }
    given = {f"GUESTHOUSE_{name.upper()}": str(value) for name, value in (settings or {}).items()}
    # Tests look at what nodes have open; root may always.
    seen = {} if os.geteuid() == 0 else {"GUESTHOUSE_INSPECTABLE": "true"}
    return {**kept, **seen, "HOME": str(home.parent), "PYTHONWARNINGS": "default", **given}


async def run_command(
    home: Path,
    *arguments: str | Path,
    stdin: str | None = None,
    settings: Mapping[str, object] | None = None,
    seconds: float = 60.0,
) -> Ran:
    """Run `guesthouse ARGUMENTS…` to its end."""
    if (made := environment(home, settings)) and forked.can_fork(made):
        return await _forked_command(home, made, *map(str, arguments), stdin=stdin, seconds=seconds)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", *map(str, arguments)),
        stdin=DEVNULL if stdin is None else PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=made,
        cwd=home.parent,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(None if stdin is None else stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(process.returncode or 0, out.decode(), err.decode())


async def _forked_command(
    home: Path, variables: Mapping[str, str], *arguments: str, stdin: str | None, seconds: float
) -> Ran:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write((stdin or "").encode())
        given.seek(0)
        process = await forked.fork(arguments, variables, home.parent, stdin=given.fileno(), stderr=errors)
        try:
            async with asyncio.timeout(seconds):
                out = await process.stdout.read()
                code = await process.wait()
        finally:
            process.kill()
            await process.wait()
        errors.seek(0)
        return Ran(code, out.decode(), errors.read().decode())


class Daemon:
    """A node. Inside the `async with` block it serves; at its end it was stopped, and left nothing behind.

    Args:
        home: its folder; what is beside it in the same folder is the test's own.
        packages: what to run.
        settings: as `{"process_memory_bytes": …}`.
        flags: more flags, such as `--dev`.
        python: the interpreter that has Guesthouse installed.
        variables: more variables of its environment.
        module: what to run in the place of `guesthouse`; it takes the same arguments.
        node: its name; None for what its home says.
        descriptors: that it inherits.
        new: whether it is a new interpreter, and no fork of one that has loaded its modules (`tests/forked.py`).
    """

    def __init__(
        self,
        home: Path,
        packages: Sequence[str | Path],
        *,
        workers: int = 1,
        settings: Mapping[str, object] | None = None,
        flags: Sequence[str] = (),
        python: str | Path = sys.executable,
        variables: Mapping[str, str] | None = None,
        module: str | Path = "guesthouse",
        node: str | None = NODE,
        descriptors: Sequence[int] = (),
        new: bool = False,
    ) -> None:
        self.home = home
        self._new = new or python != sys.executable or module != "guesthouse"
        self._descriptors = tuple(descriptors)
        self._run = [str(python), *(("-m", module) if isinstance(module, str) else (str(module),)), "run"]
        self._variables = dict(variables or {})
        self.node = node or ""
        self.url = ""
        self._arguments = [
            *("--home", str(home), "--port", "0", "--workers", str(workers)),
            *(() if node is None else ("--node", node)),
            *flags,
            *map(str, packages),
        ]
        self._settings = settings
        self._stderr = home.with_suffix(".stderr")
        self._process: asyncio.subprocess.Process | forked.Forked
        self._seen: set[Subprocess] = set()

    @property
    def ws_url(self) -> str:
        """Where WebSockets are opened, without a path."""
        return self.url.replace("http", "ws", 1)

    def page(self, process: str, path: str = "/") -> str:
        """Where a browser finds a page of a process: on the origin of its package."""
        port = self.url.rpartition(":")[2]
        label = re.sub(r"[^a-z0-9]", "-", "-".join(process.split(":")[1:]).lower())
        return f"http://{label}.localhost:{port}/{process}{path}"

    @property
    def pid(self) -> int:
        """The node's pid."""
        return self._process.pid

    @property
    def cookie_name(self) -> str:
        """The cookie that carries a token of this node."""
        return self.cookie_names[0]

    @property
    def cookie_names(self) -> tuple[str, str]:
        """The names under which a login sets its cookie."""
        return f"kinode-auth_{self.node}", f"hyperware-auth_{self.node}"

    async def __aenter__(self) -> Self:
        variables = {**environment(self.home, self._settings), **self._variables}
        with self._stderr.open("ab") as stderr:
            self._process = await self._started(variables, stderr)
        try:
            await self._ready()
        except BaseException:
            await self.kill()
            raise
        return self

    async def _started(
        self, variables: Mapping[str, str], stderr: IO[bytes]
    ) -> asyncio.subprocess.Process | forked.Forked:
        folder, descriptors = self.home.parent, self._descriptors
        if not self._new and forked.can_fork(variables, descriptors):
            arguments = ["run", *self._arguments]
            return await forked.fork(arguments, variables, folder, stderr=stderr, descriptors=descriptors)
        return await asyncio.create_subprocess_exec(
            *(*self._run, *self._arguments),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=stderr,
            env=variables,
            cwd=folder,
            pass_fds=descriptors,
        )

    async def _ready(self) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            line = (await self._process.stdout.readline()).decode()
        match = _READY.fullmatch(line)
        assert match is not None, f"stdout: {line!r}, stderr: {self.stderr()}"
        assert self.node in ("", match["node"])
        self.node = match["node"]
        self.url = match["url"]

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._process.returncode is None:
            code = await self.terminate()
            assert code == 0 or kind, f"exit code {code}: {self.stderr()}"
        else:
            await self.ended()
        if kind is None:
            self._check_stderr()

    async def terminate(self, seconds: float = PATIENCE) -> int:
        """SIGTERM, and wait for the end. Returns the exit code; everything it started is gone."""
        self._note_subprocesses()
        self._process.send_signal(signal.SIGTERM)
        try:
            return await self.ended(seconds)
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"the node did not stop within {seconds:g} s: {self.stderr()}") from None

    async def kill(self) -> None:
        """SIGKILL. Everything it started ends by itself."""
        if self._process.returncode is None:
            self._note_subprocesses()
            self._process.kill()
        await self.ended()

    async def ended(self, seconds: float = PATIENCE) -> int:
        """Wait for the end of a node that was told to stop. Returns the exit code."""
        async with asyncio.timeout(seconds):
            code = await self._process.wait()
        await all_gone(self._seen)
        return code

    def _note_subprocesses(self) -> None:
        self._seen |= descendants(self._process.pid)

    def workers(self) -> set[Subprocess]:
        """Its workers as the operating system knows them."""
        return {child for child in descendants(self.pid) if b"guesthouse.worker" in command_line(child.pid)}

    def stderr(self) -> str:
        """All that nodes on this home wrote on standard error."""
        return self._stderr.read_text(errors="replace")

    def _check_stderr(self) -> None:
        stray = [line for line in self.stderr().splitlines() if line and not LOG_LINE.match(line)]
        assert not stray, f"the node wrote what is no log line: {stray}"

    def login_url(self) -> str:
        """The one-time login that `--dev` prints."""
        match = _LOGIN.search(self.stderr())
        assert match is not None, self.stderr()
        return match[1]

    async def cli(self, *arguments: str | Path, stdin: str | None = None) -> Ran:
        """Run `guesthouse COMMAND --home HOME …` to its end."""
        command, *more = arguments
        return await run_command(self.home, command, "--home", self.home, *more, stdin=stdin)

    async def ask(self, command: str, **arguments: Any) -> list[Any]:
        """What the command line asks the node, without a subprocess for each question."""
        return await asyncio.to_thread(lambda: list(ask(self.home, command, **arguments)))

    async def install(self, package: Path, *, yes: bool = False) -> None:
        """What `guesthouse install` has the node do, with `--yes` or without."""
        (item,) = await self.ask("install", package=str(package), consent=True if yes else None)
        assert "needs_consent" not in item, item

    async def token(self, ttl: int = 3600) -> str:
        """A fresh token of this node."""
        (token,) = await self.ask("token", ttl=ttl)
        return str(token)

    async def ps(self) -> dict[str, dict[str, Any]]:
        """Processes by id."""
        return {item["process"]: item for item in await self.ask("ps")}

    async def channels(self, process: str | None = None) -> list[dict[str, Any]]:
        """Open channels, or those of one process."""
        return [item for item in await self.ask("channels") if process in (None, item["process"])]

    async def no_channels(self) -> None:
        """Wait until no channel is open."""
        await until(self.channels, lambda open_ones: not open_ones, "channels are left open")

    async def logs(self) -> list[dict[str, Any]]:
        """All lines of the log."""
        return await self.ask("logs", lines=100_000, follow=False)

    async def log_line(self, source: str, *texts: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The first log line of a source that has all these texts in it; waits for it."""

        async def found() -> dict[str, Any] | None:
            lines = (line for line in await self.logs() if line["source"] == source)
            return next((line for line in lines if all(part in line["text"] for part in texts)), None)

        line = await until(found, bool, f"a line of {source} with {texts}", seconds)
        assert line is not None
        return line

    @property
    def local(self) -> dict[str, str]:
        """What shows that a program is one of the node's user."""
        return {"Guesthouse-Local": (self.home / "local.secret").read_text().strip()}

    async def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        """`GET` a path of this node, with a cookie when a token is given."""
        if token is not None:
            headers["Cookie"] = f"{self.cookie_name}={token}"
        async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False, timeout=PATIENCE) as client:
            return await client.get(self.url + path, headers=headers)

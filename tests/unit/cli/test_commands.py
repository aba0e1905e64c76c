"""The command line against real nodes: no package, real workers, real sockets."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest
import wasmtime
from tests.patience import PATIENCE
from tests.tiers import thorough_after

from guesthouse.core.home import Home, is_of_a_node

pytestmark = pytest.mark.slow

GUESTHOUSE = [sys.executable, "-m", "guesthouse"]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUESTHOUSE_")}
    return {**kept, "XDG_CACHE_HOME": tempfile.gettempdir()}


def guesthouse(*arguments: str, stdin: str = "", seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = [*GUESTHOUSE, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, input=stdin, env=environment(), timeout=seconds
    )


class Daemon:
    """`guesthouse run`, ready."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [*GUESTHOUSE, "run", "--home", str(home), "--port", "0", "--workers", "1", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()

    def end(self, number: int) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, "--node", "my.os")
    yield daemon
    if daemon.process.poll() is None:
        daemon.end(signal.SIGKILL)


def test_run_prints_one_line_once_it_serves_and_stops_with_0(daemon: Daemon) -> None:
    word, url, node = daemon.ready.split()
    assert (word, node) == ("ready", "node=my.os")
    assert httpx.get(f"{url}/login").status_code == 200
    code, out, _ = daemon.end(signal.SIGTERM)
    assert (code, out) == (0, "")
    assert not (daemon.home / "control.sock").exists()


@pytest.mark.thorough
def test_ctrl_c_stops_a_node_too(daemon: Daemon) -> None:
    assert daemon.end(signal.SIGINT)[0] == 0


def test_a_killed_node_leaves_nothing_that_stops_the_next(daemon: Daemon) -> None:
    daemon.end(signal.SIGKILL)
    assert (daemon.home / "control.sock").exists()
    again = Daemon(daemon.home)
    assert again.ready.startswith("ready ")
    assert again.end(signal.SIGTERM)[0] == 0


@pytest.mark.thorough
def test_a_second_node_on_the_same_home_is_refused(daemon: Daemon) -> None:
    second = guesthouse("run", "--home", str(daemon.home), "--port", "0")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith(
        f"guesthouse: another node (pid {daemon.process.pid}) runs on {daemon.home}: "
    )
    assert second.stderr.count("\n") == 1


@pytest.mark.thorough
def test_a_port_in_use_is_said_in_one_line(daemon: Daemon, tmp_path: Path) -> None:
    port = daemon.ready.split()[1].rpartition(":")[2]
    second = guesthouse("run", "--home", str(tmp_path / "other"), "--port", port)
    assert second.returncode == 1
    assert port in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.thorough
def test_a_running_node_answers_what_it_runs_and_wrote(daemon: Daemon) -> None:
    home = str(daemon.home)
    assert json.loads(guesthouse("ps", "--home", home, "--json").stdout) == []
    assert json.loads(guesthouse("channels", "--home", home, "--json").stdout) == []
    assert guesthouse("channels", "--home", home).stdout == ""
    lines = [json.loads(line) for line in guesthouse("logs", "--home", home, "--json").stdout.splitlines()]
    assert any(line["source"] == "node" and "my.os serves http" in line["text"] for line in lines)
    assert guesthouse("logs", "--home", home, "-n", "1").stdout.count("\n") == 1


@pytest.mark.thorough
def test_the_log_can_be_written_for_programs(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--log-format", "json")
    code, _, err = daemon.end(signal.SIGTERM)
    assert code == 0
    assert {json.loads(line)["source"] for line in err.splitlines()} == {"node"}


@pytest.mark.thorough
def test_logs_follow_until_the_node_stops(daemon: Daemon) -> None:
    follow = subprocess.Popen(
        [*GUESTHOUSE, "logs", "-f", "--home", str(daemon.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert follow.stdout is not None
    assert any("my.os serves" in line for line in follow.stdout)
    daemon.end(signal.SIGTERM)
    _, err = follow.communicate(timeout=PATIENCE)
    assert (follow.returncode, err) == (
        1,
        f"guesthouse: the node on {daemon.home} stopped before it had answered\n",
    )


@pytest.mark.thorough
@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
def test_a_token_is_the_nodes_own_whether_it_runs_or_not(daemon: Daemon, running: bool) -> None:
    if not running:
        daemon.end(signal.SIGTERM)
    token = guesthouse("token", "--home", str(daemon.home), "--ttl", "100").stdout.strip()
    claims = jwt.decode(token, (daemon.home / "token.secret").read_bytes(), algorithms=["HS256"])
    assert claims["username"] == "my.os"


@pytest.mark.thorough
def test_a_token_can_be_for_one_process_and_so_many_channels(daemon: Daemon) -> None:
    scope = ("--process", "chat:chat:guesthouse.os", "--channels", "3")
    token = guesthouse("token", "--home", str(daemon.home), *scope).stdout.strip()
    secure = guesthouse("token", "--home", str(daemon.home), *scope, "--secure").stdout.strip()
    secret = (daemon.home / "token.secret").read_bytes()
    claims = jwt.decode(token, secret, algorithms=["HS256"])
    assert (claims["process"], claims["channels"], claims["subdomain"]) == (scope[1], 3, None)
    assert jwt.decode(secure, secret, algorithms=["HS256"])["subdomain"] == scope[1]
    assert guesthouse("token", "--home", str(daemon.home), "--secure").stderr.startswith(
        "guesthouse: a token for a subdomain needs a process"
    )


@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
def test_a_token_is_revoked_whether_the_node_runs_or_not(daemon: Daemon, running: bool) -> None:
    home = str(daemon.home)
    token = guesthouse("token", "--home", home).stdout.strip()
    if not running:
        daemon.end(signal.SIGTERM)
    done = guesthouse("revoke", "--home", home, "-", stdin=f"{token}\n")
    assert (done.returncode, done.stderr) == (0, "the token is revoked\n")
    assert (daemon.home / "tokens.revoked").read_text().count("\n") == 1
    other = guesthouse("revoke", "--home", home, "not-a-token")
    assert (other.returncode, other.stderr.split(":")[1]) == (1, " not a token of this node")


@pytest.mark.thorough
@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
def test_all_tokens_are_revoked_whether_the_node_runs_or_not(daemon: Daemon, running: bool) -> None:
    home = str(daemon.home)
    token = guesthouse("token", "--home", home).stdout.strip()
    if not running:
        daemon.end(signal.SIGTERM)
    done = guesthouse("revoke", "--home", home, "--all")
    assert (done.returncode, done.stderr) == (0, "all tokens are revoked\n")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, (daemon.home / "token.secret").read_bytes(), algorithms=["HS256"])
    again = guesthouse("revoke", "--home", home, token)
    assert (again.returncode, again.stderr.split(":")[1]) == (1, " not a token of this node")


def test_a_token_that_is_not_renewed_ends_with_its_ttl(tmp_path: Path) -> None:
    lasting = []
    for flags in ((), ("--no-renew",)):
        token = guesthouse("token", "--home", str(tmp_path), "--ttl", "60", *flags).stdout.strip()
        claims = jwt.decode(token, (tmp_path / "token.secret").read_bytes(), algorithms=["HS256"])
        lasting.append(claims["ends"] - claims["expiration"])
    assert lasting == [30 * 24 * 3600 - 60, 0]


@pytest.mark.parametrize("arguments", [(), ("token", "--all")])
def test_it_is_said_what_to_revoke(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = guesthouse("revoke", "--home", str(tmp_path), *arguments)
    assert (done.returncode, done.stderr) == (1, "guesthouse: name what to revoke: a TOKEN, or --all\n")


def test_no_token_is_revoked_behind_the_back_of_a_node_that_starts(tmp_path: Path) -> None:
    with Home(tmp_path).locked():
        done = guesthouse("revoke", "--home", str(tmp_path), "--all")
    assert done.returncode == 1
    assert "another node" in done.stderr


@pytest.mark.parametrize("command", ["ps", "channels", "logs"])
def test_without_a_node_commands_say_how_to_start_one(command: str, tmp_path: Path) -> None:
    done = guesthouse(command, "--home", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"guesthouse: no node runs on {tmp_path}: start it with 'guesthouse run --home {tmp_path}'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "content", "complaint"),
    thorough_after(
        1,
        [
            (["missing.wasm"], None, "missing.wasm"),
            (["empty.wasm"], b"", "empty.wasm"),
            (["text.wasm"], b"hello, I am text", "text.wasm"),
            (["core.wasm"], b"\0asm\1\0\0\0", "core.wasm"),
            (["a:b=empty.wasm"], b"", "process:package:publisher"),
        ],
        names=3,
    ),
)
def test_what_is_no_package_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], content: bytes | None, complaint: str
) -> None:
    file = tmp_path / arguments[0].rpartition("=")[2]
    if content is not None:
        file.write_bytes(content)
    named = arguments[0].replace(file.name, str(file))
    done = guesthouse("run", "--home", str(tmp_path / "home"), "--port", "0", named)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (1, "")
    assert last.startswith("guesthouse: ")
    assert complaint in last
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "guesthouse.toml").write_text("[http]\nprot = 1\n")
    done = guesthouse("run", "--home", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "did you mean http.port?" in done.stderr


def test_a_password_is_read_from_standard_input(tmp_path: Path) -> None:
    done = guesthouse("passwd", "--home", str(tmp_path / "home"), stdin="a long secret\n")
    assert done.returncode == 0
    assert "a long secret" not in done.stdout + done.stderr
    stored = tmp_path / "home" / "password.argon2"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert guesthouse("passwd", "--home", str(tmp_path / "home"), stdin="\n").returncode == 1


def with_bytes(*arguments: str | bytes, stdin: bytes = b"", **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [*GUESTHOUSE, *arguments], capture_output=True, input=stdin, env=environment() | variables, timeout=60
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("variables", [{"PYTHONUTF8": "1"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C"}])
def test_a_password_that_is_not_utf_8_is_refused_in_one_line(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    code, said = with_bytes("passwd", "--home", str(tmp_path), stdin=b"gr\xfcn\n", **variables)
    assert (code, said.count("\n")) == (1, 1)
    assert "the password is not" in said
    assert not (tmp_path / "password.argon2").exists()


def test_a_body_that_is_not_utf_8_is_refused_before_a_node_is_asked(tmp_path: Path) -> None:
    code, said = with_bytes("send", "a:b:c", b"\xff", "--home", str(tmp_path))
    assert (code, said) == (
        1,
        "guesthouse: BODY is not UTF-8: send binary data as a blob, with --blob FILE\n",
    )


@pytest.mark.parametrize(
    "arguments",
    thorough_after(
        1,
        [
            *(
                (command, b"\xff")
                for command in ("restart", "stop", "kill", "explain", "uninstall", "rollback", "revoke")
            ),
            *((b"send", b"\xff", "body"), ("install", b"/\xff.zip"), ("token", "--process", b"a:b:\xff")),
        ],
    ),
    ids=lambda arguments: arguments[0],
)
def test_names_that_are_not_utf_8_are_refused_in_one_line(
    daemon: Daemon, arguments: tuple[str | bytes, ...]
) -> None:
    code, said = with_bytes(*arguments, "--home", str(daemon.home))
    assert (code, said.count("\n")) == (1, 1)
    assert "defect" not in said


@pytest.mark.thorough
def test_another_password_ends_the_logins_of_the_node_that_runs(daemon: Daemon) -> None:
    home = str(daemon.home)
    assert guesthouse("passwd", "--home", home, stdin="one\n").returncode == 0
    with httpx.Client(base_url=daemon.ready.split()[1]) as client:
        assert client.post("/login", data={"password": "one"}).status_code == 303
        assert client.get("/").status_code == 200
        assert guesthouse("passwd", "--home", home, stdin="two\n").returncode == 0
        assert client.get("/").status_code == 303


def open_to_others(home: Path) -> list[str]:
    return [str(path) for path in (home, *home.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


@pytest.mark.thorough
def test_all_that_a_node_and_its_commands_make_is_for_their_user_alone(tmp_path: Path) -> None:
    home, package = tmp_path / "home", tmp_path / "nothing"
    package.mkdir()
    (package / "nothing.wasm").write_bytes(wasmtime.wat2wasm("(component)"))
    (package / "package.toml").write_text(
        '[package]\nname = "nothing"\npublisher = "test.os"\nversion = "1"\n'
        '[[process]]\nname = "nothing"\nwasm = "nothing.wasm"\n'
    )
    before = os.umask(0)
    try:
        assert guesthouse("passwd", "--home", str(home), stdin="one\n").returncode == 0
        token = guesthouse("token", "--home", str(home)).stdout.strip()
        assert guesthouse("revoke", "--home", str(home), token).returncode == 0
        guesthouse("install", "--home", str(home), str(package))
        daemon = Daemon(home)
        try:
            assert daemon.ready.startswith("ready ")
            assert guesthouse("revoke", "--home", str(home), "--all").returncode == 0
            assert guesthouse("install", "--home", str(home), str(package)).returncode in (0, 1)
            assert open_to_others(home) == []
            assert [path.name for path in home.iterdir() if not is_of_a_node(path.name)] == []
        finally:
            _, _, log = daemon.end(signal.SIGTERM)
    finally:
        os.umask(before)
    assert open_to_others(home) == []
    assert "others could read" not in log
    (home / "state.sqlite").chmod(0o644)
    again = Daemon(home)
    assert again.ready.startswith("ready ")
    assert open_to_others(home) == []
    assert "others could read state.sqlite: removed their access" in again.end(signal.SIGTERM)[2]


def test_help_needs_none_of_the_heavy_modules() -> None:
    heavy = ("asyncio", "wasmtime", "uvicorn", "starlette", "rich", "cbor2", "jwt", "watchfiles")
    code = (
        "import sys\nfrom guesthouse.cli.main import cli\n"
        "cli(['run', '--help'], standalone_mode=False)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_inspect_says_what_a_component_needs_that_this_host_has_not(tmp_path: Path) -> None:
    file = tmp_path / "greedy.wasm"
    file.write_bytes(
        wasmtime.wat2wasm('(component (import "evil:disk/format@1.0.0" (instance (export "all" (func)))))')
    )
    done = guesthouse("inspect", str(file), "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["runnable"]) == (1, False)
    assert report["imports"] == [
        {"name": "evil:disk/format@1.0.0", "kind": "interface", "functions": ["all"]}
    ]
    assert any(
        "evil:disk/format@1.0.0, which this host does not offer" in problem for problem in report["problems"]
    )
    assert done.stderr.startswith(
        f"guesthouse: {file} cannot run on this host: it imports all of evil:disk/format"
    )
    assert "evil:disk/format@1.0.0: all" in guesthouse("inspect", str(file)).stdout


def test_a_component_that_cannot_start_ends_run_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "greedy.wasm"
    file.write_bytes(
        wasmtime.wat2wasm('(component (import "evil:disk/format@1.0.0" (instance (export "all" (func)))))')
    )
    done = guesthouse("run", "--home", str(tmp_path / "home"), "--port", "0", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "greedy:greedy:local.os cannot be started: exports no guesthouse:process"
        in done.stderr.splitlines()[-1]
    )


@pytest.mark.parametrize("command", ["inspect", "build"])
def test_what_cannot_be_inspected_or_built_is_one_line(tmp_path: Path, command: str) -> None:
    done = guesthouse(command, str(tmp_path / "nothing"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert str(tmp_path / "nothing") in done.stderr

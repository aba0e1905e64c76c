"""Nodes whose sockets were opened by whoever started them, as systemd does."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.patience import PATIENCE

from .clients import ECHO_C, registered
from .conftest import StartNode
from .daemon import Daemon, environment
from .waiting import descendants

ACTIVATOR: Final = Path(__file__).with_name("activator.py")
Bound = Callable[[], socket.socket]


@pytest.fixture
def bound() -> Iterator[Bound]:
    """Sockets that listen."""
    with ExitStack() as stack:

        def listening() -> socket.socket:
            opened = stack.enter_context(socket.socket())
            opened.bind(("127.0.0.1", 0))
            opened.listen(16)
            return opened

        yield listening


def as_passed(**sockets: socket.socket) -> dict[str, Any]:
    """Options of a node that is passed these sockets."""
    listed = ",".join(f"{opened.fileno()}:{name}" for name, opened in sockets.items())
    return {
        "module": ACTIVATOR,
        "variables": {"LISTENERS": listed},
        "descriptors": [opened.fileno() for opened in sockets.values()],
    }


async def test_clients_wait_in_passed_sockets_until_the_node_serves_there(
    start: StartNode, bound: Bound
) -> None:
    http, monitoring = bound(), bound()
    with socket.create_connection(http.getsockname(), PATIENCE) as early:
        daemon = await start("echo-c", **as_passed(http=http, monitoring=monitoring))
        assert daemon.url == f"http://127.0.0.1:{http.getsockname()[1]}"
        early.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        early.settimeout(PATIENCE)
        assert (await asyncio.to_thread(early.recv, 100)).startswith(b"HTTP/1.1 404 ")
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        await client.ask("hello")
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{monitoring.getsockname()[1]}/readyz")
    assert answer.json()["ready"], "without monitoring.port"
    assert_has(daemon, http, monitoring)


def assert_has(daemon: Daemon, *sockets: socket.socket) -> None:
    """The node has these sockets, and its workers have none of them."""
    passed = {str(Path(f"/proc/self/fd/{each.fileno()}").readlink()) for each in sockets}
    assert passed <= open_files(daemon.pid)
    for child in descendants(daemon.pid):
        assert not passed & open_files(child.pid)


def open_files(pid: int) -> set[str]:
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            found.add(str(each.readlink()))
    return found


async def test_what_is_passed_to_another_process_is_not_taken(start: StartNode, bound: Bound) -> None:
    http = bound()
    options = as_passed(http=http)
    daemon = await start("echo-c", **options | {"variables": {**options["variables"], "AS_PID": "1"}})
    assert daemon.url != f"http://127.0.0.1:{http.getsockname()[1]}"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["http", "web"], "two sockets were passed for the http listener"),
        (["connected"], "does not listen"),
        (["datagrams"], "is no TCP socket"),
    ],
)
async def test_what_cannot_be_served_is_one_line(
    new_home: Callable[[], Path], bound: Bound, names: list[str], says: str
) -> None:
    with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        odd = {"connected": idle, "datagrams": datagrams}
        passed = {name: odd.get(name) or bound() for name in names}
        options = as_passed(**passed)
        home = new_home()
        node = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ACTIVATOR), "run", "--home", str(home), "--port", "0"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**environment(home), **options["variables"]},
            pass_fds=options["descriptors"],
        )
        _, errors = await node.communicate()
    assert node.returncode == 1
    assert says in errors.decode()

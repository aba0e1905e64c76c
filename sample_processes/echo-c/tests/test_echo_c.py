"""The built component, on a real node: what a client of it sees."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

PACKAGE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    guesthouse = [sys.executable, "-m", "guesthouse"]
    subprocess.run([*guesthouse, "build", str(PACKAGE)], check=True, capture_output=True)
    command = [
        *guesthouse,
        "run",
        "--home",
        str(tmp_path_factory.mktemp("home")),
        "--port",
        "0",
        str(PACKAGE),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as node:
        assert node.stdout is not None
        ready = node.stdout.readline().split()
        yield f"{ready[1].replace('http', 'ws', 1)}/echo-c:echo-c:guesthouse.os/public"
        node.terminate()


@pytest.mark.parametrize("message", ["hello", "", "grüße \U0001f426", "x" * 65_536, b"", b"\0\xff" * 500])
def test_a_message_comes_back_with_its_type(url: str, message: str | bytes) -> None:
    with connect(url) as client:
        client.send(message)
        assert client.recv(timeout=20) == message


def test_messages_come_back_in_order(url: str) -> None:
    with connect(url) as client:
        for number in range(500):
            client.send(str(number))
        assert [client.recv(timeout=20) for _ in range(500)] == [str(number) for number in range(500)]

"""What a service manager is told, and when nobody is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from guesthouse.linux.service_manager import ALIVE, READY, ServiceManager


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_told_on_its_socket(tmp_path: Path, abstract: bool) -> None:
    name = f"guesthouse-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}" if abstract else name}).tell(READY)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("socket_name", ["", "/nowhere/notify", "@nobody-listens-here"])
def test_without_a_manager_nothing_happens(socket_name: str) -> None:
    ServiceManager({"NOTIFY_SOCKET": socket_name}).tell(READY)


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": ""}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_asked_for_by_the_manager(variables: dict[str, str], seconds: float) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/nowhere", **variables}).watchdog_seconds == seconds


def test_it_is_told_twice_as_often_as_it_asks(tmp_path: Path) -> None:
    later: list[tuple[float, Callable[[], None]]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        told = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"})
        told.tell_alive(lambda seconds, call: later.append((seconds, call)))
        assert manager.recv(100).decode() == ALIVE
        ((seconds, call),) = later
        assert seconds == 1.5
        call()
        assert manager.recv(100).decode() == ALIVE
        assert len(later) == 2

"""Listening sockets that an OS process is started with."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guesthouse.http_server.listening import HTTP, MONITORING, CannotListen, Listeners
from guesthouse.linux.passed_sockets import MOST, BadDescriptor, take_sockets

FIRST = 200
"""Where these tests put descriptors: those from 3 on are pytest's."""


@contextmanager
def passed(*names: str) -> Iterator[dict[str, str]]:
    """The environment of an OS process that was passed such sockets."""
    for place in range(len(names)):
        with socket.socket() as opened:
            opened.bind(("127.0.0.1", 0))
            opened.listen()
            os.dup2(opened.fileno(), FIRST + place, inheritable=True)
    yield {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}


def close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


def test_they_are_taken_once_by_name_and_hidden_from_subprocesses() -> None:
    with passed("http", "monitoring") as environment:
        taken = take_sockets(environment, FIRST)
        assert [name for name, _ in taken] == ["http", "monitoring"]
        assert environment == {}
        assert take_sockets(environment, FIRST) == []
        for _, each in taken:
            assert (each.get_inheritable(), each.gettimeout()) == (False, 0.0)
        close(*(each for _, each in taken))


def test_a_name_may_be_missing() -> None:
    with passed("") as environment:
        del environment["LISTEN_FDNAMES"]
        ((name, taken),) = take_sockets(environment, FIRST)
        assert name == ""
        assert Listeners([(name, taken)]).passed(HTTP)
        close(taken)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
        {"LISTEN_PID": str(os.getpid())},
    ],
)
def test_what_is_not_for_this_process_is_left(environment: dict[str, str]) -> None:
    assert take_sockets(environment, FIRST) == []
    assert environment == {}


def test_what_is_no_listening_socket_is_named(tmp_path: Path) -> None:
    def refused(count: int = 1) -> str:
        told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "web"}
        with pytest.raises(BadDescriptor) as error:
            take_sockets(told, FIRST)
        return str(error.value)

    assert str(MOST) in refused(MOST + 1)
    with (tmp_path / "file").open("wb") as file:
        os.dup2(file.fileno(), FIRST)
    assert "('web')" in refused()
    for kind, says in ((socket.SOCK_STREAM, "does not listen"), (socket.SOCK_DGRAM, "no TCP socket")):
        with socket.socket(type=kind) as opened:
            os.dup2(opened.fileno(), FIRST)
        assert says in refused()


def test_a_passed_socket_wins_over_the_settings_and_a_kept_one_follows_them() -> None:
    with passed("http", "monitoring-kept") as environment:
        listeners = Listeners(take_sockets(environment, FIRST))
        served = listeners.listen(HTTP, "127.0.0.1", 1)
        assert served.getsockname()[1] != 1
        kept = listeners.listen(MONITORING, "127.0.0.1", 0)
        assert listeners.passed(HTTP)
        assert not listeners.passed(MONITORING)
        left = listeners.keep()
        assert {name: each.getsockname() for name, each in left.items()} == {
            "http": served.getsockname(),
            "monitoring-kept": kept.getsockname(),
        }
        close(served, kept, *left.values())
    with passed("http-kept") as environment:
        listeners = Listeners(take_sockets(environment, FIRST))
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
        moved = listeners.listen(HTTP, "127.0.0.1", port)
        assert moved.getsockname()[1] == port
        close(moved)


def test_two_for_one_listener_are_refused() -> None:
    with passed("http", "other") as environment:
        sockets = take_sockets(environment, FIRST)
        with pytest.raises(CannotListen, match="two sockets"):
            Listeners(sockets)
        close(*(each for _, each in sockets))

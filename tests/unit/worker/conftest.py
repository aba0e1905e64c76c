from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.wire import ToNode, ToWorker

from .driven import Driven
from .process import Worker


@pytest.fixture(scope="session")
def shared_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("guests")) as worker:
        worker.configure()
        yield worker


@pytest.fixture
def worker(shared_worker: Worker) -> Iterator[Worker]:
    """A worker that other tests use too: after each it must be well, with all guests ended."""
    yield shared_worker
    for handle in tuple(shared_worker.handles):
        shared_worker.send([ToWorker.STOP, handle, "the test is over"])
    assert shared_worker.is_alive()
    shared_worker.forget()
    shared_worker.handles.clear()
    assert shared_worker.got(ToNode.PUSH) == []


@pytest.fixture
def own_worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker for tests that end it or measure it."""
    with Worker(tmp_path) as worker:
        worker.configure()
        yield worker


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Driven]]:
    """Makes schedulers whose time the test drives; the arguments are limits of the one guest."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield lambda **limits: Driven(monkeypatch, ours, **limits)

"""`development:distro:sys`: which sources a process is given, and when."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.modules.development import Development
from guesthouse.package.build.app_sources import AppSources

APP, OTHER = ProcessId("app", "a", "x.os"), ProcessId("other", "a", "x.os")


def sources(text: str) -> AppSources:
    files = {"app.py": text.encode(), "b.py": b"1"}
    return AppSources(Path("/a"), "app.py", files, lambda name: {f"{name}.py": b"installed"})


class Asking:
    """A module, and the answers that processes get of it."""

    def __init__(self) -> None:
        self.module = Development()
        self.answers: list[tuple[Any, bytes | None]] = []
        self.answered = asyncio.Event()

    def ask(self, body: object, process: ProcessId = APP) -> None:
        def answer(text: bytes, blob: LazyLoadBlob | None) -> None:
            self.answers.append((json.loads(text), None if blob is None else blob.bytes))
            self.answered.set()

        request = ModuleRequest(
            Address("n.os", process), json.dumps(body).encode(), None, 1.0, answer, lambda: True
        )
        self.module.request(request)

    def given(self, process: ProcessId = APP) -> bytes | None:
        """What a process gets that asks for its sources."""
        self.ask("Sources", process)
        return self.answers[-1][1]


def test_a_process_gets_its_own_sources_and_no_other_any() -> None:
    asking = Asking()
    asking.module.accept(APP, sources("one"))
    assert asking.given() == b"one1"
    head = {"source": "app.py", "check": False, "files": [["app.py", 3], ["b.py", 1]]}
    assert asking.answers[-1][0] == head
    assert asking.given(OTHER) is None
    asking.ask({"Package": "p"}, OTHER)
    asking.module.forget(APP)
    assert asking.given() is None
    asking.ask("Nonsense")
    asking.ask(5)
    assert all("Err" in answer for answer, _ in asking.answers[1:])


def test_what_is_offered_is_given_once_and_then_what_was_before_unless_it_is_accepted() -> None:
    asking = Asking()
    asking.module.accept(APP, sources("old"))
    asking.module.offer(APP, sources("new"))
    assert [asking.given(), asking.given()] == [b"new1", b"old1"]
    asking.module.accept(APP, sources("new"))
    assert [asking.given(), asking.given()] == [b"new1", b"new1"]
    asking.module.offer(APP, sources("newer"))
    asking.module.withdraw(APP)
    assert asking.given() == b"new1"


def test_a_check_is_told_to_be_one_and_its_failure_kept_until_its_end() -> None:
    asking = Asking()
    asking.module.begin_check(OTHER, sources("checked"))
    assert asking.given(OTHER) == b"checked1"
    assert asking.answers[-1][0]["check"] is True
    asking.ask({"Failed": "app.py:1: error: no"}, OTHER)
    assert asking.module.failure_of(OTHER) == "app.py:1: error: no"
    asking.module.end_check(OTHER)
    assert asking.module.failure_of(OTHER) is None
    assert asking.given(OTHER) is None


async def test_an_installed_package_is_read_beside_the_loop() -> None:
    asking = Asking()
    asking.module.accept(APP, sources("one"))
    asking.given()
    asking.answered.clear()
    asking.ask({"Package": "p"})
    assert len(asking.answers) == 1, "the loop is not held up"
    await asking.answered.wait()
    assert asking.answers[-1] == ({"files": [["p.py", 9]]}, b"installed")


@pytest.mark.parametrize("failure", [OSError("no"), RuntimeError("no")])
async def test_a_package_that_cannot_be_read_is_an_error(failure: Exception) -> None:
    def installed(name: str) -> dict[str, bytes]:
        raise failure

    asking = Asking()
    asking.module.accept(APP, AppSources(Path("/a"), "app.py", {}, installed))
    asking.given()
    asking.answered.clear()
    asking.ask({"Package": "p"})
    await asking.answered.wait()
    assert "Err" in asking.answers[-1][0]

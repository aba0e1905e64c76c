"""Passwords of guests: hashed off the event loop, one at a time, the packages in turn, at no more cost than allowed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from tests.patience import PATIENCE

from guesthouse.core.address import Address, ProcessId
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.modules import passwords as module
from guesthouse.modules.password_turns import MOST_WAITING, REST, PasswordTurns
from guesthouse.modules.passwords import Passwords


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


def asked(
    passwords: Passwords, body: object, package: str = "pack", waits: bool = True
) -> asyncio.Future[Any]:
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    source = Address("home.os", ProcessId.parse(f"a:{package}:test.os"))
    answer = lambda text, blob: answered.set_result(json.loads(text))  # noqa: E731 - as the router does
    passwords.request(ModuleRequest(source, raw, None, 60, answer, lambda: waits))
    return answered


async def answer_to(passwords: Passwords, body: object) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await asked(passwords, body)


async def test_a_password_is_hashed_and_verified(passwords: Passwords) -> None:
    text = (await answer_to(passwords, {"Hash": "pässword"}))["Hash"]
    assert PasswordHasher().verify(text, "pässword")
    for password, matches in (("pässword", True), ("password", False)):
        found = await answer_to(passwords, {"Verify": {"password": password, "hash": text}})
        assert found == {"Verify": {"matches": matches, "outdated": False}}


async def test_a_hash_of_elsewhere_is_verified_and_outdated(passwords: Passwords) -> None:
    for hasher in (PasswordHasher(4, 64, 4), PasswordHasher(1, 8, 1)):
        fields = {"password": "x", "hash": hasher.hash("x")}
        assert await answer_to(passwords, {"Verify": fields}) == {
            "Verify": {"matches": True, "outdated": True}
        }


DEAR = "$argon2id$v=19$m={},t={},p={}$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[" * 16_000,
        b'"' + b"x" * 17_000 + b'"',
        {"Hash": ""},
        {"Hash": "x" * 1025},
        {"Hash": "é" * 513},
        {"Hash": 5},
        b'{"Hash": "\\ud800"}',
        {"Fly": "x"},
        {"Verify": "x"},
        {"Verify": {"password": "x"}},
        *(
            {"Verify": {"password": "x", "hash": text}}
            for text in (
                "",
                "x",
                "é",
                "$" * 1000,
                DEAR.format(4_194_304, 1, 1),
                DEAR.format(65_536, 5, 1),
                DEAR.format(8, 4_000_000_000, 1),
                DEAR.format(8, 1, 5),
                DEAR.format(-8, -1, 1),
                DEAR.format(8, 0, 1),
                DEAR.format(9, 1, "x"),
                DEAR.format("9" * 300, 1, 1),
                DEAR.format(8, 1, 1).replace("argon2id", "argon2d"),
            )
        ),
    ],
)
async def test_what_cannot_be_hashed_or_would_cost_too_much_is_refused_before_it_waits(
    passwords: Passwords, body: object
) -> None:
    refusal = asked(passwords, body)
    assert refusal.done()
    assert list(refusal.result()["Err"]) == ["InputError"]


async def test_a_hash_that_is_damaged_matches_nothing(passwords: Passwords) -> None:
    for text in (DEAR.format(1, 1, 1), DEAR.format(8, 1, 1)):
        found = await answer_to(passwords, {"Verify": {"password": "x", "hash": text}})
        assert found["Verify"]["matches"] is False


class Gate:
    """In the place of the work: notes whose passwords come, and lets each pass when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.came: list[str] = []
        self.threads: set[int] = set()
        self.running = self.most = 0
        self._pass = threading.Semaphore(0)
        monkeypatch.setattr(module, "_work", self.work)

    def work(self, job: Any) -> bytes:
        self.running += 1
        self.most = max(self.most, self.running)
        self.threads.add(threading.get_native_id())
        self.came.append(job.password)
        self._pass.acquire()
        self.running -= 1
        return b'"done"'

    def open(self, count: int) -> None:
        self._pass.release(count)


async def test_packages_take_turns_and_one_password_is_hashed_at_a_time(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guesthouse.modules.password_turns.REST", 0.0)
    gate = Gate(monkeypatch)
    answers = [asked(passwords, {"Hash": f"greedy {number}"}, "greedy") for number in range(5)]
    answers += [asked(passwords, {"Hash": f"modest {number}"}, "modest") for number in range(2)]
    gate.open(7)
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*answers) == ["done"] * 7
    assert gate.came == [
        *("greedy 0", "greedy 1", "modest 0", "greedy 2", "modest 1", "greedy 3", "greedy 4")
    ]
    assert (gate.most, len(gate.threads)) == (1, 1)
    assert threading.get_native_id() not in gate.threads


async def test_a_package_that_asks_for_too_many_is_told_and_nobody_else_is(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    first = asked(passwords, {"Hash": "x"}, "greedy")
    gone = [asked(passwords, {"Hash": "gone"}, "greedy", waits=False) for _ in range(MOST_WAITING)]
    waiting = [asked(passwords, {"Hash": "x"}, "greedy") for _ in range(MOST_WAITING)]
    refused = asked(passwords, {"Hash": "x"}, "greedy")
    assert refused.result() == {"Err": "Busy"}
    other = asked(passwords, {"Hash": "y"}, "modest")
    assert not any(each.done() for each in (first, *gone, *waiting, other))
    gate.open(1 + MOST_WAITING + 1)
    async with asyncio.timeout(PATIENCE):
        assert [await first, await other] == ["done", "done"]
        passwords.forget_package("greedy:test.os")
    assert "gone" not in gate.came


async def test_work_that_fails_is_answered_and_the_next_goes_on(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(job: Any) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(module, "_work", fails)
        assert list((await answer_to(passwords, {"Hash": "x"}))["Err"]) == ["IOError"]
    assert list(await answer_to(passwords, {"Hash": "x"})) == ["Hash"]


async def test_a_module_that_is_closed_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Passwords()
    gate = Gate(monkeypatch)
    answers = [asked(made, {"Hash": "x"}, name) for name in ("one", "other")]
    made.close()
    gate.open(2)
    made._thread.shutdown(wait=True)
    assert len(gate.came) <= 1
    await asyncio.sleep(0)
    assert not answers[1].done()


def test_a_package_rests_three_times_as_long_as_its_password_took() -> None:
    turns: PasswordTurns[str] = PasswordTurns(lambda job: True)
    for job in ("a1", "a2"):
        turns.add("a", job)
    assert turns.take(0.0) == ("a", "a1")
    turns.done("a", 1.0, 1.0)
    assert turns.take(1.0) is None
    assert turns.next_at() == 1.0 + REST
    turns.add("b", "b1")
    assert turns.take(1.0) == ("b", "b1")
    assert turns.take(1.0 + REST) == ("a", "a2")
    assert turns.next_at() is None
    assert turns.take(9.0) is None


def test_what_nobody_waits_for_takes_no_turn() -> None:
    left = {"a1", "b1"}
    turns: PasswordTurns[str] = PasswordTurns(lambda job: job not in left)
    for job in ("a1", "a2", "b1"):
        turns.add(job[0], job)
    assert turns.take(0.0) == ("a", "a2")
    assert turns.take(0.0) is None
    turns.forget("a")
    assert turns.next_at() is None

"""What processes leave that end is settled within turns of the loop, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.wire import ToNode, ToWorker

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.messages import Request
from guesthouse.core.ports import Answer
from guesthouse.kernel.messaging import settling
from guesthouse.kernel.process.process import Process

from .test_router import CHAT, OTHER, respond, send

AT_LEAST = 4
MANY = 10 * AT_LEAST + 1
AFAR = Address.parse("away.os@asks:asks:a.os")


@pytest.fixture(autouse=True)
def _few_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(settling, "AT_LEAST", AT_LEAST)


class Asked:
    """Requests that a process holds, and what was said of them."""

    def __init__(self, kernel: Any, count: int, process: str = OTHER) -> None:
        self.said: list[tuple[int, Answer | str]] = []
        for number in range(count):
            problem = kernel.router.deliver(
                ProcessId.parse(process),
                Request(b"x", expects_response=60),
                None,
                self.hears(number),
                source=AFAR,
                rights=(),
            )
            assert problem is None

    def hears(self, number: int) -> Any:
        return lambda outcome: self.said.append((number, outcome))


def end(kernel: Any, process: Process) -> None:
    """It ends for good, with all that it took and what waits for it."""
    process.end_run()
    kernel.router.run_ended(process)
    process.end()
    kernel.router.remove(process)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_turn_settles_a_part_and_each_is_told_once(kernel: Any) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, OTHER)
    asked = Asked(kernel, MANY)
    end(kernel, process)
    seen = [len(asked.said)]
    while len(asked.said) < MANY:
        await turns(1)
        seen.append(len(asked.said))
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == AT_LEAST
    await turns(3)
    assert asked.said == [(number, "no-such-process") for number in range(MANY)]
    assert len(kernel.router._requests.pending) == 0


async def test_many_that_end_in_one_turn_have_one_share_of_it(kernel: Any) -> None:
    worker = await kernel.worker()
    names = [f"p{number}:other:b.os" for number in range(20)]
    processes = [kernel.process(worker, name)[0] for name in names]
    asked = [Asked(kernel, 10, name) for name in names]
    for process in processes:
        end(kernel, process)
    assert sum(len(each.said) for each in asked) <= AT_LEAST
    await turns(20 * 10)
    assert [len(each.said) for each in asked] == [10] * 20


async def test_a_process_of_the_same_id_that_starts_meanwhile_is_another(kernel: Any) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, OTHER)
    sender, chat = kernel.process(worker, CHAT)
    lost = Asked(kernel, MANY)
    await worker.say(*(send(chat, f"home.os@{OTHER}", b"old", expects=60) for _ in range(3)))
    await worker.hear(MANY + 3)
    end(kernel, process)
    end(kernel, sender)
    assert len(lost.said) < MANY
    again, handle = kernel.process(worker, OTHER)
    _, chat_again = kernel.process(worker, CHAT)
    answered = Asked(kernel, 1)
    (request,) = await worker.hear()
    await worker.say(respond(handle, request[2], b"mine"))
    await worker.say(send(chat_again, f"home.os@{OTHER}", b"new", expects=60))
    (new,) = await worker.hear()
    assert (new[0], new[1], new[4]) == (ToWorker.REQUEST, handle, b"new"), (
        "no failure of what the old one sent"
    )
    await worker.say(respond(handle, new[2], b"welcome"))
    assert (await worker.hear())[0][1:4] == [chat_again, f"home.os@{OTHER}", b"welcome"]
    await turns(MANY)
    assert lost.said == [(number, "no-such-process") for number in range(MANY)]
    ((_, outcome),) = answered.said
    assert isinstance(outcome, Answer)
    assert outcome.body == b"mine"
    assert len(kernel.router._requests.pending) == 0
    assert not again.gone


async def test_what_the_next_run_is_to_get_waits_for_it_while_the_rest_is_settled(kernel: Any) -> None:
    worker = await kernel.worker()
    process, handle = kernel.process(worker, OTHER)
    asked = Asked(kernel, MANY + 1)
    await worker.hear(MANY + 1)
    await worker.say([ToNode.CONSUMED, handle, MANY])
    await worker.settled(handle)
    process.end_run()
    kernel.router.run_ended(process)
    again = kernel.run(worker, process)
    (kept,) = await worker.hear()
    await worker.say(respond(again, kept[2], b"late but here"))
    await worker.settled(again)
    await turns(MANY)
    failed = [number for number, outcome in asked.said if outcome == "no-such-process"]
    assert failed == list(range(MANY))
    assert [number for number, outcome in asked.said if isinstance(outcome, Answer)] == [MANY]


@pytest.mark.parametrize("stops", ["all_ended", "close"])
async def test_a_node_that_stops_meanwhile_tells_the_rest_at_once(kernel: Any, stops: str) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, OTHER)
    asked = Asked(kernel, MANY)
    end(kernel, process)
    getattr(kernel.router, stops)()
    assert asked.said == [(number, "no-such-process") for number in range(MANY)]
    await turns(3)
    assert len(asked.said) == MANY


async def test_requests_of_a_process_that_ended_are_forgotten_over_turns(kernel: Any) -> None:
    worker = await kernel.worker()
    sender, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    await worker.say(*(send(chat, f"home.os@{OTHER}", b"x", expects=60) for _ in range(MANY)))
    requests = await worker.hear(MANY)
    end(kernel, sender)
    assert len(kernel.router._requests.pending) > 0
    await worker.say(respond(other, requests[-1][2], b"too late"))
    await worker.settled(other)
    assert "came too late" in kernel.log
    await turns(MANY)
    assert len(kernel.router._requests.pending) == 0

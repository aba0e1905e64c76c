"""Requests of the HTTP server to processes, and of processes to it that are answered later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.wire import ToWorker

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import LazyLoadBlob, Request
from guesthouse.core.ports import Answer
from guesthouse.kernel.process.mailbox import Mailbox
from guesthouse.link import to_worker

from .test_mailbox import Socket
from .test_router import CHAT, OTHER, respond, send

CHAT_ID, OTHER_ID = ProcessId.parse(CHAT), ProcessId.parse(OTHER)
SERVER = "home.os@http-server:distro:sys"


async def test_a_process_answers_what_is_asked_by_rpc_and_can_tell_that_it_is(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    async with asyncio.TaskGroup() as tasks:
        blob = LazyLoadBlob("x/y", b"blob")
        asked = tasks.create_task(kernel.router.ask(CHAT_ID, Request(b"hi", expects_response=5), blob))
        (heard,) = await worker.hear()
        request_id = heard[2]
        assert heard == [
            ToWorker.REQUEST, chat, request_id, "home.os@rpc:distro:sys", b"hi", False, 5, None, "x/y", b"blob",
        ]  # fmt: skip
        await worker.say(respond(chat, request_id, b"there"))
    assert asked.result() == Answer(b"there", source=f"home.os@{CHAT}")


async def test_who_asks_a_process_that_ends_learns_so(kernel: Any) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, CHAT)
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(kernel.router.ask(CHAT_ID, Request(b"", expects_response=5), None))
        await worker.hear()
        kernel.router.remove(process)
    assert asked.result() == "no-such-process"
    assert await kernel.router.ask(CHAT_ID, Request(b"", expects_response=5), None) == "no-such-process"


async def test_a_request_times_out_and_one_that_is_given_up_is_forgotten(kernel: Any) -> None:
    worker = await kernel.worker()
    kernel.process(worker, CHAT)
    assert await kernel.router.ask(CHAT_ID, Request(b"", expects_response=0), None) == "timeout"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await kernel.router.ask(CHAT_ID, Request(b"", expects_response=60), None)
    assert len(kernel.router._requests.pending) == len(kernel.router._requests.callbacks) == 0
    assert await kernel.router.ask(CHAT_ID, Request(b""), None) is None


async def test_only_the_asker_of_a_request_to_the_http_server_is_answered_and_once(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    kernel.process(worker, OTHER)
    left: list[int] = []

    def leave(source: Any, body: bytes, blob: Any, leave_waiting: Any) -> None:
        left.append(leave_waiting())

    kernel.http.request = leave
    await worker.say(send(chat, SERVER, expects=5, context=b"mine"))
    await worker.settled(chat)
    (request_id,) = left
    blob = LazyLoadBlob(None, b"result")
    assert not kernel.router.answer(request_id, OTHER_ID, b"x", blob)
    assert kernel.router.answer(request_id, CHAT_ID, b"body", blob)
    assert not kernel.router.answer(request_id, CHAT_ID, b"body", blob)
    (heard,) = await worker.hear()
    assert heard == [ToWorker.RESPONSE, chat, SERVER, b"body", False, None, b"mine", None, b"result", 0]


async def test_an_http_request_is_handed_on_over_processes_and_answered_once(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    answers: list[Any] = []
    request_id = kernel.router.expect(answers.append)
    kernel.http.handed_on = lambda: request_id
    for _ in range(2):
        await worker.say(send(chat, f"home.os@{OTHER}", inherit=True, inherited_id=-7))
        (heard,) = await worker.hear()
        assert heard[:4] == [ToWorker.REQUEST, other, request_id, f"home.os@{CHAT}"]
    assert kernel.http.asked == 2 * [("hand_on_http", CHAT_ID, 7)]
    await worker.say(respond(other, request_id, b"first"))
    await worker.say(respond(other, request_id, b"second"))
    await worker.settled(other)
    assert answers == [Answer(b"first", source=f"home.os@{OTHER}")]
    assert len(kernel.router._requests.pending) == len(kernel.router._requests.callbacks) == 0


async def test_an_http_request_that_was_answered_is_handed_on_as_one_that_wants_no_answer(
    kernel: Any,
) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", inherit=True, inherited_id=-7))
    (heard,) = await worker.hear()
    assert heard[:3] == [ToWorker.REQUEST, other, 0]


async def test_an_http_request_that_was_handed_on_fails_with_the_last_that_could_answer(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    process, _ = kernel.process(worker, OTHER)
    answers: list[Any] = []
    request_id = kernel.router.expect(answers.append)
    kernel.http.handed_on = lambda: request_id
    await worker.say(send(chat, f"home.os@{OTHER}", inherit=True, inherited_id=-7))
    await worker.hear()
    kernel.router.remove(process)
    assert answers == ["no-such-process"]


def test_a_feeder_is_held_back_by_a_full_mailbox_alone_and_let_go_below_half() -> None:
    mailbox, socket = Mailbox(2000), Socket()
    mailbox.post(to_worker.Request(1, 1, "n.os@a:b:c", b""), 100)
    mailbox.hold_back(5, socket)
    assert not is_paused(socket)
    mailbox.post(to_worker.Request(1, 2, "n.os@a:b:c", b""), 3000)
    mailbox.hold_back(5, socket)
    assert is_paused(socket)
    list(mailbox.take(1))
    mailbox.consumed(2)
    assert not is_paused(socket)


def is_paused(socket: Socket) -> bool:
    return socket.paused

"""A request that is handed on to a process of the node itself is answered to who sent it first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.wire import ToWorker

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.capabilities import MESSAGING
from guesthouse.core.messages import LazyLoadBlob, Request
from guesthouse.core.ports import Answer
from guesthouse.core.timing.clock import Clock
from guesthouse.kernel.storage.database import State
from guesthouse.modules.registry import TABLES, Modules

from .test_asking_from_http import CHAT_ID, OTHER_ID, SERVER
from .test_router import CHAT, FRIEND, OTHER, respond, send

KV, TIMER, VFS = (f"home.os@{name}:distro:sys" for name in ("kv", "timer", "vfs"))
SET = {"db": "d", "action": {"Set": {"key": "a"}}}


@pytest.fixture
async def kernel(kernel: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """A kernel with its modules, on a real database."""
    state = State(tmp_path / "modules.sqlite", 1000, kernel.log, TABLES)
    modules = Modules(kernel.router, state, kernel.settings.process, lambda _: None, Clock())
    await modules.load()
    for module in (KV, TIMER, VFS):
        everybody = [(ProcessId.parse(name), MESSAGING) for name in (CHAT, OTHER, FRIEND)]
        kernel.router.rights.give(Address.parse(module).process, everybody)
    yield kernel
    modules.close()
    await state.close()


async def handed_on(kernel: Any, worker: Any, target: str, body: bytes, **how: Any) -> tuple[int, int, int]:
    """`CHAT` asks `OTHER`, which hands that on to `target`; returns the handles of both, and the request's id."""
    _, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", expects=60, context=b"first"))
    (request,) = await worker.hear()
    await worker.say(send(other, target, body, inherit=True, inherited_id=request[2], **how))
    return chat, other, request[2]


@pytest.mark.parametrize(
    ("target", "body", "how", "answer"),
    [
        (KV, SET, {"blob": b"1"}, b'"Ok"'),
        (KV, {"Get": {}}, {}, b'{"Err":{"InputError":'),
        (VFS, {"path": "/other:b.os/d/a", "action": "Write"}, {"blob": b"1"}, b'"Ok"'),
        (TIMER, {"SetTimer": 1}, {}, b""),
        (TIMER, {"Set": {"id": "a", "milliseconds": 10**6}}, {}, b'"Ok"'),
        (SERVER, {"Bind": {}}, {"blob": b"1"}, b'{"Ok": null}'),
    ],
)
async def test_what_the_node_answers_to_a_request_that_was_handed_on_its_first_sender_gets(
    kernel: Any, target: str, body: object, how: dict[str, Any], answer: bytes
) -> None:
    worker = await kernel.worker()
    chat, other, request_id = await handed_on(kernel, worker, target, json.dumps(body).encode(), **how)
    (heard,) = await worker.hear()
    assert heard[:3] == [ToWorker.RESPONSE, chat, target]
    assert heard[3].startswith(answer)
    assert heard[6] == b"first"
    assert len(kernel.router._requests.pending) == 0
    await worker.say(respond(other, request_id, b"late"))
    await worker.settled(other)


async def test_a_timer_for_a_request_that_was_handed_on_is_over_before_its_time_is(kernel: Any) -> None:
    worker = await kernel.worker()
    chat, _, _ = await handed_on(kernel, worker, TIMER, b'{"SetTimer": 60000}')
    (heard,) = await worker.hear()
    assert heard[:3] == [ToWorker.RESPONSE, chat, TIMER]
    assert b"the timer of 60 s is longer" in heard[3]


async def test_a_refusal_of_the_http_server_goes_to_who_handed_the_request_on(kernel: Any) -> None:
    worker = await kernel.worker()
    chat, other, request_id = await handed_on(kernel, worker, SERVER, b"no blob")
    (heard,) = await worker.hear()
    assert heard[:4] == [ToWorker.RESPONSE, other, SERVER, b'{"Err":"NoBlob"}']
    await worker.say(respond(other, request_id, b"myself"))
    assert (await worker.hear())[0][1:4] == [chat, f"home.os@{OTHER}", b"myself"]


async def test_what_the_http_server_answers_later_the_first_sender_gets(kernel: Any) -> None:
    left: list[int] = []
    kernel.http.request = lambda source, body, blob, leave_waiting: left.append(leave_waiting())
    worker = await kernel.worker()
    chat, other, request_id = await handed_on(kernel, worker, SERVER, b"later")
    await worker.settled(other)
    assert left == [request_id]
    kernel.process(worker, FRIEND)
    friend = kernel.router.processes()[-1].id
    assert not kernel.router.answer(request_id, friend, b"forged", None)
    assert kernel.router.answer(request_id, OTHER_ID, b"done", LazyLoadBlob(None, b"blob"))
    assert (await worker.hear())[0][1:4] == [chat, SERVER, b"done"]


async def test_what_a_process_holds_that_was_not_handed_to_the_http_server_nobody_answers_for_it(
    kernel: Any,
) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", expects=60))
    (request,) = await worker.hear()
    for asker in (CHAT_ID, OTHER_ID):
        assert not kernel.router.answer(request[2], asker, b"forged", None)


async def test_a_client_that_asks_by_rpc_is_answered_by_the_module(kernel: Any) -> None:
    worker = await kernel.worker()
    _, other = kernel.process(worker, OTHER)
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(kernel.router.ask(OTHER_ID, Request(b"", expects_response=60), None))
        (request,) = await worker.hear()
        await worker.say(
            send(other, KV, json.dumps(SET).encode(), inherit=True, inherited_id=request[2], blob=b"1")
        )
    assert asked.result() == Answer(b'"Ok"', source=KV)


async def test_an_http_request_is_not_handed_on_to_a_module_whose_answer_is_none_to_a_browser(
    kernel: Any,
) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    for target in (KV, SERVER):
        await worker.say(
            send(chat, target, json.dumps(SET).encode(), inherit=True, inherited_id=-7, blob=b"1")
        )
    await worker.settled(chat)
    assert [asked[0] for asked in kernel.http.asked] == ["request", "unbind_ws_path"]


async def test_a_worker_that_hands_on_what_its_process_did_not_receive_ends(kernel: Any) -> None:
    for target in (KV, SERVER):
        worker = await kernel.worker()
        _, chat = kernel.process(worker, CHAT)
        kernel.process(worker, OTHER)
        _, friend = kernel.process(worker, FRIEND)
        await worker.say(send(chat, f"home.os@{OTHER}", expects=60))
        (request,) = await worker.hear()
        before = len(kernel.http.asked)
        await worker.say(send(friend, target, b"", inherit=True, inherited_id=request[2]))
        await worker.lost.wait()
        assert "did not receive" in str(worker.fault)
        assert len(kernel.http.asked) == before

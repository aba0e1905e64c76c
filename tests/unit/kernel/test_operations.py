from __future__ import annotations

from typing import Any

import pytest
from tests.wire import ToNode, ToWorker

from guesthouse.core.address import ProcessId
from guesthouse.kernel.messaging.worker_operations import MAX_CALLS
from guesthouse.link.calls import AwaitRoom
from guesthouse.link.usage import Usage

CHAT = ProcessId.parse("chat:chat:a.os")


async def test_pushes_and_closes_reach_the_http_server_with_their_owner(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, str(CHAT))
    await worker.say(
        [ToNode.PUSH, chat, 7, 1, b"one"],
        [ToNode.PUSH_MANY, chat, [7, 8], 0, b"two"],
        [ToNode.CLOSE_CHANNEL, chat, 7, 1000, "bye"],
        [ToNode.HTTP_RESPONSE, chat, 3, 200, [["a", "b"]], "text/plain", b"three"],
    )
    await worker.settled(chat)
    assert kernel.http.asked[:4] == [
        ("push", CHAT, 7, 1, b"one"),
        ("push_many", CHAT, (7, 8), 0, b"two"),
        ("close_channel", CHAT, 7, 1000, "bye"),
        ("http_response", CHAT, 3, 200, (("a", "b"),), "text/plain", b"three"),
    ]


async def test_state_calls_are_answered_from_the_store(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, str(CHAT))
    await worker.say(
        [ToNode.CALL, chat, 1, "set-state", [b"value"]],
        [ToNode.CALL, chat, 2, "get-state", []],
        [ToNode.CALL, chat, 3, "clear-state", []],
        [ToNode.CALL, chat, 4, "get-state", []],
    )
    replies = await worker.hear(4)
    assert replies == [
        [ToWorker.REPLY, chat, number, value] for number, value in enumerate((None, b"value", None, None), 1)
    ]


async def test_a_binding_that_is_refused_is_answered_with_its_name(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, str(CHAT))
    await worker.say(
        [ToNode.CALL, chat, 1, "bind-ws-path", ["no-slash", True, False, False, []]],
        [ToNode.CALL, chat, 2, "bind-http-path", ["/a", True, False, False, None, "text/html", b"page"]],
    )
    assert await worker.hear(2) == [[ToWorker.REPLY, chat, 1, "bad-path"], [ToWorker.REPLY, chat, 2, None]]


@pytest.mark.parametrize(
    ("call", "arguments", "lacked", "reply"),
    [
        ("bind-ws-path", ["/", True, False, False, []], "http-server", "not-authorised"),
        ("bind-http-path", ["/", True, False, False, None, None, None], "http-server", "not-authorised"),
        ("serve-ui", ["/", True, False, False], "http-server", "not-authorised"),
        ("spawn", [None, "/child.wasm", "none", [], [], False], "kernel", "not-authorised"),
        ("set-state", [b"12345"], "state", "too-big"),
    ],
)
async def test_a_call_without_its_capability_is_answered_with_what_was_missing(
    kernel: Any, call: str, arguments: list[Any], lacked: str, reply: str
) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, str(CHAT))
    process.holdings.drop(process.holdings.all())
    await worker.say([ToNode.CALL, chat, 1, call, arguments])
    params = {"http-server": '"messaging"', "kernel": '"spawn"', "state": '{"bytes":5}'}[lacked]
    issuer = f"home.os@{lacked}:distro:sys"
    assert await worker.hear() == [[ToWorker.REPLY, chat, 1, [reply, issuer, params]]]
    assert f"it lacks the capability {params.replace('5', '8')} of {issuer}" in kernel.log
    assert kernel.http.asked == []


async def test_what_a_process_writes_is_logged_in_its_name(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, str(CHAT))
    await worker.say([ToNode.LOG, chat, "stdout", "info", "hello"])
    await worker.settled(chat)
    assert (str(CHAT), "info", "hello") in kernel.log.lines


async def test_usage_is_noted(kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, str(CHAT))
    usage: list[Any] = [1.5, 4096, 0.5, 0.25, 100, 10, 2.0, 3]
    await worker.say([ToNode.USAGE, {chat: usage, 12345: usage}])
    await worker.settled(chat)
    assert process.used() == Usage(*usage)


async def test_what_comes_in_pieces_is_carried_out_once_it_is_whole(kernel: Any) -> None:
    """Of several runs at once, and of none that ended before."""
    worker = await kernel.worker()
    _, chat = kernel.process(worker, str(CHAT))
    _, other = kernel.process(worker, "other:other:b.os")
    _, ended = kernel.process(worker, "ended:ended:c.os")
    await worker.say(
        [ToNode.PIECE, ended, "state", 2**25, b"what"],
        [ToNode.PIECE, chat, "payload", 5, b"lar"],
        [ToNode.EXITED, ended, "trap", ""],
        [ToNode.PIECE, other, "state", 2**25, b"ever"],
        [ToNode.PIECE, chat, "payload", 5, b"ge"],
        [ToNode.WHOLE, chat, [ToNode.PUSH, chat, 7, 1, b""]],
        [ToNode.PUSH, chat, 7, 1, b"small"],
    )
    await worker.settled(chat)
    assert kernel.http.asked[:2] == [("push", CHAT, 7, 1, b"large"), ("push", CHAT, 7, 1, b"small")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "complaint"),
    [
        ([ToNode.PUSH, 999, 1, 0, b""], "which it was not given"),
        ([ToNode.PUSH, 1, 1, 9, b""], "malformed link frame"),
        ([ToNode.CONSUMED, 1, 1], "consumed of 0 sent"),
        ([ToNode.CONSUMED, 1, -1], "malformed link frame"),
        ([ToNode.EXITED, 1, "worker-lost", ""], "cause of an end"),
        ([ToNode.LOG, 1, "elsewhere", "info", ""], "malformed link frame"),
        ([ToNode.CALL, 1, 1, "format-disk", []], "malformed link frame"),
        ([ToNode.CALL, 1, 1, "set-state", ["text"]], "malformed link frame"),
        ([ToNode.READY, 99, 1], "version 99"),
        ([77], "Invalid value 77"),
        ([ToNode.PONG], "what nobody asked"),
        ([ToNode.AT_REST, 0, 0, False, None], "what nobody asked"),
        ([ToNode.PIECE, 1, "body", 1, b"xy"], "more than is missing"),
        ([ToNode.PIECE, 1, "body", 2**31, b""], "pieces of over"),
        ([ToNode.PIECE, 1, "name", 1, b"x"], "malformed link frame"),
        ([ToNode.PIECE, 999, "body", 1, b"x"], "which it was not given"),
        ([ToNode.WHOLE, 1, [4, 999, 7, 0, b""]], "of another"),
        ([ToNode.WHOLE, 1, [16, 1, [4, 1, 7, 0, b""]]], "malformed link frame"),
    ],
)
async def test_what_no_correct_worker_says_ends_that_worker_only(
    kernel: Any, operation: list[Any], complaint: str
) -> None:
    liar, worker = await kernel.worker(), await kernel.worker()
    assert kernel.process(liar, str(CHAT))[1] == 1
    _, other = kernel.process(worker, "other:other:b.os")
    await liar.say(operation)
    await liar.lost.wait()
    assert complaint in str(liar.fault)
    await worker.settled(other)


async def test_a_worker_speaks_only_for_its_own_runs(kernel: Any) -> None:
    liar, worker = await kernel.worker(), await kernel.worker()
    _, chat = kernel.process(worker, str(CHAT))
    await liar.say([ToNode.PUSH, chat, 1, 0, b"forged"])
    await liar.lost.wait()
    assert kernel.http.asked == []


async def test_a_worker_whose_calls_pile_up_for_one_run_is_ended(kernel: Any) -> None:
    """A guest makes one call at a time, so nothing that waits for an answer can pile up in the node."""
    worker = await kernel.worker()
    _, chat = kernel.process(worker, str(CHAT))
    waiting: list[Any] = []
    kernel.calls.later(AwaitRoom, lambda process, call, reply: waiting.append(reply))
    await worker.say(*([ToNode.CALL, chat, number, "await-room", [7, 1]] for number in range(64)))
    await worker.lost.wait()
    assert "makes a call while others of the same run wait" in str(worker.fault)
    assert len(waiting) == MAX_CALLS

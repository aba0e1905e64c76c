from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from tests.wire import ToNode, ToWorker

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.messages import IncomingHttpRequest, LazyLoadBlob, Request
from guesthouse.kernel.process.mailbox import MESSAGE_OVERHEAD
from guesthouse.link.schema import ExitRequest

CHAT, OTHER, FRIEND = "chat:chat:a.os", "other:other:b.os", "friend:chat:a.os"


def send(
    handle: int,
    target: str,
    body: bytes = b"hi",
    *,
    inherit: bool = False,
    expects: int | None = None,
    context: bytes | None = None,
    blob: bytes | None = None,
    await_id: int = 0,
    inherited_id: int = 0,
) -> list[Any]:
    mime = None if blob is None else "text/plain"
    return [
        ToNode.SEND,
        handle,
        target,
        body,
        inherit,
        expects,
        "{}",
        context,
        mime,
        blob,
        await_id,
        inherited_id,
    ]


def respond(handle: int, request_id: int, body: bytes) -> list[Any]:
    return [ToNode.RESPOND, handle, request_id, body, False, None, None, None]


async def test_a_request_arrives_with_the_source_that_the_kernel_stamped(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", blob=b"payload"))
    (heard,) = await worker.hear()
    assert heard == [
        ToWorker.REQUEST, other, 0, f"home.os@{CHAT}", b"hi", False, None, "{}", "text/plain", b"payload",
    ]  # fmt: skip


async def test_a_response_returns_to_the_sender_with_its_context(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", expects=5, context=b"mine"))
    (request,) = await worker.hear()
    await worker.say(respond(other, request[2], b"yes"))
    (heard,) = await worker.hear()
    assert heard == [ToWorker.RESPONSE, chat, f"home.os@{OTHER}", b"yes", False, None, b"mine", None, None, 0]


async def test_a_node_has_a_package_as_long_as_it_has_a_process_of_it(kernel: Any) -> None:
    worker = await kernel.worker()
    package = ProcessId.parse(CHAT).package_id
    assert not kernel.router.has_package(package)
    for process in [kernel.process(worker, f"{name}:{package}")[0] for name in ("one", "two")]:
        assert kernel.router.has_package(package)
        kernel.router.remove(process)
    assert not kernel.router.has_package(package)


async def test_only_the_first_response_counts(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", expects=5))
    (request,) = await worker.hear()
    await worker.say(respond(other, request[2], b"yes"), respond(other, request[2], b"no"))
    assert (await worker.hear())[0][3] == b"yes"
    await worker.settled(other)
    assert "came too late" in kernel.log


async def test_answering_a_request_of_others_ends_the_worker(kernel: Any) -> None:
    worker, liar = await kernel.worker(), await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    kernel.process(worker, OTHER)
    _, friend = kernel.process(liar, FRIEND)
    await worker.say(send(chat, f"home.os@{OTHER}", expects=5))
    (request,) = await worker.hear()
    await liar.say(respond(friend, request[2], b"forged"))
    await liar.lost.wait()
    assert "did not receive" in str(liar.fault)
    assert not worker.lost.is_set()


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("home.os@nobody:x:y", "no-such-process"),
        ("home.os@hidden:hidden:b.os", "not-authorised"),
        (f"far.os@{OTHER}", "offline"),
        ("not an address", "no-such-process"),
        ("home.os@" + "x" * 5000, "no-such-process"),
    ],
)
async def test_what_cannot_be_delivered_is_given_back_whole(kernel: Any, target: str, kind: str) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    kernel.process(worker, "hidden:hidden:b.os", public=False)
    await worker.say(send(chat, target, b"body", expects=9, context=b"ctx", blob=b"blob"))
    (heard,) = await worker.hear()
    missing = [[], ["home.os@hidden:hidden:b.os", '"messaging"']] if kind == "not-authorised" else []
    assert heard == [
        ToWorker.SEND_FAILURE, chat, kind, target, b"body", False, 9, "{}", b"ctx", "text/plain", b"blob", 0,
        *missing,
    ]  # fmt: skip


async def test_processes_of_one_package_reach_each_other_although_not_public(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    _, friend = kernel.process(worker, FRIEND, public=False)
    await worker.say(send(chat, f"home.os@{FRIEND}"))
    assert (await worker.hear())[0][:2] == [ToWorker.REQUEST, friend]


async def test_a_request_times_out_and_is_given_back(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    kernel.process(worker, OTHER)
    await worker.say(
        send(chat, f"home.os@{OTHER}", expects=3600), send(chat, f"home.os@{OTHER}", b"quick", expects=0)
    )
    await worker.hear(2)
    (heard,) = await worker.hear()
    assert heard[:5] == [ToWorker.SEND_FAILURE, chat, "timeout", f"home.os@{OTHER}", b"quick"]


async def test_requests_that_are_over_together_fail_a_few_in_each_turn(
    kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may have a hundred thousand."""
    kernel.process(await kernel.worker(), CHAT)
    monkeypatch.setattr(
        "guesthouse.kernel.messaging.request_tracker.perf_counter", count().__next__
    )  # all are slow
    failed: asyncio.Queue[Any] = asyncio.Queue()
    for _ in range(10):
        kernel.router.request(
            ProcessId.parse(CHAT), Request(b"", expects_response=0), None, failed.put_nowait
        )
    kernel.router._requests._expire()
    assert failed.qsize() == 1
    assert [await failed.get() for _ in range(10)] == ["timeout"] * 10


async def test_a_full_mailbox_refuses_requests_at_once(new_kernel: Callable[..., Any]) -> None:
    kernel = new_kernel(mailbox_bytes=1000)
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", bytes(1000)), send(chat, f"home.os@{OTHER}", b"more"))
    _, failure = await worker.hear(2)
    assert failure[2:5] == ["mailbox-full", f"home.os@{OTHER}", b"more"]


async def test_a_process_that_only_asks_and_never_receives_cannot_fill_the_node(
    new_kernel: Callable[..., Any],
) -> None:
    kernel = new_kernel(mailbox_bytes=1000)
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    for _ in range(100):
        await worker.say(send(chat, "home.os@nobody:x:y", bytes(500)))
    await worker.say([ToNode.CALL, chat, 1, "unbind-ws-path", ["/"]])
    while (await worker.hear())[0][0] != ToWorker.REPLY:
        pass
    assert process.mailbox.size < 3000
    assert "was dropped: its mailbox is twice over" in kernel.log


async def test_unanswered_requests_of_one_process_are_bounded(new_kernel: Callable[..., Any]) -> None:
    kernel = new_kernel(outstanding_bytes=2000)
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    kernel.process(worker, OTHER)
    for _ in range(4):
        await worker.say(send(chat, f"home.os@{OTHER}", bytes(500), expects=60))
    heard = await worker.hear(4)
    assert [operation[0] for operation in heard] == [ToWorker.REQUEST] * 2 + [ToWorker.SEND_FAILURE] * 2
    assert heard[-1][2] == "mailbox-full"


async def test_an_awaited_response_bypasses_the_mailbox(kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", expects=5, await_id=77))
    (request,) = await worker.hear()
    await worker.say(respond(other, request[2], b"yes"))
    (heard,) = await worker.hear()
    assert (heard[0], heard[1], heard[9]) == (ToWorker.RESPONSE, chat, 77)
    assert len(process.mailbox) == 0


async def test_awaiting_without_expecting_a_response_ends_the_worker(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    await worker.say(send(chat, f"home.os@{OTHER}", await_id=1))
    await worker.lost.wait()
    assert "expects no response" in str(worker.fault)


async def test_a_forwarded_request_is_answered_to_the_first_sender(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    _, third = kernel.process(worker, "third:third:c.os")
    await worker.say(send(chat, f"home.os@{OTHER}", expects=5, context=b"first"))
    (request,) = await worker.hear()
    await worker.say(send(other, "home.os@third:third:c.os", inherit=True, inherited_id=request[2]))
    (forwarded,) = await worker.hear()
    assert forwarded[1:4] == [third, request[2], f"home.os@{OTHER}"]
    await worker.say(respond(third, forwarded[2], b"from the third"))
    (heard,) = await worker.hear()
    assert heard[1:4] == [chat, "home.os@third:third:c.os", b"from the third"]
    assert heard[6] == b"first"


async def test_a_request_fails_at_once_when_who_took_it_ends(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    process, other = kernel.process(worker, OTHER)
    await worker.say(
        send(chat, f"home.os@{OTHER}", b"taken", expects=60),
        send(chat, f"home.os@{OTHER}", b"kept", expects=60),
    )
    await worker.hear(2)
    await worker.say([ToNode.CONSUMED, other, 1])
    await worker.settled(other)
    process.end_run()
    kernel.router.run_ended(process)
    (failure,) = await worker.hear()
    assert failure[1:5] == [chat, "no-such-process", f"home.os@{OTHER}", b"taken"]
    again = kernel.run(worker, process)
    (kept,) = await worker.hear()
    assert (kept[0], kept[1], kept[4]) == (ToWorker.REQUEST, again, b"kept")
    await worker.say(respond(again, kept[2], b"late but here"))
    assert (await worker.hear())[0][3] == b"late but here"


async def test_a_send_failure_is_told_to_the_run_that_sent_and_to_no_other(kernel: Any) -> None:
    worker = await kernel.worker()
    sender, chat = kernel.process(worker, CHAT)
    other, _ = kernel.process(worker, OTHER)
    answered, fails = (send(chat, f"home.os@{OTHER}", body, expects=60) for body in (b"answered", b"fails"))
    await worker.say(answered, fails, send(chat, "home.os@nobody:x:y", b"not taken"))
    request, _, not_taken = await worker.hear(3)
    assert (not_taken[0], not_taken[4]) == (ToWorker.SEND_FAILURE, b"not taken")
    sender.end_run()
    kernel.router.run_ended(sender)
    again = kernel.run(worker, sender)
    await worker.say(respond(request[1], request[2], b"response"))
    heard = (await worker.hear())[0]
    assert (heard[:2], heard[3]) == ([ToWorker.RESPONSE, again], b"response"), "and no failure before it"
    other.end()
    kernel.router.remove(other)
    await worker.settled(again)
    assert sender.mailbox.size == len(b"response") + MESSAGE_OVERHEAD
    await worker.say(send(again, f"home.os@{OTHER}", b"own"))
    assert (await worker.hear())[0][:5] == [
        ToWorker.SEND_FAILURE,
        again,
        "no-such-process",
        f"home.os@{OTHER}",
        b"own",
    ]


async def test_the_http_server_is_told_which_requests_wait_for_the_next_run(kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    for http_id in (7, 8, 9):
        request = IncomingHttpRequest("GET", "http://h/", "/")
        assert process.post_http(http_id, request, None, b"")
    await worker.hear(3)
    await worker.say([ToNode.CONSUMED, chat, 1])
    await worker.settled(chat)
    process.end_run()
    kernel.router.run_ended(process)
    assert kernel.http.asked[-1] == ("run_ended", process.id, [8, 9])


async def test_all_requests_to_a_process_that_is_removed_fail(kernel: Any) -> None:
    worker = await kernel.worker()
    _, chat = kernel.process(worker, CHAT)
    process, _ = kernel.process(worker, OTHER)
    await worker.say(send(chat, f"home.os@{OTHER}", expects=60))
    await worker.hear()
    process.end()
    kernel.router.remove(process)
    assert (await worker.hear())[0][1:3] == [chat, "no-such-process"]


async def test_requests_to_the_http_server_are_answered_when_wanted_and_when_they_fail(kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    server = "home.os@http_server:distro:sys"
    await worker.say(send(chat, server, b"silent", blob=b"x"))
    await worker.settled(chat)
    await worker.say(
        send(chat, server, b"asked", blob=b"x", expects=5, context=b"c"), send(chat, server, b"wrong")
    )
    good, bad = await worker.hear(2)
    source = "home.os@http-server:distro:sys"
    assert good[:7] == [ToWorker.RESPONSE, chat, source, b'{"Ok": null}', False, None, b"c"]
    assert bad[3] == b'{"Err":"NoBlob"}'
    requests = [asked for asked in kernel.http.asked if asked[0] == "request"]
    assert requests[0] == (
        "request",
        Address("home.os", process.id),
        b"silent",
        LazyLoadBlob("text/plain", b"x"),
    )


async def test_the_requests_left_for_the_end_are_sent(kernel: Any) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, CHAT)
    _, other = kernel.process(worker, OTHER)
    process.end()
    kernel.router.remove(process)
    kernel.router.send_on_exit(
        process,
        [
            ExitRequest(f"home.os@{OTHER}", b"goodbye", None, None, None),
            ExitRequest("nowhere", b"", 5, None, None),
        ],
    )
    (heard,) = await worker.hear()
    assert heard[1:5] == [other, 0, f"home.os@{CHAT}", b"goodbye"]

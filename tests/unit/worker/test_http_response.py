"""HTTP responses whose headers are over the limits: refused in words, while the process runs on."""

from __future__ import annotations

import pytest
from tests.wire import ToNode, ToWorker

from .guests import RECEIVE, RECEIVE_FOR_EVER, process
from .process import Worker

AT = 262_144
MANY = 150


def answering(name: int, value: int, count: int = 1) -> str:
    """A process that answers with so many headers, of names and values of that length."""
    filling = f"(memory.fill (i32.const {AT}) (i32.const 97) (i32.const 200000))"
    pairs = "".join(
        f"(i32.store (i32.const {8192 + 16 * number + 4 * place}) (i32.const {each}))"
        for number in range(count)
        for place, each in enumerate((AT, name, AT, value))
    )
    answer = f"""(call $send-http-response (i32.const 200) (i32.const 8192) (i32.const {count})
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"""
    grow = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))"
    body = f"{grow} {filling} {pairs} {RECEIVE} {answer} {RECEIVE_FOR_EVER}"
    return process(("messaging.receive", "http-server.send-http-response"), body)


@pytest.mark.parametrize(
    ("name", "value", "count", "said"),
    [
        (1, 100_000, 1, "the header 'a' has 100000 characters, over 8192"),
        (70_000, 1, 1, "the name of a header has 70000 characters, over 128"),
        (1, 1, MANY, f"it has {MANY} headers, over 128"),
        (1, 8192, 1, None),
    ],
)
def test_a_response_over_a_limit_on_headers_becomes_one_that_the_node_refuses(
    own_worker: Worker, name: int, value: int, count: int, said: str | None
) -> None:
    guest = own_worker.start(answering(name, value, count))
    guest.send(ToWorker.HTTP, 5, "GET", "/", "/", [], [], [], None, None, b"")
    if said is None:
        assert guest.expect(ToNode.HTTP_RESPONSE) == [5, 200, [["a", "a" * value]], None, b""]
    else:
        assert guest.expect(ToNode.HTTP_RESPONSE) == [5, 0, [], None, b""]
        assert f"the client gets 500 instead of an HTTP response: {said}" in guest.log()

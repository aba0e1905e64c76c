"""HTTP requests whose answer is the response of another process."""

from __future__ import annotations

import pytest

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import LazyLoadBlob, SendErrorKind
from guesthouse.core.ports import Answer
from guesthouse.core.responses import MAX_HEAD

from .conftest import CHAT, OTHER, House, Start
from .direct import BOTH_WAYS
from .test_http import asked, bind

pytestmark = [pytest.mark.usefixtures("directly"), BOTH_WAYS]


BAD = "the process gave an answer that HTTP does not allow\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        (Answer(b'{"status": 203, "headers": {"X-A": "b"}}', None, LazyLoadBlob("a/b", b"yes")), 203, "yes"),
        (Answer(b'{"status": 204}'), 204, ""),
        (Answer(b'{"status": 99}'), 500, BAD),
        (Answer(b'{"status": 200} '.ljust(MAX_HEAD + 1)), 500, BAD),
        (Answer(b"not json", None, LazyLoadBlob(None, b"x")), 500, BAD),
        (Answer(b'{"status": 200, "headers": ["a"]}'), 500, BAD),
        (Answer(b'{"status": 200, "headers": {"a": "\\ud800"}}'), 500, BAD),
        ("no-such-process", 503, "the process ended before it answered\n"),
    ],
)
async def test_a_request_that_was_handed_on_is_answered_by_the_response(
    house: House, response: Answer | SendErrorKind, status: int, body: str
) -> None:
    bind(house, "/")
    async with asked(house, "GET", "/") as (http_id, _, _, _, pending):
        request_id = house.server.hand_on_http(CHAT, http_id)
        assert house.server.hand_on_http(CHAT, http_id) == request_id, "once, however many take it"
        assert house.server.hand_on_http(OTHER, http_id) == house.server.hand_on_http(CHAT, 99) == 0
        house.server.process_gone(CHAT, "trap")
        assert not pending.done()
        house.router.expected[request_id](response)
        assert house.server.hand_on_http(CHAT, http_id) == 0
        house.router.expected[request_id](Answer(b'{"status": 200}'))
        answer = await pending
    assert (answer.status_code, answer.text) == (status, body)
    assert house.router.expected == {}


async def test_a_request_that_was_handed_on_has_the_time_of_any_other(start: Start) -> None:
    house: House = await start(ConnectionLimits(http_response_seconds=0.2))
    bind(house, "/")
    async with asked(house, "GET", "/") as (http_id, _, _, _, pending):
        request_id = house.server.hand_on_http(CHAT, http_id)
        house.router.expected[request_id]("timeout")
        assert (await pending).status_code == 408
    assert house.router.expected == {}


async def test_a_header_in_json_may_have_several_values(house: House) -> None:
    bind(house, "/")
    async with asked(house, "GET", "/") as (http_id, _, _, _, pending):
        request_id = house.server.hand_on_http(CHAT, http_id)
        head = b'{"status": 200, "headers": {"Set-Cookie": ["a=1", "b=2; Path=/"], "X-A": "1", "X-B": []}}'
        house.router.expected[request_id](Answer(head))
        answer = await pending
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2; Path=/"]
    assert answer.headers["x-a"] == "1"
    assert "x-b" not in answer.headers

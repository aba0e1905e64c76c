"""What many clients cause at once waits for its turn, and leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server.http_connection import HttpConnection
from guesthouse.http_server.state.fair_queue import AT_ONCE, SLICE_SECONDS, FairQueue
from guesthouse.http_server.state.timer_wheel import NEVER, TimerWheel
from guesthouse.http_server.websocket.connection import WebSocketConnection
from guesthouse.link.calls import BindWsPath

from .conftest import House, masked, until, upgrade_request


@dataclass
class Loop:
    """Calls soon what it is told to, a turn after another; its clock goes as work says."""

    soon: deque[Callable[[], None]] = field(default_factory=deque)
    now: float = 0.0

    def turn(self) -> None:
        for _ in range(len(self.soon)):
            self.soon.popleft()()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def turns(loop: Loop) -> FairQueue:
    return FairQueue(loop.soon.append, lambda: loop.now)


def test_little_work_is_done_at_once(loop: Loop, turns: FairQueue) -> None:
    done: list[int] = []
    for _ in range(3):
        turns.run(lambda: done.append(1))
        assert done.pop() == 1
        loop.turn()
    assert not turns
    loop.turn()
    assert not loop.soon


def test_much_work_waits_in_order_and_a_turn_does_no_more_than_a_slice(loop: Loop, turns: FairQueue) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        loop.now += SLICE_SECONDS / 2

    for number in range(100):
        turns.run(lambda number=number: work(number))  # type: ignore[misc] # a lambda's default has no type
    assert done == list(range(AT_ONCE))
    for _ in range(10):
        before = len(done)
        loop.turn()
        assert len(done) == before + 2
    while turns:
        loop.turn()
    assert done == list(range(100))


def test_what_comes_while_others_wait_is_behind_them(loop: Loop, turns: FairQueue) -> None:
    done: list[str] = []
    turns.add(lambda: done.append("first"))
    assert not turns.take()
    turns.run(lambda: done.append("second"))
    loop.turn()
    assert done == ["first", "second"]
    assert turns.take()


def test_work_that_fails_holds_up_no_other(loop: Loop, turns: FairQueue) -> None:
    done: list[str] = []

    def fail() -> None:
        raise ValueError("a defect")

    turns.add(fail)
    turns.add(lambda: done.append("next"))
    with pytest.raises(ValueError, match="a defect"):
        loop.turn()
    loop.turn()
    assert done == ["next"]


@dataclass(eq=False)
class Item:
    due: float = NEVER

    def on_deadline(self, now: float) -> float:
        return NEVER


def test_items_without_a_deadline_are_not_kept_until_it_would_have_come() -> None:
    deadlines, kept = TimerWheel(), Item()
    deadlines.set(kept, 1000)
    gone = []
    for number in range(5000):
        item = Item()
        deadlines.set(item, 500 + number % 7)
        deadlines.set(item, NEVER)
        gone.append(weakref.ref(item))
    del item
    assert len(deadlines) == 1
    assert not any(each() is not None for each in gone)
    deadlines.run(999)
    assert kept.due == 1000


@pytest.mark.slow
async def test_a_flood_in_one_read_is_delivered_whole_and_in_order_with_others_in_between(
    house: House,
) -> None:
    async with house.raw_channel() as (_, flooder, flooding), house.raw() as (reader, writer):
        await house.upgraded(f"/{house.chat.id}/", reader, writer)
        other = (await house.chat.opened()).channel_id
        numbers = [b"%d" % number for number in range(20_000)]
        flooder.write(b"".join(masked(0x81, number) for number in numbers))
        assert (await house.chat.next())[1] == flooding
        writer.write(masked(0x81, b"me too"))
        heard = [b"0"]
        place = 0
        while len(heard) < len(numbers):
            _, channel, kind, payload = await house.chat.next()
            assert kind == WsMessageType.TEXT
            if channel == other:
                place = len(heard)
            else:
                heard.append(payload)
        assert heard == numbers
        assert 0 < place < len(numbers)


def connections() -> int:
    return sum(type(each) in (WebSocketConnection, HttpConnection) for each in gc.get_objects())


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/chat:chat:guesthouse.os/", "/nobody:at:home.os/"])
async def test_a_connection_that_is_over_is_freed_without_a_collection(house: House, path: str) -> None:
    house.server.bind_ws_path(house.chat.id, BindWsPath("/", authenticated=False))
    context = house.server._context
    gc.collect()
    gc.disable()
    try:
        async with house.raw() as (reader, writer):
            writer.write(upgrade_request(path, house.server.port))
            await reader.readuntil(b"\r\n\r\n")
            assert connections() == 1
            writer.write(masked(0x89, b"ping") + masked(0x81, b"text"))
        await until(lambda: not context.connections)
        house.chat.feeders.clear()
        await until(lambda: connections() == 0)
    finally:
        gc.enable()

"""Rooms: the pure table against a model, and `Rooms` in a process on the fake host."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
from guesthouse_sdk import Channel, ChannelFull, ChannelNotFound, Process, _wit, bind_ws_path
from guesthouse_sdk._room_table import ChangeQueue, RoomTable
from guesthouse_sdk.rooms import (
    MAX_NAME,
    Member,
    PresenceChange,
    RoomError,
    RoomFull,
    RoomLimits,
    Rooms,
    TooManyJoined,
    TooManyRooms,
)
from guesthouse_sdk.testing import FakeChannel, FakeHost, FakeLimits
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.sampled_from(["red", "green", "blue"])
CHANNELS = st.integers(0, 4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), NAMES, CHANNELS, st.integers(0, 1)),
        st.tuples(st.just("leave"), NAMES, CHANNELS),
        st.tuples(st.just("close"), CHANNELS),
    ),
    max_size=60,
)


def channel(number: int) -> Channel:
    """A table only asks of a channel that it can be a key."""
    return cast("Channel", number)


@given(STEPS)
def test_what_changed_adds_up_to_who_is_there(steps: list[tuple[Any, ...]]) -> None:
    table = RoomTable(RoomLimits(rooms=2, members=3, joined=2))
    rooms: dict[str, dict[Channel, int]] = {}

    def joined(who: Channel) -> set[str]:
        return {name for name, members in rooms.items() if who in members}

    def follow(changes: list[PresenceChange]) -> None:
        for change in changes:
            there = rooms.setdefault(change.room, {})
            for member in change.joined:
                assert member.channel not in there
                there[member.channel] = member.info
            for before, after in change.updated:
                assert there[before.channel] == before.info != after.info
                there[after.channel] = after.info
            for member in change.left:
                assert there.pop(member.channel) == member.info
            if not there:
                del rooms[change.room]

    for step in steps:
        if step[0] == "join":
            name, who, info = step[1], channel(step[2]), step[3]
            over: tuple[type[RoomError], ...] = ()
            if name not in joined(who):
                over += (TooManyRooms,) if name not in rooms and len(rooms) == 2 else ()
                over += (RoomFull,) if len(rooms.get(name, {})) == 3 else ()
                over += (TooManyJoined,) if len(joined(who)) == 2 else ()
            if over:
                with pytest.raises(over):
                    table.join(name, who, info)
                continue
            change = table.join(name, who, info)
            follow([] if change is None else [change])
            assert rooms[name][who] == info
        elif step[0] == "leave":
            change = table.leave(step[1], channel(step[2]))
            follow([] if change is None else [change])
            assert step[1] not in joined(channel(step[2]))
        else:
            follow(table.leave_all(channel(step[1])))
            assert not joined(channel(step[1]))
        assert set(table.names()) == set(rooms)
        for name in rooms:
            assert [(m.channel, m.info) for m in table.members(name)] == list(rooms[name].items())
        for number in range(5):
            assert set(table.joined(channel(number))) == joined(channel(number))


@given(st.lists(st.tuples(NAMES, st.sampled_from(["joined", "left"]), CHANNELS)))
def test_changes_are_taken_in_order_and_those_who_leave_in_a_row_together(
    steps: list[tuple[str, str, int]],
) -> None:
    queue = ChangeQueue()
    for name, kind, number in steps:
        members = (Member(channel(number)),)
        queue.add(
            PresenceChange(name, joined=members) if kind == "joined" else PresenceChange(name, left=members)
        )
    taken: list[PresenceChange] = []
    while (change := queue.take()) is not None:
        taken.append(change)
    for name in ("red", "green", "blue"):
        mine = [change for change in taken if change.room == name]
        assert [
            (kind, member.channel)
            for change in mine
            for kind, members in (("joined", change.joined), ("left", change.left))
            for member in members
        ] == [(kind, channel(number)) for room, kind, number in steps if room == name]
        assert not any(one.left and other.left for one, other in pairwise(mine))


def test_a_change_that_is_added_while_others_are_taken_comes_after_them() -> None:
    queue = ChangeQueue()
    one, two = Member(channel(1)), Member(channel(2))
    queue.add(PresenceChange("red", joined=(one,)))
    queue.add(PresenceChange("red", left=(one,)))
    assert queue.take() == PresenceChange("red", joined=(one,))
    queue.add(PresenceChange("red", left=(two,)))
    assert queue.take() == PresenceChange("red", left=(one, two))
    assert queue.take() is None


class Hall(Process):
    """Everyone is in one room. `on` is what a client's message does."""

    latest: Hall
    limits: RoomLimits | None = None

    def __init__(self) -> None:
        Hall.latest = self
        self.rooms = Rooms(self, self.on_presence, self.limits)
        self.on: Callable[[Channel, str | bytes], object] = lambda channel, message: None
        self.changes: list[PresenceChange] = []
        self.closed: list[tuple[int, list[str]]] = []

    def on_start(self) -> None:
        bind_ws_path("/", authenticated=False)

    def on_open(self, channel: Channel) -> None:
        self.rooms.join("hall", channel, channel.id)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        self.on(channel, message)

    def on_close(self, channel: Channel) -> None:
        self.closed.append((channel.id, self.rooms.joined(channel)))

    def on_presence(self, change: PresenceChange) -> None:
        self.changes.append(change)

    def left(self) -> list[list[object]]:
        return [[member.info for member in change.left] for change in self.changes if change.left]

    def there(self) -> list[object]:
        return [member.info for member in self.rooms.members("hall")]


def opened(host: FakeHost, count: int) -> list[FakeChannel]:
    channels = [host.open() for _ in range(count)]
    host.run(Hall)
    return channels


def do(host: FakeHost, at: FakeChannel, action: Callable[[Hall, Channel], object]) -> list[object]:
    """Have the process do something when a message of that client comes. Returns what it returned or raised."""
    results: list[object] = []

    def on(channel: Channel, message: str | bytes) -> None:
        try:
            results.append(action(Hall.latest, channel))
        except Exception as error:
            results.append(error)

    Hall.latest.on = on
    at.send_text("now")
    host.run()
    return results


def test_a_broadcast_reaches_the_room_but_those_left_out_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[int]] = []
    push = _wit.http_server.send_ws_text_many
    with FakeHost() as host:
        one, two, three = opened(host, 3)
        do(host, three, lambda hall, channel: hall.rooms.leave("hall", channel))

        def counted(ids: list[int], text: str) -> Any:
            calls.append(ids)
            return push(ids, text)

        monkeypatch.setattr(_wit.http_server, "send_ws_text_many", counted)
        assert do(host, one, lambda hall, channel: hall.rooms.broadcast("hall", "hi", but=[channel])) == [{}]
        assert (one.received, two.received, three.received) == ([], ["hi"], [])
        assert do(host, one, lambda hall, channel: hall.rooms.broadcast("nowhere", "hi")) == [{}]
        assert calls == [[two.id]]


def test_a_channel_leaves_its_rooms_when_either_end_closes_it() -> None:
    with FakeHost() as host:
        one, two, three, four = opened(host, 4)
        two.close()
        host.run()
        assert Hall.latest.closed == [(two.id, [])]
        do(host, three, lambda hall, channel: channel.close())
        do(host, four, lambda hall, channel: hall.rooms.close([channel], 4000, "bye"))
        assert four.closed == (4000, "bye")
        assert Hall.latest.left() == [[two.id], [three.id], [four.id]]
        assert Hall.latest.there() == [one.id]
        assert Hall.latest.rooms.names() == ["hall"]


def test_a_closed_channel_cannot_join() -> None:
    def close_and_join(hall: Hall, channel: Channel) -> None:
        channel.close()
        hall.rooms.join("hall", channel)

    with FakeHost() as host:
        one, two = opened(host, 2)
        (error,) = do(host, one, close_and_join)
        assert isinstance(error, ChannelNotFound)
        assert Hall.latest.there() == [two.id]


def test_joining_again_replaces_the_info_and_says_so() -> None:
    with FakeHost() as host:
        (one,) = opened(host, 1)
        Hall.latest.changes.clear()
        assert do(host, one, lambda hall, channel: hall.rooms.join("hall", channel, "Ada")) == [False]
        assert do(host, one, lambda hall, channel: hall.rooms.join("hall", channel, "Ada")) == [False]
        assert [
            [(before.info, after.info) for before, after in change.updated] for change in Hall.latest.changes
        ] == [[(one.id, "Ada")]]
        (member,) = do(host, one, lambda hall, channel: hall.rooms.member("hall", channel))
        assert isinstance(member, Member)
        assert member.info == "Ada"


def test_a_process_that_is_restarted_has_those_in_its_rooms_who_are_still_there() -> None:
    with FakeHost() as host:
        one, two, three = opened(host, 3)
        two.close()
        host.restart()
        assert [change.room for change in Hall.latest.changes if change.joined] == ["hall"] * 3
        assert Hall.latest.left() == [[two.id]]
        assert Hall.latest.there() == [one.id, three.id]


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        (RoomLimits(rooms=2), TooManyRooms),
        (RoomLimits(joined=2), TooManyJoined),
        (RoomLimits(rooms=9, members=1), RoomFull),
    ],
)
def test_what_is_over_a_limit_is_refused_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, limits: RoomLimits, error: type[RoomError]
) -> None:
    monkeypatch.setattr(Hall, "limits", limits)
    monkeypatch.setattr(Hall, "on_open", lambda self, channel: None)

    def fill(hall: Hall, channel: Channel) -> None:
        first, second = sorted(hall.channels, key=lambda each: each.id)
        for room, who in (("a", first), ("b", first), ("b", second), ("c", first)):
            hall.rooms.join(room, who)

    with FakeHost() as host:
        one, _ = opened(host, 2)
        (result,) = do(host, one, fill)
        assert isinstance(result, error)
        assert str(limits.members if error is RoomFull else 2) in str(result)
        assert "c" not in Hall.latest.rooms.names()
        assert len(Hall.latest.rooms.members("b")) == (1 if error is RoomFull else 2)


def test_names_of_rooms_have_a_limit() -> None:
    with FakeHost() as host:
        (one,) = opened(host, 1)
        for name in ("", "x" * (MAX_NAME + 1)):
            (result,) = do(host, one, lambda hall, channel, name=name: hall.rooms.join(name, channel))  # type: ignore[misc]
            assert isinstance(result, ValueError)
        assert do(host, one, lambda hall, channel: hall.rooms.join("x" * MAX_NAME, channel)) == [True]


class Strict(Hall):
    """Tells the room who left, and closes who is too slow for that."""

    def on_presence(self, change: PresenceChange) -> None:
        super().on_presence(change)
        if change.left:
            self.drop(self.rooms.broadcast(change.room, json.dumps({"left": len(change.left)})))

    def drop(self, refused: dict[Channel, Any]) -> None:
        assert all(isinstance(error, ChannelFull) for error in refused.values())
        self.rooms.close(refused, 1013, "too slow")


def test_as_many_slow_clients_as_there_are_leave_together_without_recursion() -> None:
    """Each that leaves is told to those who are left, of whom the next is too slow for that."""
    with FakeHost(limits=FakeLimits(outbox_bytes=200)) as host:
        reader = host.open()
        host.run(Strict)
        slow = [host.open() for _ in range(sys.getrecursionlimit())]
        host.run()
        for each in slow:
            each.stop_reading()
        Hall.latest.changes.clear()

        def until_full(hall: Hall, channel: Channel) -> None:
            assert isinstance(hall, Strict)
            while not (refused := hall.rooms.broadcast("hall", "x" * 100)):
                pass
            assert len(refused) == len(slow)
            next(iter(refused)).close()  # whose end nobody else can be told

        assert do(host, reader, until_full) == [None]
        assert not host.log
        assert Hall.latest.left() == [[slow[0].id], [each.id for each in slow[1:]]]
        assert Hall.latest.there() == [reader.id]
        assert [json.loads(str(m)) for m in reader.received[-2:]] == [{"left": 1}, {"left": len(slow) - 1}]
        assert slow[-1].closed == (1013, "too slow")


class Faulty(Hall):
    def on_presence(self, change: PresenceChange) -> None:
        super().on_presence(change)
        raise KeyError("no such person")


def test_an_exception_in_on_change_is_logged_and_costs_nothing_else() -> None:
    with FakeHost() as host:
        one = host.open()
        host.run(Faulty)
        one.close()
        host.run()
        assert [line.text.splitlines()[0] for line in host.log] == ["on_change failed"] * 2
        assert Hall.latest.left() == [[one.id]]
        assert Hall.latest.closed == [(one.id, [])]

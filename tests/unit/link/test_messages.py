"""What each message looks like on the wire, and that nothing else is taken for one."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import wire
from tests.wire import Call, ToNode, ToWorker, frame

from guesthouse.core.capabilities import MOST_NAMED
from guesthouse.link import calls, to_node
from guesthouse.link.frames import LinkError, checked, encode, from_node, from_worker
from guesthouse.link.schema import (
    MOST_CHANNELS,
    MOST_HEADERS,
    MOST_ON_EXIT,
    MOST_RUNS,
)
from guesthouse.link.to_worker import ToWorker as AnyToWorker

USED: list[Any] = [0.5, 4096, 0.5, 0.5, 1, 1, 0.0, 1]
CALLS: list[tuple[str, list[Any]]] = [
    (Call.GET_STATE, []),
    (Call.SET_STATE, [b"x"]),
    (Call.CLEAR_STATE, []),
    (Call.BIND_WS, ["/", True, False, False, ["v1"]]),
    (Call.UNBIND_WS, ["/"]),
    (Call.BIND_HTTP, ["/", True, False, False, 5, "m", b"x"]),
    (Call.UNBIND_HTTP, ["/"]),
    (Call.SERVE_UI, ["/", True, False, False]),
    (Call.SET_CHANNEL_POLICY, [7, "wait"]),
    (Call.AWAIT_ROOM, [7, 100]),
    (Call.SAVE_CAPABILITIES, [[["n@p:k:g", "1"]]]),
    (Call.DROP_CAPABILITIES, [[]]),
    (Call.OUR_CAPABILITIES, []),
    (Call.SPAWN, [None, "/a.wasm", "none", [], [["a:b:c", "1"]], False]),
]
GOOD: list[list[Any]] = [
    [ToNode.READY, 1, 4242],
    [ToNode.STARTED, 1],
    [ToNode.EXITED, 1, "trap", "unreachable"],
    [ToNode.CONSUMED, 1, 3, True],
    [ToNode.PUSH, 1, 7, 0, b"x"],
    [ToNode.PUSH_MANY, 1, [7, 8], 1, b"x"],
    [ToNode.CLOSE_CHANNEL, 1, 7, 1000, "bye"],
    [ToNode.HTTP_RESPONSE, 1, 2, 200, [["a", "b"]], None, b""],
    [ToNode.SEND, 1, "n@p:k:g", b"", False, None, None, None, None, None, 0, 0],
    [ToNode.SEND, 1, "n@p:k:g", b"", True, 5, "{}", b"c", "m", b"b", 1, -2, [["n@p:k:g", "1"]]],
    [ToNode.RESPOND, 1, 2, b"", False, None, None, None],
    *([ToNode.CALL, 1, 2, *call] for call in CALLS),
    [ToNode.ON_EXIT, 1, "restart"],
    [ToNode.ON_EXIT, 1, [["n@p:k:g", b"", None, None, None]]],
    [ToNode.LOG, 1, "print", "info", "hi"],
    [ToNode.USAGE, {1: USED}],
    [ToNode.PONG],
    [ToNode.PIECE, 1, "body", 5, b"x"],
    [ToNode.WHOLE, 1, [7, 1, 2, 200, [["a", "b"]], None, b""]],
    [ToNode.AT_REST, 1, 2, False, None],
    [ToNode.LOG, 1, "print", "info", "hi", 7, 3],
    [ToNode.TRACED_PUSH, 1, 7, 0, b"x", 3, 2**64 - 1],
    [ToNode.TRACED_PUSH_MANY, 1, [7], 0, b"x", 3, 4],
    [ToNode.TRACED_HTTP_RESPONSE, 1, 2, 200, [["a", "b"]], None, b"", 3, 4],
    [ToNode.TRACED_SEND, 1, "n", b"", False, None, None, None, None, None, 0, 0, [], 3, 4],
    [ToNode.TRACED_RESPOND, 1, 2, b"", False, None, None, None, [], 3, 4],
    [
        *(ToNode.TRACE_REPORT, 1, 3, 10, 20, 0.5),
        [["a", 1], ["b", "x"], ["c", True], ["d", 0.5]],
        [["an event", 11, []]],
        [["guest", 5, 4, "a span", 11, 12, [["a", 1]], [["e", 11, []]], "it failed"]],
        *(2, None),
    ],
    [ToNode.WHOLE, 1, [20, 1, 2, 200, [["a", "b"]], None, b"", 3, 4]],
    [ToNode.PLACED, [4, 1, 7, 0, b""], 4096, 70_000],
    [ToNode.PLACED, [20, 1, 2, 200, [["a", "b"]], None, b"", 3, 4], 0, 2**32 - 1],
    [ToNode.RELEASED, 3],
]
NAMES = [f"{message[0].name}-{number}" for number, message in enumerate(GOOD)]
NEEDED = {
    ToNode.CONSUMED: 2,
    ToNode.SEND: 3,
    ToNode.RESPOND: 3,
    ToNode.LOG: 4,
    ToNode.TRACED_SEND: 3,
    ToNode.TRACED_RESPOND: 3,
    ToNode.TRACED_PUSH: 4,
    ToNode.TRACED_PUSH_MANY: 4,
    ToNode.TRACED_HTTP_RESPONSE: 6,
}
"""How many fields a message has at least; others have all."""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9), inner, max_size=2),
    max_leaves=6,
)
FOREIGN: list[Any] = [
    {},
    {1: 2},
    1.5,
    -1,
    True,
    "\0",
    [1, [2]],
    [[[]]],
    msgspec.msgpack.Ext(5, b"x"),
    2**64 - 1,
]
LIMITS: list[tuple[int, list[Any]]] = [
    (MOST_CHANNELS, [ToNode.PUSH_MANY, 1, [7], 1, b"x"]),
    (MOST_HEADERS, [ToNode.HTTP_RESPONSE, 1, 2, 200, [["a", "b"]], None, b""]),
    (MOST_NAMED, [ToNode.SEND, 1, "n", b"", False, None, None, None, None, None, 0, 0, [["n", "1"]]]),
    (MOST_NAMED, [ToNode.CALL, 1, 2, Call.SAVE_CAPABILITIES, [[["n", "1"]]]]),
    (MOST_NAMED, [ToNode.CALL, 1, 2, Call.SPAWN, [None, "/", "none", [], [["n", "1"]], False]]),
    (MOST_ON_EXIT, [ToNode.ON_EXIT, 1, [["n@p:k:g", b"", None, None, None]]]),
]


def read(body: Any) -> list[to_node.ToNode]:
    return list(from_worker().feed(frame(msgspec.msgpack.encode(body))))


def written(message: list[Any]) -> list[Any]:
    """As it is on the wire."""
    (body,) = msgspec.msgpack.decode(wire.to_node(message)[4:])
    assert isinstance(body, list)
    return body


@pytest.mark.parametrize("message", GOOD, ids=NAMES)
def test_what_a_correct_worker_says_is_read_and_written_as_the_same(message: list[Any]) -> None:
    (made,) = from_worker().feed(wire.to_node(message))
    assert list(from_worker().feed(encode([made]))) == [made]
    assert list(wire.FrameReader(of_worker=True, whole=False).feed(encode([made]))) == [message]
    assert list(from_worker().feed(encode([checked(made)]))) == [made]


def test_every_message_to_the_node_and_every_call_is_among_them() -> None:
    assert {message[0] for message in GOOD} == set(ToNode)
    tags = [kind.__struct_config__.tag for kind in get_args(to_node.ToNode)]
    assert sorted(tags) == sorted(ToNode)
    assert {name for name, _ in CALLS} == {kind.__struct_config__.tag for kind in get_args(calls.Call)}
    assert sorted(kind.__struct_config__.tag for kind in get_args(AnyToWorker)) == sorted(ToWorker)


def test_a_message_is_frozen() -> None:
    (made,) = from_worker().feed(wire.to_node([ToNode.STARTED, 1]))
    with pytest.raises(AttributeError):
        made.handle = 2  # type: ignore[union-attr, misc] # that is the point


@pytest.mark.slow
@given(st.lists(VALUES, max_size=12), st.integers(-5, 30))
def test_anything_else_is_a_link_error_and_never_another(fields: list[Any], code: int) -> None:
    complaint = ""
    try:
        read([[code, *fields]])
    except LinkError as error:
        complaint = str(error)
    assert complaint or code in set(ToNode)
    assert len(complaint) < 300
    assert "\n" not in complaint


@pytest.mark.parametrize("message", [one for one in GOOD if len(one) > 1], ids=lambda one: one[0].name)
def test_a_field_of_a_foreign_type_a_missing_and_a_further_one_are_refused(message: list[Any]) -> None:
    fields = written(message)
    for place in range(1, len(fields)):
        for foreign in FOREIGN:
            broken = [*fields[:place], foreign, *fields[place + 1 :]]
            try:
                (made,) = read([broken])
            except LinkError:
                continue
            taken = msgspec.msgpack.decode(encode([made])[4:])[0]
            assert taken[: len(broken)] == broken, "it was taken for what it is not"
    with pytest.raises(LinkError):
        read([[*fields, None]] if len(fields) > 12 else [fields + [None] * 13])
    with pytest.raises(LinkError):
        read([fields[: NEEDED.get(ToNode(fields[0]), len(fields) - 1)]])


@pytest.mark.parametrize(("most", "message"), LIMITS, ids=lambda value: str(value)[:40])
def test_a_list_has_so_many_items_and_no_more(most: int, message: list[Any]) -> None:
    def grown(value: Any, count: int) -> Any:
        """The message with its one list of one item grown."""
        if isinstance(value, list) and len(value) == 1 and value[0] not in ("none",):
            return value * count
        return [grown(item, count) for item in value] if isinstance(value, list) else value

    fields = written(message)
    assert read([grown(fields, most)])
    with pytest.raises(LinkError, match=f"length <= {most}"):
        read([grown(fields, most + 1)])


def test_a_usage_report_is_of_so_many_runs() -> None:
    assert read([[ToNode.USAGE, [[1, USED]] * MOST_RUNS]])
    with pytest.raises(LinkError):
        read([[ToNode.USAGE, [[1, USED]] * (MOST_RUNS + 1)]])


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 2.0**64])
def test_times_are_times(seconds: float) -> None:
    with pytest.raises(LinkError):
        read([[ToNode.USAGE, [[1, [seconds, *USED[1:]]]]]])


@pytest.mark.parametrize("text", ["\ud800", "x\udfff"])
def test_half_a_surrogate_pair_is_refused_where_a_message_is_made(text: str) -> None:
    with pytest.raises(LinkError, match="surrogates"):
        checked(to_node.LogLine(1, "print", "info", text))
    with pytest.raises(LinkError, match="surrogates"):
        checked(to_node.Send(1, "n@p:k:g", b"", metadata=text))


def test_what_the_node_says_is_read_and_written_as_the_same() -> None:
    said: list[list[Any]] = [
        [ToWorker.CONFIGURE, 2, {}],
        [ToWorker.STOP, 1, "why"],
        [ToWorker.OPEN, 1, 7, "/", None, None, [["a", "b"]], [], False, 10, "/", None],
        [ToWorker.OPEN, 1, 8, "/", None, None, [], [], False, 10, "/", None, '{"user":1}'],
        [ToWorker.PUSH, 1, 7, 0, b"x"],
        [ToWorker.CLOSE, 1, 7],
        [ToWorker.HTTP, 1, 2, "GET", "/", "/", [["a", "b"]], [], [], None, None, b""],
        [ToWorker.HTTP, 1, 3, "GET", "/", "/", [], [], [], None, None, b"", '{"user":1}'],
        [ToWorker.REQUEST, 1, 5, "n@p:k:g", b"", False, None, None, None, None, [["n@p:k:g", "1"]]],
        [ToWorker.RESPONSE, 1, "n@p:k:g", b"", False, None, None, None, None, 0],
        [ToWorker.SEND_FAILURE, 1, "timeout", "n@p:k:g", b"", False, 5, None, None, None, None, 0],
        *([ToWorker.REPLY, 1, 2, value] for value in (None, "storage", b"x", [], [["n", "1"]], ["a:b:c"])),
        [ToWorker.REPLY, 1, 2, ["not-authorised", "n@p:k:g", "1"]],
        [ToWorker.CREDIT, 7, 5],
        [ToWorker.CHANNEL_GONE, 7],
        [ToWorker.PING],
        [ToWorker.FINISH, 1, "why"],
        [ToWorker.PIECE, 1, "body", 5, b"x"],
        [ToWorker.WHOLE, 1, [4, 1, 7, 0, b""]],
    ]
    for message in said:
        (made,) = from_node().feed(wire.to_worker(message))
        assert list(from_node().feed(encode([made]))) == [made]
        again = list(wire.FrameReader(of_worker=False, whole=False).feed(encode([made])))
        assert again == [message[:2] if message[0] == ToWorker.CONFIGURE else message]

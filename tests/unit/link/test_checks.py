from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.link.checks import check, check_call
from guesthouse.link.frames import LinkError
from guesthouse.link.ops import Call, ToNode

GOOD: list[list[Any]] = [
    [ToNode.READY, 1, 4242],
    [ToNode.STARTED, 1],
    [ToNode.EXITED, 1, "trap", "unreachable"],
    [ToNode.CONSUMED, 1, 3],
    [ToNode.PUSH, 1, 7, 0, b"x"],
    [ToNode.PUSH_MANY, 1, [7, 8], 1, b"x"],
    [ToNode.CLOSE_CHANNEL, 1, 7, 1000, "bye"],
    [ToNode.HTTP_RESPONSE, 1, 2, 200, [["a", "b"]], None, b""],
    [ToNode.SEND, 1, "n@p:k:g", b"", False, None, None, None, None, None, 0, 0],
    [ToNode.SEND, 1, "n@p:k:g", b"", True, 5, "{}", b"c", "m", b"b", 1, 2],
    [ToNode.RESPOND, 1, 2, b"", False, None, None, None],
    [ToNode.CALL, 1, 2, "get-state", []],
    [ToNode.ON_EXIT, 1, "restart"],
    [ToNode.ON_EXIT, 1, [["n@p:k:g", b"", None, None, None]]],
    [ToNode.LOG, 1, "print", "info", "hi"],
    [ToNode.USAGE, {1: [0.5, 4096, 0.5, 0.5, 1, 1, 0, 1]}],
    [ToNode.PONG],
]
WITH_FIELDS = [operation for operation in GOOD if len(operation) > 1]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize("operation", GOOD, ids=lambda operation: operation[0].name)
def test_what_a_correct_worker_says_passes(operation: list[Any]) -> None:
    check([int(operation[0]), *operation[1:]])


def test_every_operation_to_the_node_is_checked() -> None:
    assert {operation[0] for operation in GOOD} == set(ToNode)


@given(st.lists(VALUES, max_size=12), st.integers(-5, 30))
def test_anything_else_is_a_link_error_and_never_another(fields: list[Any], code: int) -> None:
    try:
        check([code, *fields])
    except LinkError:
        return
    assert code in set(ToNode)


@given(st.sampled_from(WITH_FIELDS), st.data())
def test_one_field_of_a_foreign_type_is_refused(operation: list[Any], data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(operation) - 1))
    broken = [int(operation[0]), *operation[1:]]
    broken[place] = object()
    with pytest.raises(LinkError, match="malformed"):
        check(broken)


@pytest.mark.parametrize("operation", WITH_FIELDS, ids=lambda operation: operation[0].name)
def test_a_missing_field_is_refused(operation: list[Any]) -> None:
    with pytest.raises(LinkError, match="malformed"):
        check([int(operation[0]), *operation[1:-1]])


def test_every_call_is_known_and_its_arguments_are_checked() -> None:
    names = {value for name, value in vars(Call).items() if name.isupper()}
    for name in names:
        with pytest.raises(LinkError, match="malformed call"):
            check_call(name, [object()] * 9)
    with pytest.raises(LinkError, match="does not exist"):
        check_call("format-disk", [])

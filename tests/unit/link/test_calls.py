"""The one table of what carries out host calls, and calls that go to the node as guests make them."""

from __future__ import annotations

from typing import Any

import pytest

from guesthouse.core.address import ProcessId
from guesthouse.link.calls import (
    CALLS,
    AwaitRoom,
    BindHttpPath,
    BindWsPath,
    CallHandlers,
    HostCall,
    Outcome,
    ServeUi,
    UnbindWsPath,
)
from guesthouse.worker.calls import by_node

CHAT = ProcessId.parse("chat:chat:a.os")


class Owner:
    id = CHAT


def test_a_call_is_carried_out_by_what_was_named_for_it_now_or_later() -> None:
    calls = CallHandlers()
    done: list[Any] = []
    replies: list[Outcome] = []

    def unbind(owner: ProcessId, call: UnbindWsPath) -> Outcome:
        done.append((owner, call))
        return "bad-path"

    calls.at_once(UnbindWsPath, unbind)
    calls.later(AwaitRoom, lambda process, call, reply: done.append((process, call, reply)))
    calls.carry_out(Owner, UnbindWsPath("/a"), replies.append)
    calls.carry_out(Owner, AwaitRoom(1, 2), replies.append)
    assert done == [(CHAT, UnbindWsPath("/a")), (Owner, AwaitRoom(1, 2), replies.append)]
    assert replies == ["bad-path"]


@pytest.mark.parametrize("missing", CALLS)
def test_a_node_does_not_start_without_a_handler_for_each_call(missing: type[HostCall]) -> None:
    calls = CallHandlers()
    for kind in CALLS:
        if kind is not missing:
            calls.at_once(kind, lambda owner, call: None)
    with pytest.raises(LookupError, match=f"no handler for {missing.__name__}$"):
        calls.check()
    calls.at_once(missing, lambda owner, call: None)
    calls.check()


@pytest.mark.parametrize(
    ("kind", "values", "call"),
    [
        (BindWsPath, {"path": "/", "authenticated": True}, BindWsPath("/", True)),
        (
            BindWsPath,
            {"path": "/", "authenticated": False, "subprotocols": ["a"], "newer": 1},
            BindWsPath("/", False, subprotocols=("a",)),
        ),
        (
            BindHttpPath,
            {"path": "/", "authenticated": True, "local-only": True, "response-seconds": 3},
            BindHttpPath("/", True, True, response_seconds=3),
        ),
        (
            ServeUi,
            {"path": "/", "authenticated": True, "local-only": False, "secure": True, "response-seconds": 3},
            ServeUi("/", True, False, True),
        ),
    ],
)
def test_a_call_is_made_of_what_components_of_any_age_pass(
    kind: type[HostCall], values: dict[str, Any], call: HostCall
) -> None:
    assert by_node.made(kind, values) == call

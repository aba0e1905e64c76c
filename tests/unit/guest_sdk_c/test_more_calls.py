"""The calls of the C SDK that few guests need, against a real worker: each value arrives as it was sent, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.wire import Call, ToNode, ToWorker

from ..worker.process import OUR, Guest, Worker
from .conftest import Built
from .test_every_call import FRIEND, HERE, line, reply, tell

BLOB = ["text/plain", b"the blob"]
SERVER = "n.os@http-server:distro:sys"


@pytest.fixture(scope="module")
def guest(built: Built, worker: Worker) -> Guest:
    """The guest, with channel 1 open."""
    guest = worker.start(built(HERE / "every_call")).started()
    guest.open(1)
    line(guest)
    return guest


def lines(guest: Guest, count: int) -> list[str]:
    return [line(guest) for _ in range(count)]


@pytest.mark.slow
def test_one_push_goes_to_many_and_says_who_was_refused(guest: Guest) -> None:
    tell(guest, "many")
    assert guest.expect(ToNode.PUSH_MANY) == [[1], 0, b"to all"]
    assert guest.expect(ToNode.PUSH_MANY) == [[1], 1, b"the blob"]
    assert guest.expect(ToNode.PUSH_MANY) == [[1], 0, b"to the path"]
    assert guest.expect(ToNode.PUSH_MANY) == [[1], 1, b"the blob"]
    assert lines(guest, 4) == ["many 999:1", "many 999:1", "path", "path"]


def test_a_policy_is_chosen_and_a_push_waits(guest: Guest) -> None:
    tell(guest, "waiting")
    for channel_id, policy, answer in (
        (1, "wait", None),
        (1, "refuse", None),
        (1, "drop-oldest", None),
        (999, "close", "channel-not-found"),
    ):
        reply(guest, Call.SET_CHANNEL_POLICY, [channel_id, policy], answer)
    assert guest.expect(ToNode.PUSH) == [1, 0, b"the blob"]
    assert lines(guest, 6) == ["policy 0", "policy 0", "policy 0", "policy 1", "waiting 0", "waiting 1"]


@pytest.mark.parametrize(
    ("command", "kind", "body", "blob", "said"),
    [
        ("ask", "Response", {"WebSocketPush": {}}, b"yes", ["answer yes", "extension 0"]),
        ("tell", "Request", {"Ok": None}, None, ["extension 0"]),
        ("ask", "Response", {"Err": "WsChannelFull"}, None, ["extension 2"]),
        ("tell", "Request", {"Err": "WsMessageTooBig"}, None, ["extension 5"]),
        ("tell", "Request", {"Err": "WsChannelNotFound"}, None, ["extension 1"]),
    ],
)
def test_an_extension_is_asked_and_told(
    guest: Guest, command: str, kind: str, body: Any, blob: bytes | None, said: list[str]
) -> None:
    tell(guest, f"extension {command}")
    target, sent, _, seconds, *_, mime, payload, await_id, _ = guest.expect(ToNode.SEND)
    fields = {"channel_id": 1, "message_type": "Binary", "desired_reply_type": kind}
    assert (target, json.loads(sent)) == (SERVER, {"WebSocketExtPushOutgoing": fields})
    assert ([mime, payload], seconds) == (BLOB, 5 if command == "ask" else 60)
    guest.send(ToWorker.RESPONSE, SERVER, json.dumps(body).encode(), False, None, None, None, blob, await_id)
    assert lines(guest, len(said)) == said


def test_an_extension_that_does_not_answer_in_time_says_nothing(guest: Guest) -> None:
    tell(guest, "extension ask")
    *sent, await_id, _ = guest.expect(ToNode.SEND)
    guest.send(ToWorker.SEND_FAILURE, "timeout", *sent, await_id)
    assert line(guest) == "extension 0"


def test_paths_are_bound_with_all_that_a_binding_can_be(guest: Guest) -> None:
    tell(guest, "bindings as")
    reply(guest, Call.BIND_WS, ["/live", False, True, True, ["v2", "v1"]], "bad-subprotocol")
    reply(guest, Call.BIND_HTTP, ["/page", False, True, False, 9, None, None], None)
    reply(guest, Call.BIND_HTTP, ["/static", False, False, True, None, *BLOB], "no-subdomain")
    reply(guest, Call.SERVE_UI, ["/ui", True, False, False], ["not-authorised", FRIEND, '"messaging"'])
    missing = f'missing "messaging" of {FRIEND}'
    assert lines(guest, 5) == ["ws as 4", "http as 0", "static 3", "ui 6", missing]


def test_capabilities_are_saved_dropped_and_told(guest: Guest) -> None:
    own = OUR
    tell(guest, "capabilities")
    reply(guest, Call.SAVE_CAPABILITIES, [[[own, '"mine"'], [FRIEND, "1"]]], None)
    reply(guest, Call.DROP_CAPABILITIES, [[[FRIEND, "1"]]], None)
    reply(guest, Call.OUR_CAPABILITIES, [], [[own, '"mine"'], [FRIEND, "1"]])
    assert line(guest) == f'ours "mine" of {own} 1 of {FRIEND}'


def test_what_happens_at_its_end_is_set_and_told(guest: Guest) -> None:
    tell(guest, "leave")
    assert guest.expect(ToNode.ON_EXIT) == ["restart"]
    ((first, second),) = guest.expect(ToNode.ON_EXIT)
    assert first == [FRIEND, b"a question", 3, *BLOB]
    assert second[1:] == [b"{}", None, None, None]
    assert second[0].endswith("@kv:distro:sys")
    assert lines(guest, 3) == ["exit 0", "exit 1", f"2 2 the blob {second[0]}"]


def test_an_address_is_parsed_with_its_node_or_with_this_one(guest: Guest) -> None:
    tell(guest, "parse")
    assert line(guest).split() == ["a.os@p:k:q.os", "n.os@p:k:q.os", "a.os@p::", "@p:k:q:r", "n.os@::"]


def test_memory_is_compared_as_compilers_expect(guest: Guest) -> None:
    tell(guest, "compare")
    assert line(guest) == "=<="


def test_a_text_is_cut_at_its_separators_until_it_is_empty(guest: Guest) -> None:
    tell(guest, "cut")
    assert line(guest) == "<a><bc><><d><><>"


def test_children_are_started_or_refused(guest: Guest) -> None:
    own = OUR
    tell(guest, "spawn")
    reply(guest, Call.SPAWN, [None, "/child.wasm", "none", [], [], False], ["child:every_call:tests.os"])
    grants = [["friend:tests:guesthouse.os", '"messaging"']]
    whole = ["kid", "/child.wasm", "restart", [[own, '"mine"']], grants, True]
    for answer in ("name-taken", "no-file-at-path", "too-many", ["not-authorised", FRIEND, '"spawn"']):
        reply(guest, Call.SPAWN, whole, answer)
    assert lines(guest, 4) == ["child:every_call:tests.os", "spawn 1", "spawn 2", "spawn 4"]
    assert lines(guest, 2) == ["spawn 3", f'missing "spawn" of {FRIEND}']


def test_several_requests_go_out_in_order(guest: Guest) -> None:
    tell(guest, "several")
    target, *rest = guest.expect(ToNode.SEND)
    assert (target, rest[:7]) == (
        FRIEND, [b"a question", False, 5, '{"a": 1}', b"a context", "text/plain", b"the blob"],
    )  # fmt: skip
    target, *rest = guest.expect(ToNode.SEND)
    assert target.endswith("@timer:distro:sys")
    assert rest[:7] == [b"told", False, None, None, None, None, None]


def test_the_blob_seen_last_is_kept(guest: Guest) -> None:
    tell(guest, "last")
    assert line(guest) == "last"

"""What a node that is known, and lies, can say: nothing that it sends does more than be refused."""

from __future__ import annotations

import time
from typing import Any, Literal

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire import ToWorker

from guesthouse.capabilities import Capability
from guesthouse.kernel.envelopes import Envelopes
from guesthouse.kernel.remote import FAILURE, REQUEST, RESPONSE, Remote, at_node
from guesthouse.kernel.sealed_capabilities import seal

from .test_router import CHAT, send

HERE, THERE = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"home.os": HERE.public_key(), "far.os": THERE.public_key()}
FAR = "guest:house:b.os"
CHANNEL = b'{"WebSocketPush":{"channel_id":7,"message_type":"Text"}}'
TEXTS = st.sampled_from(
    ["", CHAT, FAR, "http-server:distro:sys", "a", "not an id", "offline", "timeout", "\ud7ff"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2**64)
    | st.floats()
    | TEXTS
    | st.binary(max_size=9)
    | st.just(CHANNEL),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


class Far:
    """The other node, and the transport to it."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.envelopes = Envelopes("far.os", THERE, KEYS.get)
        self.heard: list[list[Any]] = []
        self.remote = kernel.router.remote = Remote(kernel.router, HERE, KEYS.get, self, kernel.log)

    def send(self, node: str, frame: bytes) -> Literal["offline"] | None:
        """See `Transport`."""
        self.heard.append(self.envelopes.open(frame, time.time())[1])
        return None

    def say(self, message: list[Any]) -> None:
        self.remote.incoming(self.envelopes.close(message, "home.os", time.time()))

    def ask(self, body: bytes, target: str = CHAT, shown: list[Any] | None = None, number: int = 5) -> None:
        fields = [body, False, 9, None, None, None, [], shown or []]
        self.say([REQUEST, number, FAR, target, *fields])


@pytest.fixture
async def far(kernel: Any) -> Far:
    return Far(kernel)


def right(issuer: str, params: str) -> list[Any]:
    sealed = seal(HERE, Capability.read(issuer, params), f"far.os@{FAR}", time.time() + 60)
    return [sealed.issuer, sealed.params, sealed.holder, sealed.expires, sealed.signature]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_whatever_a_known_node_says_is_refused_or_done_and_never_a_fault(
    far: Far, data: st.DataObject
) -> None:
    count = {REQUEST: 11, RESPONSE: 7, FAILURE: 3}
    kind = data.draw(st.sampled_from([*count, 3, -1]))
    fitting = st.lists(VALUES, min_size=count.get(kind, 1), max_size=count.get(kind, 4))
    message = [kind, *data.draw(fitting)]
    cbor2.dumps(message)
    far.say(message)
    far.say(data.draw(st.lists(VALUES, max_size=3)))


async def test_only_a_process_that_uses_the_network_is_reached_and_only_by_who_may(
    far: Far, kernel: Any
) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT, public=False)
    far.ask(b"one")
    process.holdings.requested |= {kernel.router.rights.network}
    far.ask(b"two")
    far.ask(b"three", shown=[right(f"home.os@{CHAT}", '"messaging"')])
    refused = [FAILURE, 5, "not-authorised", [f"home.os@{CHAT}", '"messaging"']]
    assert far.heard == [refused, refused]
    (heard,) = await worker.hear()
    assert heard[:2] + heard[3:5] == [ToWorker.REQUEST, chat, f"far.os@{FAR}", b"three"]


async def test_a_full_mailbox_and_too_much_at_once_are_said(far: Far, kernel: Any) -> None:
    process, _ = kernel.process(await kernel.worker(), CHAT)
    process.holdings.requested |= {kernel.router.rights.network}
    limit = kernel.router.message_bytes
    far.ask(b"x" * (limit + 1))
    assert far.heard == []
    assert "sent more than process.message_bytes" in kernel.log
    process.run.flowing = False
    while not process.mailbox.refuses():
        far.ask(b"x" * 1_000_000, number=0)
    far.ask(b"one more", number=6)
    assert far.heard[-1] == [FAILURE, 6, "mailbox-full", None]


async def test_a_request_that_waits_for_a_node_is_answered_by_no_other(far: Far, kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    process.holdings.requested |= {kernel.router.rights.network}
    await worker.say(send(chat, f"far.os@{FAR}", b"question", expects=60))
    await worker.settled(chat)
    ((kind, number, source, target, body, *_),) = far.heard
    assert (kind, source, target, body) == (REQUEST, CHAT, FAR, b"question")
    assert not kernel.router.answered_by("other.os", number, "timeout")
    far.say([RESPONSE, number, FAR, b"answer", None, None, None, []])
    far.say([RESPONSE, number, FAR, b"twice", None, None, None, []])
    (heard,) = await worker.hear()
    assert heard[:4] == [ToWorker.RESPONSE, chat, f"far.os@{FAR}", b"answer"]
    assert kernel.router.asker_of(number) is None
    assert at_node("far.os").package_id != "distro:far.os"


async def test_a_push_needs_the_right_to_that_very_channel(far: Far, kernel: Any) -> None:
    kernel.process(await kernel.worker(), CHAT)
    for shown in ([], [right(f"home.os@{CHAT}", '{"channel":8}')], [right(f"home.os@{CHAT}", '"messaging"')]):
        far.ask(CHANNEL, "http-server:distro:sys", shown)
        assert far.heard[-1][3] == b'{"Err": "WsChannelNotFound"}'
    assert kernel.http.asked == []
    far.ask(CHANNEL, "http-server:distro:sys", [right(f"home.os@{CHAT}", '{"channel":7}')])
    assert [call[0] for call in kernel.http.asked] == ["request"]
    assert str(kernel.http.asked[0][1]) == f"home.os@{CHAT}", "in the name of who gave the right"

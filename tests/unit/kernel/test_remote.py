"""What a node that is known, and lies, can say: nothing that it sends does more than be refused."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.examples import examples
from tests.node_frames import FAILURE, REQUEST, RESPONSE
from tests.wire import ToWorker

from guesthouse.core.capabilities import Capability
from guesthouse.kernel.capabilities import signed
from guesthouse.kernel.capabilities.signed import LONGEST_SECONDS, SignedCapability, sign
from guesthouse.kernel.cluster import remote
from guesthouse.kernel.cluster.remote import Remote
from guesthouse.kernel.cluster.services import PROCESSES, PeerService, Unsendable
from guesthouse.kernel.messaging.sender import at_node

from .test_router import CHAT, respond, send

HERE, THERE = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"home.os": HERE.public_key(), "far.os": THERE.public_key()}
FAR = "guest:house:b.os"
REST: list[Any] = [False, 5, None, None, None, [], []]
"""The fields of a request behind its body."""
CHANNEL = b'{"WebSocketPush":{"channel_id":7,"message_type":"Text"}}'
TEXTS = st.sampled_from(
    ["", CHAT, FAR, "http-server:distro:sys", "a", "not an id", "offline", "timeout", "\ud7ff"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2**64 - 1)
    | st.floats()
    | TEXTS
    | st.binary(max_size=9)
    | st.just(CHANNEL),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


class Far:
    """The other node, and the session with it."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.heard: list[list[Any]] = []
        self.musts: list[bool] = []
        self.refusal: Unsendable | None = None
        """For what is not `must`."""
        self.remote = kernel.router.remote = Remote(kernel.router, HERE, KEYS.get, self, kernel.log)

    def register(self, service: int, handler: PeerService) -> None:
        """See `PeersPort`."""
        assert service == PROCESSES
        self.service = handler

    def send(self, node: str, service: int, body: bytes, *, must: bool = False) -> Unsendable | None:
        """See `PeersPort`."""
        assert service == PROCESSES
        if self.refusal is not None and not must:
            return self.refusal
        self.musts.append(must)
        self.heard.append(msgspec.msgpack.decode(body))
        return None

    def connect(self, node: str) -> None:
        """See `PeersPort`."""

    def is_up(self, node: str) -> bool:
        """See `PeersPort`."""
        return node == "far.os"

    def nodes(self) -> list[str]:
        """See `PeersPort`."""
        return ["far.os"]

    def forget(self, node: str) -> None:
        """See `PeersPort`."""

    def say(self, message: list[Any] | bytes) -> None:
        body = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
        self.service.receive("far.os", body)

    def ask(self, body: bytes, target: str = CHAT, shown: list[Any] | None = None, number: int = 5) -> None:
        fields = [body, False, 9, None, None, None, [], shown or []]
        self.say([REQUEST, number, FAR, target, *fields])


@pytest.fixture
async def far(kernel: Any) -> Far:
    return Far(kernel)


def right(issuer: str, params: str) -> list[Any]:
    signed = sign(HERE, Capability.read(issuer, params), f"far.os@{FAR}", time.time() + 60)
    return [signed.issuer, signed.params, signed.holder, signed.expires, signed.signature]


@settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
@pytest.mark.slow
async def test_whatever_a_known_node_says_is_refused_or_done_and_never_a_fault(
    far: Far, data: st.DataObject
) -> None:
    count = {REQUEST: 11, RESPONSE: 7, FAILURE: 3}
    kind = data.draw(st.sampled_from([*count, 3, -1]))
    fitting = st.lists(VALUES, min_size=count.get(kind, 1), max_size=count.get(kind, 4))
    message = [kind, *data.draw(fitting)]
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
    limit = 1_000_000
    kernel.router._limits = replace(kernel.router._limits, message_bytes=limit)
    far.ask(b"x" * (limit + 1))
    assert far.heard == []
    assert "sent more than process.message_bytes" in kernel.log
    process.run.flowing = False
    while not process.mailbox.refuses():
        far.ask(b"x" * limit, number=0)
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
    assert kernel.router.asker_of("far.os", number) is None
    assert at_node("far.os").package_id != "distro:far.os"


async def test_what_no_message_holds_comes_back_and_an_answer_that_none_holds_is_told(
    far: Far, kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    process.holdings.requested |= {kernel.router.rights.network}
    monkeypatch.setattr(remote, "MAX_MESSAGE", 2000)
    await worker.say(send(chat, f"far.os@{FAR}", b"x" * 2000, expects=60))
    (returned,) = await worker.hear()
    assert far.heard == []
    assert kernel.router._requests.pending._waiting == {}
    assert returned[0] == ToWorker.SEND_FAILURE
    assert "mailbox-full" in returned
    far.ask(b"question")
    (asked,) = await worker.hear()
    await worker.say(respond(chat, asked[2], b"x" * 2000))
    await worker.settled(chat)
    assert far.heard == [[FAILURE, 5, "mailbox-full", None]]


async def test_a_push_needs_the_right_to_that_very_channel(far: Far, kernel: Any) -> None:
    kernel.process(await kernel.worker(), CHAT)
    for shown in ([], [right(f"home.os@{CHAT}", '{"channel":8}')], [right(f"home.os@{CHAT}", '"messaging"')]):
        far.ask(CHANNEL, "http-server:distro:sys", shown)
        assert far.heard[-1][3] == b'{"Err": "WsChannelNotFound"}'
    assert kernel.http.asked == []
    far.ask(CHANNEL, "http-server:distro:sys", [right(f"home.os@{CHAT}", '{"channel":7}')])
    assert [call[0] for call in kernel.http.asked] == ["request"]
    assert str(kernel.http.asked[0][1]) == f"home.os@{CHAT}", "in the name of who gave the right"


async def test_what_a_package_gave_before_it_was_uninstalled_is_void_when_it_is_there_again(
    far: Far, kernel: Any
) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, CHAT, public=False)
    process.holdings.requested |= {kernel.router.rights.network}
    uninstalled = time.time()

    def given(at: float, params: str) -> list[Any]:
        expires = at + LONGEST_SECONDS
        signed = sign(HERE, Capability.read(f"home.os@{CHAT}", params), f"far.os@{FAR}", expires)
        return [signed.issuer, signed.params, signed.holder, signed.expires, signed.signature]

    far.ask(b"", shown=[given(uninstalled - 1, '"messaging"')])
    assert far.heard == [], "it is good until then"
    kernel.router.rights.void({process.id.package_id: uninstalled, "other:b.os": uninstalled + 9})
    for at in (uninstalled - 1, uninstalled):
        far.ask(b"", shown=[given(at, '"messaging"')])
        assert far.heard.pop()[:3] == [FAILURE, 5, "not-authorised"]
        far.ask(CHANNEL, "http-server:distro:sys", [given(at, '{"channel":7}')])
        assert far.heard.pop()[3] == b'{"Err": "WsChannelNotFound"}'
    assert "was uninstalled since" in kernel.log
    far.ask(b"", shown=[given(uninstalled + 1, '"messaging"')])
    far.ask(CHANNEL, "http-server:distro:sys", [given(uninstalled + 1, '{"channel":7}')])
    assert [call[0] for call in kernel.http.asked] == ["request"]
    kernel.router.rights.void({"late:b.os": uninstalled + 2 * LONGEST_SECONDS})
    assert set(kernel.router.rights._uninstalled) == {"late:b.os"}, "by then no signature is valid any more"


async def test_who_answers_what_it_was_not_asked_hands_nothing_over(far: Far, kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    process.holdings.requested |= {kernel.router.rights.network}
    await worker.say(send(chat, f"other.os@{FAR}", b"question", expects=60))
    await worker.settled(chat)
    (number,) = kernel.router._requests.pending._waiting
    own = sign(THERE, Capability.read(f"far.os@{FAR}", '"messaging"'), f"home.os@{CHAT}", time.time() + 60)
    handed = [own.issuer, own.params, own.holder, own.expires, own.signature]
    far.say([RESPONSE, number, FAR, b"forged", None, None, None, [handed]])
    assert process.holdings.signed == {}
    assert kernel.router.asker_of("other.os", number) == process.id
    assert kernel.router.asker_of("far.os", number) is None
    assert "was not asked for" in kernel.log


async def test_of_what_is_shown_only_what_counts_is_verified(far: Far, kernel: Any, monkeypatch: Any) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, CHAT, public=False)
    process.holdings.requested |= {kernel.router.rights.network}
    verified: list[SignedCapability] = []
    real = signed.verify

    def verify(shown: SignedCapability, *how: Any) -> Capability:
        verified.append(shown)
        return real(shown, *how)

    monkeypatch.setattr(remote, "verify", verify)
    others = [right(f"home.os@{CHAT}", f'{{"channel":{number}}}') for number in range(31)]
    far.ask(b"in", shown=[*others, right(f"home.os@{CHAT}", '"messaging"')])
    assert [each.params for each in verified] == ['"messaging"']
    far.ask(CHANNEL, "http-server:distro:sys", [right(f"home.os@{CHAT}", '{"channel":8}')] * 32)
    assert len(verified) == 1
    forged = [f"home.os@{CHAT}", '{"channel":7}', f"far.os@{FAR}", time.time(), bytes(64)]
    far.ask(CHANNEL, "http-server:distro:sys", [forged] * 32)
    assert len(verified) == 3


async def test_an_answer_that_has_no_room_is_told_as_a_failure(far: Far, kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    process.holdings.requested |= {kernel.router.rights.network}
    far.ask(b"question")
    (asked,) = await worker.hear()
    far.refusal = "full"
    await worker.say(respond(chat, asked[2], b"answer"))
    await worker.settled(chat)
    assert (far.heard, far.musts) == ([[FAILURE, 5, "mailbox-full", None]], [True])
    await worker.say(send(chat, f"far.os@{FAR}", b"question", expects=60))
    (returned,) = await worker.hear()
    assert "mailbox-full" in returned
    assert kernel.router._requests.pending._waiting == {}


async def test_when_a_session_ends_each_request_to_that_node_fails_once(far: Far, kernel: Any) -> None:
    worker = await kernel.worker()
    process, chat = kernel.process(worker, CHAT)
    process.holdings.requested |= {kernel.router.rights.network}
    for node, body in (("far.os", b"one"), ("other.os", b"stays"), ("far.os", b"two")):
        await worker.say(send(chat, f"{node}@{FAR}", body, expects=60))
    await worker.settled(chat)
    one, stays, two = (heard[1] for heard in far.heard)
    far.say([RESPONSE, one, FAR, b"answer", None, None, None, []])
    assert (await worker.hear())[0][0] == ToWorker.RESPONSE
    far.service.lost("far.os")
    far.say([RESPONSE, two, FAR, b"too late", None, None, None, []])
    far.service.lost("far.os")
    (failed,) = await worker.hear()
    assert failed[0] == ToWorker.SEND_FAILURE
    assert "offline" in failed
    assert [*kernel.router._requests.pending._waiting] == [stays]
    await worker.say(send(chat, f"far.os@{FAR}", b"three", expects=60))
    await worker.settled(chat)
    far.say([RESPONSE, far.heard[-1][1], FAR, b"in the next session", None, None, None, []])
    (answered,) = await worker.hear()
    assert answered[3] == b"in the next session"


def _heads(size: int) -> bytes:
    return b"\xdd" + size.to_bytes(4, "big")


WELL_FORMED: list[Any] = [0, 1, "a:b:c", "d:e:f", b"", False, None, None, None, None, [], []]
SIGNED_FIELDS: list[Any] = ["away.os@a:b:c", '"messaging"', "home.os@d:e:f", 1e6, bytes(64)]


def changed(at: int, value: Any) -> list[Any]:
    return [*WELL_FORMED[:at], value, *WELL_FORMED[at + 1 :]]


SHAPELESS: list[list[Any] | bytes] = [
    b"",
    b"\xc1",
    [],
    [9],
    [0],
    [-1],
    ["0"],
    [[]],
    WELL_FORMED[:-1],
    changed(1, -1),
    changed(1, True),
    changed(1, "1"),
    changed(2, b"a:b:c"),
    changed(2, "x" * 513),
    changed(4, "text"),
    changed(4, [1, 2]),
    changed(4, bytes(2**24 + 1)),
    changed(5, 1),
    changed(6, -1),
    changed(6, 1.5),
    changed(7, b""),
    changed(8, "x" * 65_537),
    changed(10, {}),
    changed(10, [SIGNED_FIELDS] * 33),
    changed(11, [SIGNED_FIELDS[:-1] * 2]),
    changed(11, [[*SIGNED_FIELDS[:3], "now", b""]]),
    changed(11, [[*SIGNED_FIELDS[:4], bytes(65)]]),
    [2, 1, "no-such-kind", None],
    [2, 1, "timeout", ["one"]],
    [2, 1, "timeout", ["one", 2]],
    b"\x91" * 1_000_000,
    _heads(20_000_000) + b"\x90" * 20_000_000,
    b"\x9c\x00\x01\xa1a\xa1b\xc4\x00\xc2\xc0\xc0\xc0\xc0\x90" + _heads(18_000_000) + b"\x90" * 18_000_000,
    b"\x92\x00\xdf\x00\x00\x00\x09" + b"\x01\x01" * 9,
    b"\x94\x02\xc7\x0c\xff" + bytes(14),
    b"\x94\x02\x01\xa3\xed\xa0\x80\xc0",
]


def name_of(said: list[Any] | bytes) -> str:
    """How it begins. Its whole `repr` would take a second to make."""
    start = said[:20] if isinstance(said, bytes) else [_start(item) for item in said]
    return repr(start)[:40]


def _start(item: Any) -> Any:
    return item[:20] if isinstance(item, str | bytes) else item


@pytest.mark.slow
@pytest.mark.parametrize("said", SHAPELESS, ids=name_of)
async def test_what_a_known_node_says_and_is_no_message_is_dropped(
    far: Far, kernel: Any, said: list[Any] | bytes
) -> None:
    far.say(said)
    assert far.heard == []
    assert "far.os sent an invalid one" in kernel.log


async def test_fields_of_a_later_version_are_ignored(far: Far) -> None:
    far.say([REQUEST, 5, FAR, "no:such:one", b"", *REST, "of a later version", {"a": [1]}])
    far.say([FAILURE, 5, "timeout", None, "of a later version"])
    assert far.heard == [[FAILURE, 5, "no-such-process", None]]


@pytest.mark.slow
async def test_whatever_a_node_sends_without_end_is_logged_a_few_times(far: Far, kernel: Any) -> None:
    process, _ = kernel.process(await kernel.worker(), CHAT)
    process.holdings.requested |= {kernel.router.rights.network}
    before = len(kernel.log.lines)
    for number in range(1000):
        name = f"n{number}:x:y"
        forged = [f"home.os@{name}", '"messaging"', f"far.os@{FAR}", time.time(), bytes(64)]
        far.say([9, number])
        far.say(bytes([number % 256]) * number)
        far.say([REQUEST, number, f"no id {number}", CHAT, b"", *REST])
        far.say([REQUEST, number, name, name, b"", *REST])
        far.say([RESPONSE, number, name, b"", None, None, None, []])
        far.say([FAILURE, number, "timeout", None])
        far.say([REQUEST, 0, name, CHAT, b"", False, None, None, None, None, [forged] * 2, []])
    said = kernel.log.lines[before:]
    assert len(said) < 20, said

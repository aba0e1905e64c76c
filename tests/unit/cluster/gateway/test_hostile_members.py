"""A member of the cluster that lies in every field, floods, and reaches for what is not its own: it is refused, logged,
and costs no more than the limits say.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.http_server.conftest import CHAT, Start, http_path, until

from guesthouse.cluster.gateway import peer_link
from guesthouse.cluster.gateway.gateway_messages import (
    INBOUND_BYTES,
    Announce,
    BoundWs,
    Listed,
    Message,
    RelayClose,
    RelayCredit,
    RelayDeliver,
    RelayedAnswer,
    RelayedRequest,
    RelayLeft,
    RelayOpen,
    RelayPresence,
    RelayPush,
    RelayTaken,
    TokenVerified,
    VerifyToken,
    Withdraw,
    decode,
    encode,
)
from guesthouse.cluster.gateway.served import Served
from guesthouse.core.config import ConnectionLimits, HttpSettings
from guesthouse.core.messages import WsMessageType
from guesthouse.kernel.cluster.services import GATEWAYS
from guesthouse.link.calls import BindWsPath

from .conftest import GATEWAY, HOME, Pair
from .test_gateways import close_of, registered

TEXT = int(WsMessageType.TEXT)
OPEN = RelayOpen(
    channel_id=77,
    process=str(CHAT),
    path="/",
    bound=False,
    authenticated=True,
    window=65536,
    slack=4096,
    source=None,
    forwarded_for=None,
    query_params=(),
    subprotocol=None,
    claims=None,
    token=None,
    resumable=False,
)
REQUEST = RelayedRequest(
    number=1,
    process=str(CHAT),
    method="GET",
    url="http://x/",
    path="/",
    authenticated=False,
    headers=(),
    query_params=(),
    source=None,
    claims=None,
    mime=None,
    body=b"",
)


@pytest.fixture
async def pair(start: Start) -> Pair:
    """With a small limit on channels; what one complains of is expected here."""
    house: Pair = await start(ConnectionLimits(total=16), HttpSettings(), name_apart=True)
    return house


def gateway_says(pair: Pair, *messages: Message) -> None:
    """The gateway is hostile, and sends this to the home."""
    pair.home_side.gateways.receive(GATEWAY, encode(messages))


def home_says(pair: Pair, *messages: Message) -> None:
    """The home is."""
    pair.gateway_side.gateways.receive(HOME, encode(messages))


async def answers(pair: Pair, to: str = GATEWAY) -> list[Message]:
    """What was sent back since `keep` was set."""
    for side in (pair.home_side, pair.gateway_side):
        side.announce_now()
    found = [each for _, receiver, body in pair.web.bodies if receiver == to for each in decode(body)]
    pair.web.bodies.clear()
    return found


BAD_OPENS = {
    "an unknown process": (replace(OPEN, process="no:such:one"), 4004, None),
    "no process at all": (replace(OPEN, process="../x"), 4004, "named a process"),
    "a part of the node": (replace(OPEN, process="kernel:distro:sys"), 4004, None),
    "no token": (replace(OPEN, authenticated=False), 1014, "without a token"),
    "another path": (replace(OPEN, path="/elsewhere"), 1014, "without a token"),
    "a path that is not bound": (replace(OPEN, path="/none", bound=True), 1001, None),
    "a path out of the tree": (replace(OPEN, path="/../x", bound=True), 1001, None),
    "no login": (replace(OPEN, path="/in", bound=True, authenticated=False), 1014, "without a login"),
    "a subprotocol": (replace(OPEN, path="/", bound=True, subprotocol="x"), 1014, "a subprotocol"),
    "a secure path": (replace(OPEN, path="/safe", bound=True), 1001, None),
    "an extension": (replace(OPEN, path="/ext", bound=True), 1001, None),
    "claims": (replace(OPEN, claims="[1]"), 1014, "custom claims"),
    "large claims": (replace(OPEN, claims='{"a":"%s"}' % ("x" * 2000)), 1014, "custom claims"),
    "a forged token": (replace(OPEN, token="a.b.c"), 4002, None),
}


@pytest.mark.parametrize("name", BAD_OPENS)
async def test_what_may_not_be_opened_is_refused(pair: Pair, name: str) -> None:
    opened, code, complaint = BAD_OPENS[name]
    pair.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    pair.server.bind_ws_path(CHAT, BindWsPath("/in", authenticated=True))
    pair.server.bind_ws_path(CHAT, BindWsPath("/safe", authenticated=False, secure=True))
    pair.server.bind_ws_path(CHAT, BindWsPath("/ext", authenticated=False, extension=True))
    pair.web.keep = True
    gateway_says(pair, opened)
    (close,) = await answers(pair)
    assert isinstance(close, RelayClose)
    assert (close.channel_id, close.code) == (77, code)
    assert pair.chat.quiet
    assert not pair.home_side.server.open_channels()
    assert complaint is None or pair.log.mentions(complaint)
    # what is on its way of a channel that was refused is no fault
    gateway_says(pair, RelayDeliver(77, b"\0x"), RelayLeft(77, None))
    assert not pair.log.mentions("that it has not")


async def test_channels_beyond_its_share_are_refused_and_their_end_makes_room(pair: Pair) -> None:
    pair.web.keep = True
    gateway_says(pair, *(replace(OPEN, channel_id=number) for number in range(1, 21)))
    closes = [each for each in await answers(pair) if isinstance(each, RelayClose)]
    assert [close.channel_id for close in closes] == list(range(13, 21))
    assert {close.code for close in closes} == {1013}
    assert len(pair.home_side.server.open_channels()) == 12
    gateway_says(pair, RelayLeft(1, None), replace(OPEN, channel_id=30))
    assert not [each for each in await answers(pair) if isinstance(each, RelayClose)]
    # an id that is in use, was until now, or is opened again
    gateway_says(pair, RelayLeft(2, None), replace(OPEN, channel_id=1), replace(OPEN, channel_id=3))
    (close,) = (each for each in await answers(pair) if isinstance(each, RelayClose))
    assert (close.channel_id, close.code) == (1, 1013)
    assert pair.log.mentions("opened a channel again")


async def test_what_is_sent_on_a_channel_is_checked_as_from_a_socket(pair: Pair) -> None:
    for number, (frame, fault) in enumerate(
        (
            (b"\0\xff", "WsTextNotUtf8"),
            (b"\x01" + bytes(2**20 + 1), "WsMessageTooBig"),
            (b"\x02" + bytes(126), "WsPingPongTooLong"),
            (b"\x04\x03\xe8", "a close"),
            (b"\x09x", "MalformedRequest"),
        ),
        start=1,
    ):
        gateway_says(pair, replace(OPEN, channel_id=number), RelayDeliver(number, frame))
        assert pair.log.mentions(fault)
    assert not pair.home_side.server.open_channels()
    told = [pair.chat.told.get_nowait()[0] for _ in range(pair.chat.told.qsize())]
    assert told == ["open", "close"] * 5


async def test_a_flood_over_its_window_ends_the_channel(pair: Pair) -> None:
    pair.chat.pause_at = 1
    gateway_says(pair, OPEN)
    frame, sent = b"\x01" + bytes(100_000), 0
    while pair.home_side.server.open_channels():
        gateway_says(pair, RelayDeliver(77, frame))
        sent += len(frame)
        assert sent < INBOUND_BYTES + 2**20 + 3 * len(frame)
    assert pair.chat.pushes == 1, "its mailbox was full from the first on"
    assert pair.log.mentions("more than its window")


async def test_credit_that_was_never_spent_ends_the_channel(pair: Pair) -> None:
    gateway_says(pair, OPEN)
    pair.home_side.server.push(CHAT, 77, TEXT, b"x" * 36)
    gateway_says(pair, RelayCredit(77, 100))
    assert pair.home_side.server.open_channels()
    gateway_says(pair, RelayCredit(77, 1))
    assert not pair.home_side.server.open_channels()
    assert pair.log.mentions("credit for what was never sent")


async def test_presence_of_what_has_no_session_tells_nobody(pair: Pair) -> None:
    gateway_says(pair, OPEN)
    pair.home_side.server.watch_presence(CHAT, wanted=True)
    gateway_says(pair, RelayPresence(77, away=True), RelayPresence(78, away=True))
    assert pair.home_side.router.requests.empty()
    gateway_says(pair, replace(OPEN, channel_id=79, resumable=True))
    for _ in range(100):
        gateway_says(pair, RelayPresence(79, away=True))
    assert pair.home_side.router.requests.qsize() == 1


async def test_http_requests_are_checked_and_limited(pair: Pair) -> None:
    pair.server.bind_http_path(CHAT, http_path("/in", authenticated=True, local_only=False))
    pair.server.bind_http_path(CHAT, http_path("/here", authenticated=False, local_only=True))
    pair.server.bind_http_path(CHAT, http_path("/all", authenticated=False, local_only=False))
    pair.web.keep = True
    for request, status in (
        (replace(REQUEST, path="/in"), 401),
        (replace(REQUEST, path="/here"), 404),
        (replace(REQUEST, path="/../all"), 404),
        (replace(REQUEST, path="all"), 404),
        (replace(REQUEST, path="/all", process="no:such:one"), 404),
        (replace(REQUEST, path="/all", claims="[]"), 400),
        (replace(REQUEST, path="/all", body=bytes(16 * 2**20 + 1)), 413),
        (replace(REQUEST, path="/x", file=True), 404),
    ):
        gateway_says(pair, request)
        (answer,) = (each for each in await answers(pair) if isinstance(each, RelayedAnswer))
        assert answer.status == status, request.path
    assert pair.chat.quiet
    for start in range(0, 1100, 100):
        gateway_says(
            pair, *(replace(REQUEST, path="/all", number=number) for number in range(start, start + 100))
        )
    refused = [each for each in await answers(pair) if isinstance(each, RelayedAnswer)]
    assert [(each.number, each.status) for each in refused] == [(n, 503) for n in range(1024, 1100)]
    gateway_says(pair, replace(REQUEST, path="/all", number=5))
    assert pair.log.mentions("sent a request again")
    pair.web.cut(HOME, GATEWAY)
    await until(lambda: pair.home_side.server.awaited_responses == 0)


async def test_a_home_reaches_no_channel_but_its_own(pair: Pair) -> None:
    mine = pair.gateway_side.router.known[CHAT] = type(pair.chat)(CHAT)
    async with registered(pair) as (client, channel_id):
        await mine.opened()
        home_says(pair, RelayPush([channel_id], b"\0forged"), RelayClose(channel_id, 1000, "forged"))
        home_says(pair, RelayPush([channel_id + 1], b"\0forged"), RelayTaken(channel_id, 5))
        assert pair.log.mentions("for a channel that is not of its processes")
        assert pair.log.mentions("for a channel that is not there")
        pair.gateway_side.server.push(CHAT, channel_id, TEXT, b"real")
        assert await client.recv() == "real"


@pytest.mark.parametrize("frame", [b"\0\xff", b"\x01" + bytes(2**20 + 1), b"\x04\x03\xe8", b"\x07"])
async def test_a_home_that_pushes_badly_loses_the_channel(pair: Pair, frame: bytes) -> None:
    async with registered(pair) as (client, channel_id):
        await pair.chat.opened()
        home_says(pair, RelayPush([channel_id], frame))
        assert pair.log.mentions("sent a push that is not valid")
        assert await close_of(client) == (1014, "the process's node sent what it may not")
        await until(lambda: not pair.home_side.server.open_channels())


async def test_a_home_that_pushes_too_much_loses_the_channel(pair: Pair) -> None:
    async with registered(pair) as (client, channel_id):
        await pair.chat.opened()
        home_says(pair, RelayPush([channel_id, channel_id], b"\0twice"), RelayTaken(channel_id, 2**30))
        assert [await client.recv(), await client.recv()] == ["twice", "twice"]
        assert pair.log.mentions("took more of a channel than it was sent")
        big = b"\x01" + bytes(2**20)
        # More than the kernel's buffers take, without an iteration of the loop in which the client could read.
        for _ in range(32):
            home_says(pair, RelayPush([channel_id], big))
        assert pair.log.mentions("pushed more than it may")
        await until(lambda: not pair.home_side.server.open_channels())
        assert ("close", channel_id) in [pair.chat.told.get_nowait() for _ in range(pair.chat.told.qsize())]


@pytest.mark.parametrize(
    ("code", "reason"), [(999, "x"), (1005, ""), (1006, ""), (2999, ""), (1000, "é" * 100)]
)
async def test_a_home_cannot_close_with_what_no_endpoint_sends(pair: Pair, code: int, reason: str) -> None:
    async with registered(pair) as (client, channel_id):
        home_says(pair, RelayClose(channel_id, code, reason))
        assert await close_of(client) == (1014, "the process's node sent what it may not")


@pytest.mark.slow
async def test_announcements_are_bounded_and_names_of_parts_of_the_node_refused(pair: Pair) -> None:
    def announced(name: str, *paths: str) -> Announce:
        return Announce(name, tuple(BoundWs(path, False, ()) for path in paths), (), (), False)

    home_says(pair, announced("kernel:distro:sys", "/"), announced("no id"), announced("a:b"))
    assert pair.log.mentions("with the name of a part of a node")
    assert pair.log.mentions("in a way that is not valid")
    home_says(pair, announced("p:many:x", *(f"/{number}" for number in range(1000))))
    home_says(pair, announced("p:bad:x", "relative", "/a//b", "/good"))
    assert pair.log.mentions("a path that cannot be bound here")
    large = announced("p:large:x", *(f"/{'x' * 2000}/{number}" for number in range(250)))
    for number in range(100):
        home_says(pair, replace(large, process=f"p{number}:large:x"))
    assert pair.log.mentions("announced more paths than it may")
    assert 32 < len(pair.gateway_side.gateways._homes[HOME].processes) < 64
    for number in range(100):
        home_says(pair, Withdraw(f"p{number}:large:x"))
    for start in range(0, 5000, 500):
        home_says(pair, *(announced(f"p{number}:flood:x") for number in range(start, start + 500)))
    assert pair.log.mentions("announced more processes than it may")
    known = pair.gateway_side.gateways._homes[HOME].processes
    assert len(known) == 4096
    pair.web.cut(HOME, GATEWAY)
    assert not pair.gateway_side.server._context.bindings._bound


MALFORMED: tuple[Any, ...] = (
    b"",
    b"\xc1",
    b"\x91",
    b"\xdd\xff\xff\xff\xff",
    b"\x91" * 1000,
    {},
    [7],
    [[]],
    [["x"]],
    [[0]],
    [[1, 0, b"\0"]],
    [[1, 2**31, b"\0"]],
    [[1, 1, b""]],
    [[2, 1, b"x" * 126]],
    [[3, 1, -1]],
    [[3, 1, 2**64 - 1]],
    [[34, list(range(1, 5000)), b"\0"]],
    [[34, [0], b"\0"]],
    [[35, 1, 5000, ""]],
    [[35, 1, 1000, "x" * 124]],
    [[32, "x" * 513, [], [], [], False]],
    [[1, 1, b"\0"]] * 1025,
    [[200, "unknown"], [1, 0, b"\0"]],
)


@pytest.mark.slow
@pytest.mark.parametrize("malformed", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_no_message_is_refused_whole_and_logged(pair: Pair, malformed: Any) -> None:
    body = malformed if isinstance(malformed, bytes) else msgspec.msgpack.encode(malformed)
    pair.home_side.gateways.receive(GATEWAY, body)
    assert pair.log.mentions("sent what is no message of gateways")
    assert not pair.log.errors


async def test_later_versions_may_add_messages_and_fields(pair: Pair) -> None:
    fields = msgspec.to_builtins(OPEN, builtin_types=(bytes,))
    body = msgspec.msgpack.encode([[99, {"any": "thing"}], [*fields, "more", 7]])
    pair.home_side.peers.web.nodes[GATEWAY].send(HOME, GATEWAYS, body)
    assert (await pair.chat.opened()).channel_id == 77


async def test_who_was_not_asked_answers_nothing(pair: Pair) -> None:
    home_says(pair, TokenVerified(1, "family", None), RelayedAnswer(1, 200, (), None, b""))
    gateway_says(pair, VerifyToken(1, "no:such:one", "x"), VerifyToken(2, str(CHAT), "x" * 5000))
    await asyncio.sleep(0)
    assert not pair.log.errors


async def test_a_malformed_message_takes_none_of_the_others_with_it(pair: Pair) -> None:
    body = msgspec.msgpack.encode([OPEN, [1, 77, b""], [["x"]], RelayDeliver(77, b"\0here")])
    pair.home_side.gateways.receive(GATEWAY, body)
    assert (await pair.chat.opened()).channel_id == 77
    assert pair.chat.pushes == 1
    assert pair.log.mentions("sent what is no message of gateways")


@pytest.mark.slow
async def test_more_in_one_body_than_a_node_sends_is_dropped(pair: Pair) -> None:
    ids = list(range(1, 4097))
    home_says(pair, *(RelayPush(ids, b"\0x") for _ in range(1000)))
    assert pair.log.mentions("sent more in one body than a node does")
    assert not pair.log.mentions("for a channel that is not there"), "it was looked at all the same"


async def test_who_asks_and_takes_no_answer_loses_the_session(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_link, "MOST_WAITING", 256 * 1024)
    pair.home_side.peers.limit, pair.gateway_side.peers.stalled = 64 * 1024, True
    link = pair.home_side.gateways._peers[GATEWAY].link
    most, asked = 0, 0
    while GATEWAY in pair.home_side.gateways._peers:
        gateway_says(pair, *(VerifyToken(number, "no:such:one", "x") for number in range(200)))
        link.flush()
        most, asked = max(most, link.waiting_bytes), asked + 1
        assert asked < 1000
    assert 0 < most <= 256 * 1024 + 64 * 1024
    assert pair.log.mentions("takes nothing of what it was sent")


async def test_answers_that_a_gateway_does_not_take_are_bounded(pair: Pair) -> None:
    pair.server.bind_http_path(CHAT, http_path("/large", authenticated=False, local_only=False))
    pair.home_side.peers.limit, pair.gateway_side.peers.stalled = 1024, True
    link = pair.home_side.gateways._peers[GATEWAY].link
    for number in range(1, 21):
        gateway_says(pair, replace(REQUEST, path="/large", number=number))
    posted = [await pair.chat.next() for _ in range(20)]
    for _, http_id, *_ in posted:
        pair.home_side.server.http_response(CHAT, http_id, 200, (), None, bytes(8 * 2**20))
        link.flush()
    assert link.waiting_bytes < 80 * 2**20
    before = link.waiting_bytes
    gateway_says(pair, replace(REQUEST, path="/large", number=99))
    link.flush()
    assert pair.chat.quiet
    assert link.waiting_bytes - before < 1000


async def test_what_waits_for_full_mailboxes_is_bounded_in_all(pair: Pair) -> None:
    held = pair.home_side.gateways._peers[GATEWAY].as_gateway._held
    held.most = 2**20
    pair.chat.pause_at = 1
    gateway_says(pair, *(replace(OPEN, channel_id=number) for number in range(1, 11)))
    for _ in range(2):
        for number in range(1, 11):
            gateway_says(pair, RelayDeliver(number, b"\x01" + bytes(200_000)))
    assert held.size <= 2**20
    assert 1 <= len(pair.home_side.server.open_channels()) < 10
    pair.web.cut(HOME, GATEWAY)


async def test_who_may_not_be_a_gateway_is_told_nothing_and_opens_nothing(pair: Pair) -> None:
    pair.home_side.gateways._taken_from = frozenset(("another.os",))
    pair.web.cut(HOME, GATEWAY)
    pair.web.keep = True
    pair.web.up()
    gateway_says(pair, OPEN, VerifyToken(1, str(CHAT), "x"))
    assert await answers(pair) == [Listed()], "that there is nothing for it, not even to wait for"
    assert pair.chat.quiet
    assert pair.log.mentions("is not in cluster.gateways_from")
    assert not pair.gateway_side.gateways._homes[HOME].processes


async def test_what_a_node_announces_that_is_not_served_is_not_found(pair: Pair) -> None:
    gateways = pair.gateway_side.gateways
    gateways._served = Served((f"{HOME}@other:test.os",))
    pair.web.cut(HOME, GATEWAY)
    pair.web.up()
    ws = BoundWs("/", authenticated=False, subprotocols=())
    for name in ("more:chat:test.os", "one:other:test.os"):
        home_says(pair, Announce(name, (ws,), (), (), has_ui=False))
    assert [str(process) for process in gateways._homes[HOME].processes] == ["one:other:test.os"]
    assert not gateways._homes[HOME]._sizes.keys() - gateways._homes[HOME].processes.keys()
    home_says(pair, Withdraw("more:chat:test.os"))
    (line,) = (line for line in pair.gateway_side.log.lines if "is not served by this node" in line[2])
    assert line[1] == "info"


async def test_complaints_are_throttled(pair: Pair) -> None:
    for number in range(1, 2000):
        gateway_says(pair, RelayDeliver(number, b"\0x"))
    assert len([line for line in pair.log.lines if line[0] == "gateway"]) < 5

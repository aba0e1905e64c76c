"""The parts that decide, without a socket."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from websockets.client import ClientProtocol
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from guesthouse.core.address import ProcessId
from guesthouse.core.config import Settings
from guesthouse.http_server.auth.login_throttle import LoginThrottle
from guesthouse.http_server.auth.one_time_tokens import OneTimeTokens
from guesthouse.http_server.auth.tokens import without_own_cookies
from guesthouse.http_server.channel.credit_window import CreditWindow, write_limits
from guesthouse.http_server.channel.framing import SharedFrames, deflated_frame, frame
from guesthouse.http_server.close_codes import is_sendable_code
from guesthouse.http_server.routing.origin import counted_as
from guesthouse.http_server.routing.paths import BadPath, PathPattern, query_params, split
from guesthouse.http_server.state.channels import ChannelTable
from guesthouse.http_server.state.client_log import ClientFaultLog
from guesthouse.http_server.state.connection_limits import AdmittedConnection, ConnectionAdmission
from guesthouse.http_server.state.descriptors import room_for_clients, shortage
from guesthouse.http_server.state.timer_wheel import NEVER, TimerWheel
from guesthouse.http_server.websocket.frame_reader import MessageReader
from guesthouse.link.credit import push_cost

from .conftest import CHAT, OTHER, FakeLog, masked

# Frames.


def inbound(max_size: int = 1 << 20, fragments: int = 1000) -> tuple[MessageReader, list[tuple[int, bytes]]]:
    got: list[tuple[int, bytes]] = []
    protocol = ServerProtocol(state=OPEN)
    return MessageReader(
        protocol, lambda kind, data: got.append((kind, data)), max_size=max_size, fragments=fragments
    ), got


def is_sliced(reader: MessageReader) -> bool:
    return reader.sliced


messages = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.lists(st.text(max_size=200), min_size=1, max_size=4)),
        st.tuples(st.just("binary"), st.lists(st.binary(max_size=70_000), min_size=1, max_size=3)),
        st.tuples(st.just("ping"), st.lists(st.binary(max_size=125), min_size=1, max_size=1)),
        st.tuples(st.just("pong"), st.lists(st.binary(max_size=125), min_size=1, max_size=1)),
    ),
    max_size=6,
)


@settings(max_examples=examples(150), deadline=None)
@given(messages, st.lists(st.integers(1, 3000), min_size=1, max_size=20))
def test_any_messages_in_any_fragments_over_any_split_of_the_stream_arrive_whole(
    sent: list[tuple[str, list[str] | list[bytes]]], cuts: list[int]
) -> None:
    client = ClientProtocol.__new__(ClientProtocol)
    from websockets.protocol import CLIENT, Protocol

    Protocol.__init__(client, CLIENT)
    expected: list[tuple[int, bytes]] = []
    for kind, pieces in sent:
        raw = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
        number = {"text": 0, "binary": 1, "ping": 2, "pong": 3}[kind]
        expected.append((number, b"".join(raw)))
        if number >= 2:
            (client.send_ping if number == 2 else client.send_pong)(raw[0])
            continue
        start = client.send_text if number == 0 else client.send_binary
        start(raw[0], fin=len(raw) == 1)
        for index, piece in enumerate(raw[1:], 2):
            client.send_continuation(piece, fin=index == len(raw))
    stream = b"".join(client.data_to_send())
    reader, got = inbound()
    for size in itertools.chain(cuts, itertools.repeat(len(stream) + 1)):
        if not stream:
            break
        reader.receive(stream[:size])
        while is_sliced(reader):
            reader.paused = reader.sliced = False
            reader.receive(b"")
        stream = stream[size:]
        while reader.sliced:  # its turn comes again
            reader.paused = reader.sliced = False
            reader.receive(b"")
    assert reader.close is None
    assert got == expected


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_any_bytes_are_refused_or_understood_and_never_crash(pieces: list[bytes]) -> None:
    reader, got = inbound(max_size=100, fragments=3)
    for piece in pieces:
        reader.receive(piece)
    assert all(len(payload) <= 125 for _, payload in got)


def test_a_frame_that_trickles_in_costs_no_copy_for_each_byte() -> None:
    reader, got = inbound()
    size = 1 << 20
    reader.receive(b"\x82\xff" + size.to_bytes(8, "big") + b"\0\0\0\0")
    for _ in range(size):
        reader.receive(b"x")
    assert got == [(1, b"x" * size)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
@pytest.mark.parametrize("message_type", [0, 1])
def test_a_frame_is_what_websockets_would_have_written(message_type: int, size: int) -> None:
    protocol = ServerProtocol(state=OPEN)
    (protocol.send_binary if message_type else protocol.send_text)(b"a" * size)
    assert [frame(message_type, b"a" * size)] == protocol.data_to_send()


def test_a_message_for_many_is_framed_once_for_each_kind_of_client() -> None:
    shared = SharedFrames(0, b"x" * 5000)
    assert shared.encode(0) is shared.encode(0)
    assert shared.encode(12) is shared.encode(12)
    assert shared.encode(12) == deflated_frame(0, b"x" * 5000, 12)
    assert len(shared.encode(12)) < 200
    small = SharedFrames(0, b"x" * 1023)
    assert small.encode(12) == small.encode(0)


# Credit.


def test_credit_is_spent_to_the_byte_and_not_beyond() -> None:
    outbox = CreditWindow(window=1000)
    assert not outbox.take(1000)
    assert outbox.take(1000 - push_cost(0))
    assert not outbox.take(0)


def test_credit_comes_back_in_batches_of_a_fourth() -> None:
    outbox = CreditWindow(window=1024)
    outbox.take(255 - push_cost(0))
    assert outbox.settle(buffered=0) == 0
    outbox.take(0)
    assert outbox.settle(buffered=200) == 0
    assert outbox.settle(buffered=0) == 255 + push_cost(0)
    assert outbox.spent == 0


def test_what_is_still_in_memory_is_not_granted() -> None:
    outbox = CreditWindow(window=1024)
    outbox.take(800)
    assert outbox.settle(buffered=300) == push_cost(800) - 300
    assert outbox.spent == 300


@given(st.integers(1024, 1 << 23))
def test_a_worker_that_spent_everything_is_granted_something_at_its_last_push_or_at_the_low_mark(
    window: int,
) -> None:
    high, low = write_limits(window)
    outbox = CreditWindow(window)
    outbox.spent = window
    assert 0 <= low < high < window
    assert outbox.settle(buffered=high) > 0


def test_a_message_without_credit_needs_room_beside_what_waits() -> None:
    outbox = CreditWindow(window=1000)
    room = 1000 - push_cost(0)
    assert outbox.has_room(room, buffered=0)
    assert not outbox.has_room(room, buffered=1)


# Pongs.


def pong(payload: bytes, first: int = 0x8A) -> bytes:
    mask = b"mask"
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + mask + body


def test_the_pong_that_is_waited_for_is_known_and_delivered_to_nobody() -> None:
    frames, got = inbound()
    assert frames.is_pong(pong(b"12345678"), b"12345678")
    frames.receive(masked(0x01, b"half"))
    assert frames.is_pong(pong(b"12345678"), b"12345678")  # between the fragments of a message
    frames.receive(masked(0x80, b" of it"))
    assert got == [(0, b"half of it")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pong(b"12345678")[:-1],
        pong(b"12345678") + b"\x8a",
        pong(b"12345679"),
        pong(b"12345678", 0x8A ^ 0x03),  # a ping
        pong(b"12345678", 0x0A),  # a fragment of a pong, which there is not
        pong(b"12345678", 0xCA),  # a compressed one, which there is not
        b"\x8a\x08" + b"12345678" + b"\x00" * 4,  # without a mask
    ],
)
def test_what_is_not_just_that_pong_goes_the_long_way(data: bytes) -> None:
    frames, _ = inbound()
    assert not frames.is_pong(data, b"12345678")


def test_bytes_that_look_like_the_pong_and_are_the_middle_of_a_frame_are_not_it() -> None:
    frames, got = inbound()
    middle = pong(b"12345678")
    frames.receive(bytes((0x82, 0x80 | 4 + len(middle))) + b"mask" + b"size")
    assert not frames.is_pong(middle, b"12345678")
    frames.receive(middle)
    assert [len(payload) for _, payload in got] == [4 + len(middle)]


def test_a_pong_is_kept_for_later_while_nothing_is_to_be_delivered() -> None:
    frames, _ = inbound()
    frames.paused = True
    assert not frames.is_pong(pong(b"12345678"), b"12345678")


# Deadlines.


@dataclass(eq=False)
class Item:
    follow_up: float = NEVER
    due: float = NEVER
    seen: int = 0

    def on_deadline(self, now: float) -> float:
        self.seen += 1
        return self.follow_up


def test_a_deadline_comes_once_and_in_time() -> None:
    deadlines, item = TimerWheel(), Item()
    deadlines.set(item, 10)
    deadlines.run(9.9)
    assert item.seen == 0
    deadlines.run(10)
    deadlines.run(11)
    assert item.seen == 1
    assert len(deadlines) == 0


def test_a_moved_deadline_comes_at_its_new_time_only() -> None:
    deadlines, item = TimerWheel(), Item()
    deadlines.set(item, 10)
    deadlines.set(item, 5)
    deadlines.set(item, 20)
    deadlines.run(19)
    assert item.seen == 0
    deadlines.run(20)
    assert item.seen == 1
    deadlines.set(item, 30)
    deadlines.set(item, NEVER)
    deadlines.run(99)
    assert item.seen == 1


def test_something_may_ask_to_be_looked_at_again() -> None:
    deadlines, item = TimerWheel(), Item(follow_up=20)
    deadlines.set(item, 10)
    deadlines.run(10)
    assert item.due == 20
    item.follow_up = NEVER
    deadlines.run(20)
    assert item.seen == 2


def test_so_many_are_looked_at_as_may_be_and_then_the_others() -> None:
    deadlines, items = TimerWheel(), [Item() for _ in range(20)]
    for number, item in enumerate(items):
        deadlines.set(item, 1 + number % 3)
    assert [deadlines.run(5, limit=8) for _ in range(4)] == [True, True, False, False]
    assert [item.seen for item in items] == [1] * 20
    assert len(deadlines) == 0


def test_what_another_took_away_while_it_waited_its_turn_is_not_looked_at() -> None:
    deadlines = TimerWheel()
    items = [Item() for _ in range(3)]

    class Ends(Item):
        def on_deadline(self, now: float) -> float:
            deadlines.set(items[0], NEVER)
            deadlines.set(items[1], 9)
            deadlines.set(items[2], 9)
            deadlines.set(items[2], 2)
            return super().on_deadline(now)

    for item in items:
        deadlines.set(item, 1)
    ends = Ends()
    deadlines.set(ends, 1)
    assert deadlines.run(5) is False
    assert ends.seen == 1
    assert [item.due for item in items] == [NEVER, 9, NEVER]
    assert [item.seen for item in items] == [0, 0, 1]  # once, though it was passed and set anew


def test_one_that_fails_is_not_looked_at_again_and_the_others_are() -> None:
    deadlines, items = TimerWheel(), [Item(), Item()]

    class Fails(Item):
        def on_deadline(self, now: float) -> float:
            raise ValueError("a defect")

    failing = Fails()
    for item in (*items, failing):
        deadlines.set(item, 1)
    with pytest.raises(ValueError, match="a defect"):
        deadlines.run(2)
    assert deadlines.run(2) is False
    assert [item.seen for item in items] == [1, 1]
    assert failing.due == NEVER


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.01, 0.05, 1.0, 7.5, NEVER]), st.booleans()),
        max_size=60,
    )
)
def test_everything_is_looked_at_when_it_is_due_and_never_before(
    steps: list[tuple[int, float, bool]],
) -> None:
    deadlines, items, now = TimerWheel(), [Item() for _ in range(5)], 100.0
    dues = [NEVER] * 5
    for which, seconds, go_on in steps:
        deadlines.set(items[which], now + seconds)
        dues[which] = now + seconds
        if go_on:
            now += 0.03
            seen = [item.seen for item in items]
            deadlines.run(now)
            for place, item in enumerate(items):
                assert item.seen - seen[place] == (dues[place] <= now)
                dues[place] = NEVER if dues[place] <= now else dues[place]
                assert item.due == dues[place]
    assert len(deadlines) == sum(due != NEVER for due in dues)


# Sockets.


def test_who_has_a_whole_ipv6_network_is_counted_as_one() -> None:
    admission = ConnectionAdmission(total=100, per_address=2)
    assert admission.admit("2001:db8:1:2::1") is AdmittedConnection.YES
    assert admission.admit("2001:db8:1:2:ffff::9") is AdmittedConnection.YES
    assert admission.admit("2001:db8:1:2:dead:beef::") is AdmittedConnection.TOO_MANY_FROM_ADDRESS
    assert admission.admit("2001:db8:1:3::1") is AdmittedConnection.YES
    assert admission.admit("::ffff:192.0.2.1") is admission.admit("192.0.2.1") is AdmittedConnection.YES
    assert admission.admit("::ffff:192.0.2.1") is AdmittedConnection.TOO_MANY_FROM_ADDRESS
    assert admission.admit("fe80::1%eth0") is admission.admit("fe80::2%eth0") is AdmittedConnection.YES
    assert admission.admit("fe80::3") is AdmittedConnection.TOO_MANY_FROM_ADDRESS
    for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "192.0.2.1", "192.0.2.1"):
        admission.release(address, AdmittedConnection.YES)
    assert admission.admit("2001:db8:1:2:dead:beef::") is AdmittedConnection.YES
    assert counted_as("no address") == "no address"
    for loopback in ("127.0.0.1", "127.9.8.7", "::1", "::ffff:127.4.4.4", "127.255.255.254"):
        assert counted_as(loopback) == "127.0.0.1"
    for other in ("127.example", "128.0.0.1", "127", "::ffff:10.0.0.1", "::2"):
        assert counted_as(other) != "127.0.0.1"
    assert counted_as("not:an:address") == "not:an:address"


@pytest.mark.parametrize(
    ("settings", "limit", "room"),
    [
        (Settings(workers=1), 1 << 20, 20_000),
        (Settings(workers=1), 20_000, 20_000 - 64 - 48 - 8),
        (Settings(workers=4), 1024, 1024 - 64 - 48 - 32),
        (Settings(isolation="package", most_workers=64), 1024, 1024 - 64 - 48 - 512),
        (Settings(workers=1), 100, 16),
        (Settings(workers=1, gateways=2), 256, 20_000),
    ],
)
def test_clients_have_what_the_limit_on_descriptors_leaves(settings: Settings, limit: int, room: int) -> None:
    assert room_for_clients(settings, limit) == room
    said = shortage(settings, limit)
    assert (said is None) == (room == 20_000)
    assert said is None or said.startswith(f"{room} clients at once instead of connections.total (20000)")


def test_sockets_are_counted_in_and_out() -> None:
    admission = ConnectionAdmission(total=3, per_address=2, exempt={"proxy"})
    verdicts = [admission.admit("a") for _ in range(3)]
    assert verdicts == [
        AdmittedConnection.YES,
        AdmittedConnection.YES,
        AdmittedConnection.TOO_MANY_FROM_ADDRESS,
    ]
    admission.release("a", AdmittedConnection.TOO_MANY_FROM_ADDRESS)
    assert admission.admit("b") is AdmittedConnection.YES
    assert admission.admit("b") is AdmittedConnection.TOO_MANY
    admission.release("a", AdmittedConnection.YES)
    assert admission.open == 2
    assert admission.admit("a") is AdmittedConnection.YES


def test_a_trusted_proxy_has_no_limit_of_its_own() -> None:
    admission = ConnectionAdmission(total=10, per_address=1, exempt={"proxy"})
    assert {admission.admit("proxy") for _ in range(5)} == {AdmittedConnection.YES}


def test_telling_clients_of_the_limit_is_limited_too() -> None:
    admission = ConnectionAdmission(total=0, per_address=1)
    verdicts = [admission.admit("a") for _ in range(20)]
    assert verdicts == [AdmittedConnection.TOO_MANY] * 16 + [AdmittedConnection.DROP] * 4
    admission.release("a", AdmittedConnection.DROP)
    assert admission.admit("a") is AdmittedConnection.DROP
    admission.release("a", AdmittedConnection.TOO_MANY)
    assert admission.admit("a") is AdmittedConnection.TOO_MANY


# Channels.


@dataclass
class Owned:
    owner: ProcessId


def test_an_id_that_is_open_or_was_closed_lately_is_not_given_out() -> None:
    draws = iter([5, 5, 6, 5, 6, 7, 8])
    table: ChannelTable[Owned] = ChannelTable(draw=lambda: next(draws))
    assert [table.add(Owned(CHAT)), table.add(Owned(CHAT))] == [5, 6]
    table.remove(5)
    table.remove(5)
    assert table.was_closed(5)
    assert table.add(Owned(OTHER)) == 7
    assert [len(table.of(CHAT)), len(table.of(OTHER)), len(table)] == [1, 1, 2]
    assert table.owned(CHAT, 7) is None
    assert table.owned(OTHER, 7) is not None
    assert table.owned(CHAT, 5) is None


def test_ids_are_numbers_that_every_guest_language_passes() -> None:
    """StarlingMonkey, an engine of JavaScript guests, spoils a `u32` of 2^31 and more."""
    table: ChannelTable[Owned] = ChannelTable()
    assert all(0 < table.add(Owned(CHAT)) < 2**31 for _ in range(100))


def test_ids_return_after_many_others() -> None:
    counter = itertools.count(1)
    table: ChannelTable[Owned] = ChannelTable(draw=lambda: next(counter))
    for _ in range(65_537):
        table.remove(table.add(Owned(CHAT)))
    assert not table.was_closed(1)
    assert table.was_closed(2)


# Who may come in.


def test_a_one_time_token_works_once_and_for_ten_minutes() -> None:
    tokens = OneTimeTokens()
    first, second = tokens.issue(0), tokens.issue(0)
    assert first != second
    assert tokens.use(first, 599)
    assert not tokens.use(first, 599)
    assert not tokens.use(second, 600)
    assert not tokens.use("\ud800", 0)


def test_unused_one_time_tokens_do_not_pile_up() -> None:
    tokens = OneTimeTokens()
    oldest = tokens.issue(0)
    for _ in range(1024):
        newest = tokens.issue(0)
    assert not tokens.use(oldest, 1)
    assert tokens.use(newest, 1)


def test_waits_double_up_to_a_quarter_of_an_hour_and_a_success_clears_them() -> None:
    throttle = LoginThrottle()
    waits, now = [], 0.0
    for _ in range(16):
        throttle.failed("a", now)
        waits.append(throttle.wait("a", now))
        now += waits[-1]
    assert waits == [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert throttle.wait("b", now) == 0
    throttle.succeeded("a")
    assert throttle.wait("a", now) == 0


def test_the_memory_of_failures_is_bounded() -> None:
    throttle = LoginThrottle()
    for number in range(5000):
        throttle.failed(str(number), 0)
    assert len(throttle._failures) == 4096


def test_a_cookie_header_without_the_nodes_cookies_keeps_the_others() -> None:
    for prefix in ("kinode-auth_", "hyperware-auth_"):
        assert without_own_cookies(f"a=1; {prefix}x=2;b=3 ; {prefix}x@p=4;") == "a=1; b=3"
        assert without_own_cookies(f"{prefix}x=2") == ""


# The rest.


@pytest.mark.parametrize(
    ("code", "sendable"),
    [(999, False), (1000, True), (1003, True), (1004, False), (1005, False), (1006, False), (1007, True),
     (1014, True), (1015, False), (1016, False), (2999, False), (3000, True), (4999, True), (5000, False)],
)  # fmt: skip
def test_close_codes_that_an_endpoint_may_send(code: int, sendable: bool) -> None:
    assert is_sendable_code(code) is sendable


def test_a_flood_of_faults_is_a_line_a_second_that_counts_the_rest() -> None:
    log = FakeLog()
    client_faults = ClientFaultLog(log)
    for step in range(25):
        client_faults.log("chat", "pushes too much", step / 10)
    client_faults.log("other", "pushes too much", 2.5)
    assert [text for _, _, text in log.lines] == [
        "chat: pushes too much",
        "chat: pushes too much (9 more like it)",
        "chat: pushes too much (9 more like it)",
        "other: pushes too much",
    ]


def test_a_fault_of_a_thousand_senders_is_logged_of_few_and_the_rest_counted() -> None:
    log = FakeLog()
    client_faults = ClientFaultLog(log)
    for sender in range(1000):
        client_faults.log(f"192.0.2.{sender}", "guesses tokens", 1 + sender / 2000)
    client_faults.log("chat", "pushes too much", 1.5)
    client_faults.log("192.0.2.7", "guesses tokens", 3)
    assert [text for _, _, text in log.lines] == [
        *(f"192.0.2.{sender}: guesses tokens" for sender in range(8)),
        "chat: pushes too much",
        "192.0.2.7: guesses tokens (992 more of others)",
    ]


@given(st.text())
def test_every_path_is_split_or_refused(text: str) -> None:
    try:
        segments, _ = split(text)
    except BadPath:
        return
    assert all(segment not in ("", ".", "..") and "/" not in segment for segment in segments)


@given(st.text(max_size=40))
def test_every_bound_path_that_is_literal_is_found_by_itself(text: str) -> None:
    try:
        pattern = PathPattern.parse(text)
    except BadPath:
        return
    if pattern.literal:
        assert pattern.match(pattern.segments) == ()


def test_query_parameters_are_limited_in_number() -> None:
    assert len(query_params("&".join("a=b" for _ in range(1000)))) == 256
    assert query_params("") == ()
    assert query_params("a=%ff&b") == (("a", "\ufffd"), ("b", ""))

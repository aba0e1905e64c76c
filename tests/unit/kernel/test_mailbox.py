from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples

from guesthouse.kernel.process.mailbox import (
    FRUITLESS_RUNS,
    MESSAGE_OVERHEAD,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Mailbox,
)
from guesthouse.link.frames import LinkError
from guesthouse.link.to_worker import Close, OfChannel, Open, Push, Request, ToProcess

RUN = 5


class Socket:
    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def opening(channel: int, *, resumed: bool = False, credit: int = 1000) -> Open:
    return Open(RUN, channel, "/", None, None, (), (), resumed, credit, "/", None)


def pushing(channel: int, payload: bytes = b"") -> Push:
    return Push(RUN, channel, 0, payload)


def closing(channel: int) -> Close:
    return Close(RUN, channel)


def request(number: int = 0) -> Request:
    return Request(RUN, number, "n.os@a:b:c", b"")


def taken(mailbox: Mailbox) -> list[ToProcess]:
    return [message for message, _ in mailbox.take(RUN)]


def test_requests_without_end_leave_room_for_a_socket_that_waits_for_it() -> None:
    """Or whoever sends again and again would keep it waiting for ever."""
    capacity, size = 16_000, 1000
    mailbox, socket = Mailbox(capacity), Socket()

    def fill() -> bool:
        while not mailbox.refuses():
            mailbox.post(request(1), size - MESSAGE_OVERHEAD)
        return socket.paused

    def take_one() -> bool:
        taken(mailbox)
        mailbox.consumed(1)
        return socket.paused

    mailbox.post_open(opening(1))
    fill()
    mailbox.post_push(pushing(1), 0, socket)
    paused = [take_one() and fill() for _ in range(capacity // size)]
    assert paused[0]
    assert not paused[-1]


def test_messages_are_sent_in_order_and_kept_until_consumed() -> None:
    mailbox = Mailbox(10_000)
    first, second = pushing(1, b"a"), pushing(1, b"b")
    mailbox.post_open(opening(1))
    mailbox.post_push(first, 1, Socket())
    mailbox.post_push(second, 1, Socket())
    assert taken(mailbox) == [opening(1), first, second]
    assert len(mailbox) == 3
    mailbox.consumed(2)
    assert list(mailbox.kept()) == [second]


@pytest.mark.parametrize("later", [False, True])
def test_only_a_message_in_hand_is_lost_with_its_run(later: bool) -> None:
    """The guest finished it before it was reported as consumed, or is at work on it then, and finishes it later."""
    mailbox = Mailbox(10_000)
    for _ in range(3):
        mailbox.post(request(), 1)
        assert len(taken(mailbox)) == 1
        mailbox.consumed(1, in_hand=later)
        if later:
            mailbox.consumed(0, in_hand=False)
    assert mailbox.end_run(worker_lost=True) is None
    mailbox.begin_run([])
    mailbox.post(request(), 1)
    assert len(taken(mailbox)) == 1
    mailbox.consumed(1)
    assert mailbox.end_run(worker_lost=True) == "a request"


@pytest.mark.parametrize("taken_too", [False, True])
def test_the_last_words_to_a_run_are_for_no_other(taken_too: bool) -> None:
    mailbox = Mailbox(10_000)
    mailbox.post(last := request(), 1)
    assert taken(mailbox) == [last]
    mailbox.send_last(request())
    if taken_too:
        mailbox.consumed(2)
    mailbox.end_run()
    mailbox.begin_run([])
    assert taken(mailbox) == ([] if taken_too else [last])
    assert mailbox.size == (0 if taken_too else MESSAGE_OVERHEAD + 1)


def test_the_window_holds_so_many_messages() -> None:
    mailbox = Mailbox(10_000_000)
    for _ in range(WINDOW_MESSAGES + 5):
        mailbox.post(request(), 0)
    assert len(taken(mailbox)) == WINDOW_MESSAGES
    mailbox.consumed(3)
    assert len(taken(mailbox)) == 3


def test_the_window_holds_so_many_bytes_but_always_one_message() -> None:
    mailbox = Mailbox(100_000_000)
    for _ in range(2):
        mailbox.post(request(), WINDOW_BYTES * 3)
    assert len(taken(mailbox)) == 1
    assert taken(mailbox) == []
    mailbox.consumed(1)
    assert len(taken(mailbox)) == 1


def test_a_full_mailbox_pauses_its_feeders_and_resumes_them_below_half() -> None:
    mailbox = Mailbox(10 * MESSAGE_OVERHEAD)
    feeder = Socket()
    mailbox.post_open(opening(1))
    for _ in range(8):
        mailbox.post_push(pushing(1), 0, feeder)
    assert (mailbox.full, feeder.paused) == (False, False)
    mailbox.post_push(pushing(1), 0, feeder)
    assert (mailbox.full, feeder.paused) == (True, True)
    taken(mailbox)
    states = []
    for count in (5, 1):
        mailbox.consumed(count)
        states.append(feeder.paused)
    assert states == [True, False]


def test_what_passes_an_empty_mailbox_counts_as_what_was_posted_and_taken() -> None:
    passed, posted = Mailbox(10_000), Mailbox(10_000)
    assert passed.pass_push(pushing(1, b"text"), 4, Socket())
    posted.post_push(pushing(1, b"text"), 4, Socket())
    assert taken(posted) == [pushing(1, b"text")]
    assert taken(passed) == []
    assert (passed.size, passed.window_size, list(passed.kept())) == (
        posted.size, posted.window_size, list(posted.kept()),
    )  # fmt: skip
    passed.consumed(1)
    assert (passed.size, passed.window_size) == (0, 0)


def test_nothing_passes_what_waits_or_a_full_window() -> None:
    mailbox = Mailbox(10**9)
    mailbox.post_push(pushing(1), 0, Socket())
    assert not mailbox.pass_push(pushing(1), 0, Socket())
    taken(mailbox)
    for _ in range(WINDOW_MESSAGES - 1):
        assert mailbox.pass_push(pushing(1), 0, Socket())
    assert not mailbox.pass_push(pushing(1), 0, Socket())
    assert len(mailbox) == WINDOW_MESSAGES


def test_what_passes_and_fills_a_mailbox_pauses_its_feeder_and_is_told() -> None:
    told: list[bool] = []
    mailbox, feeder = Mailbox(2 * MESSAGE_OVERHEAD, lambda: told.append(True)), Socket()
    assert mailbox.pass_push(pushing(1), 0, feeder)
    assert (feeder.paused, told) == (False, [])
    assert mailbox.pass_push(pushing(1), 0, feeder)
    assert (feeder.paused, told) == (True, [True])


def test_a_closed_channel_is_not_resumed() -> None:
    mailbox = Mailbox(MESSAGE_OVERHEAD)
    feeder = Socket()
    mailbox.post_open(opening(1))
    mailbox.post_push(pushing(1), 0, feeder)
    mailbox.post_close(closing(1))
    taken(mailbox)
    mailbox.consumed(3)
    assert feeder.paused


@pytest.mark.parametrize("count", [-1, 0, 2])
def test_consuming_what_was_not_sent_is_a_link_error(count: int) -> None:
    mailbox = Mailbox(1000)
    mailbox.post(request(), 0)
    mailbox.post(request(), 0)
    next(mailbox.take(RUN))
    with pytest.raises(LinkError, match="consumed of 1 sent"):
        mailbox.consumed(count)


def test_a_new_run_gets_what_the_old_one_did_not_consume_and_nothing_it_did() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1))
    for text in (b"in hand", b"sent", b"waiting"):
        mailbox.post_push(pushing(1, text), len(text), Socket())
    taken(mailbox)
    mailbox.consumed(2)
    assert mailbox.end_run() == "the push of channel 1"
    mailbox.begin_run([opening(1, resumed=True)])
    assert taken(mailbox) == [
        opening(1, resumed=True),
        pushing(1, b"sent"),
        pushing(1, b"waiting"),
    ]


def test_a_channel_that_no_run_heard_of_is_announced_as_new() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1, credit=5))
    mailbox.post_push(pushing(1), 0, Socket())
    mailbox.begin_run([opening(1, resumed=True, credit=70)])
    assert taken(mailbox) == [opening(1, resumed=False, credit=70), pushing(1)]


def test_messages_of_a_client_that_left_during_the_restart_are_understood_by_the_new_run() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1))
    taken(mailbox)
    mailbox.consumed(1)
    mailbox.end_run()
    mailbox.post_push(pushing(1, b"save this"), 9, Socket())
    mailbox.post_close(closing(1))
    mailbox.begin_run([])
    assert taken(mailbox) == [
        opening(1, resumed=True, credit=0),
        pushing(1, b"save this"),
        closing(1),
    ]


def test_a_new_run_does_not_hear_of_the_end_of_a_channel_it_does_not_know() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1))
    taken(mailbox)
    mailbox.consumed(1)
    mailbox.post_close(closing(1))
    mailbox.end_run()
    mailbox.begin_run([])
    assert taken(mailbox) == []
    assert mailbox.size == 0


def test_credit_for_a_channel_not_yet_told_travels_with_its_open() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1, credit=10))
    assert mailbox.add_credit(1, 5)
    assert taken(mailbox) == [opening(1, credit=15)]
    assert not mailbox.add_credit(1, 5)


def test_messages_of_a_channel_that_the_process_closed_are_dropped() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1))
    taken(mailbox)
    mailbox.post_push(pushing(1), 0, Socket())
    mailbox.post(request(9), 0)
    assert mailbox.forget_channel(1)
    assert taken(mailbox) == [request(9)]
    mailbox.consumed(2)
    assert mailbox.size == 0


def test_dropping_the_messages_of_a_closed_channel_makes_room_for_others() -> None:
    mailbox, other = Mailbox(10 * MESSAGE_OVERHEAD), Socket()
    for channel in (1, 2):
        mailbox.post_open(opening(channel))
    taken(mailbox)
    mailbox.consumed(2)
    payload = bytes(10 * MESSAGE_OVERHEAD)
    mailbox.post_push(pushing(1, payload), len(payload), Socket())
    mailbox.post_push(pushing(2), 0, other)
    assert other.paused
    assert mailbox.forget_channel(1)
    assert taken(mailbox) == [pushing(2)]
    assert not other.paused


def test_a_channel_closed_before_its_worker_heard_of_it_is_never_mentioned() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1))
    mailbox.post_push(pushing(1), 0, Socket())
    assert not mailbox.forget_channel(1)
    assert taken(mailbox) == []
    assert mailbox.size == 0


def test_the_message_that_ends_worker_after_worker_is_given_up_and_those_after_it_are_kept() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post_open(opening(1))
    for text in (b"poison", b"after"):
        mailbox.post_push(pushing(1, text), len(text), Socket())
    given_up = []
    for _ in range(FRUITLESS_RUNS):
        mailbox.begin_run([opening(1, resumed=True)])
        taken(mailbox)
        mailbox.consumed(1)
        given_up.append(mailbox.end_run(worker_lost=True))
    assert given_up == ["the open of channel 1"] * (FRUITLESS_RUNS - 1) + ["the push of channel 1"]
    mailbox.begin_run([opening(1, resumed=True)])
    assert taken(mailbox)[1:] == [pushing(1, b"after")]


def test_runs_that_end_without_their_workers_doing_give_nothing_up() -> None:
    mailbox = Mailbox(100_000)
    mailbox.post(request(9), 0)
    for _ in range(2 * FRUITLESS_RUNS):
        mailbox.begin_run([])
        assert taken(mailbox) == [request(9)]
        assert mailbox.end_run() is None


class MailboxMachine(RuleBasedStateMachine):
    """Clients, a process that runs and dies, and what each run of it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox(20 * MESSAGE_OVERHEAD)
        self.running = False
        self.next_channel = 1
        self.next_message = 0
        self.open: dict[int, Socket] = {}
        self.posted: dict[int, list[bytes]] = defaultdict(list)
        self.handed: dict[int, list[bytes]] = defaultdict(list)
        self.forgotten: set[int] = set()
        self.ever_told: set[int] = set()
        self.told: set[int] = set()
        self.ended: set[int] = set()
        self.sent: list[ToProcess] = []
        self.begin()

    def begin(self) -> None:
        self.mailbox.begin_run([opening(channel, resumed=True) for channel in self.open])
        self.told, self.ended, self.sent, self.running = set(), set(), [], True

    @rule()
    def a_client_comes(self) -> None:
        self.mailbox.post_open(opening(self.next_channel))
        self.open[self.next_channel] = Socket()
        self.next_channel += 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.integers(0, 3))
    def a_client_sends(self, data: st.DataObject, size: int) -> None:
        channel = data.draw(st.sampled_from(sorted(self.open)))
        self.next_message += 1
        payload = b"%d" % self.next_message + bytes(size * MESSAGE_OVERHEAD)
        self.posted[channel].append(payload)
        self.mailbox.post_push(pushing(channel, payload), len(payload), self.open[channel])

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def a_client_leaves(self, data: st.DataObject) -> None:
        channel = data.draw(st.sampled_from(sorted(self.open)))
        del self.open[channel]
        self.mailbox.post_close(closing(channel))

    @precondition(lambda self: self.running and self.open)
    @rule(data=st.data())
    def the_process_closes_a_channel(self, data: st.DataObject) -> None:
        channel = data.draw(st.sampled_from(sorted(self.open)))
        del self.open[channel]
        self.forgotten.add(channel)
        worker_knows = (
            any(type(sent) is Open and sent.channel_id == channel for sent in self.sent)
            or channel in self.told
        )
        assert self.mailbox.forget_channel(channel) == worker_knows

    @precondition(lambda self: self.running)
    @rule()
    def the_node_sends(self) -> None:
        for message, _ in self.mailbox.take(RUN):
            self.sent.append(message)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def the_guest_takes(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.sent)))
        self.mailbox.consumed(count)
        for _ in range(count):
            self.handle(self.sent.pop(0))

    def handle(self, message: ToProcess) -> None:
        assert isinstance(message, OfChannel)
        channel = message.channel_id
        assert channel not in self.ended, "a channel spoke after its end"
        if isinstance(message, Open):
            assert channel not in self.told, "a channel was opened twice in a run"
            assert message.resumed == (channel in self.ever_told), "resumed means: a run heard of it before"
            self.told.add(channel)
            self.ever_told.add(channel)
            return
        assert channel in self.told, "a channel spoke before it was opened"
        if isinstance(message, Push):
            self.handed[channel].append(message.payload)
        else:
            self.ended.add(channel)

    @precondition(lambda self: self.running)
    @rule()
    def the_run_ends(self) -> None:
        self.mailbox.end_run()
        self.sent, self.running = [], False

    @precondition(lambda self: not self.running)
    @rule()
    def a_new_run_begins(self) -> None:
        self.begin()

    @invariant()
    def sizes_add_up(self) -> None:
        payloads = (len(kept.payload) if isinstance(kept, Push) else 0 for kept in self.mailbox.kept())
        assert self.mailbox.size == sum(size + MESSAGE_OVERHEAD for size in payloads)

    @invariant()
    def feeders_rest_only_while_the_mailbox_is_half_full(self) -> None:
        if any(feeder.paused for feeder in self.open.values()):
            assert self.mailbox.size * 2 >= 20 * MESSAGE_OVERHEAD

    def teardown(self) -> None:
        if not self.running:
            self.begin()
        while self.sent or len(self.mailbox):
            self.the_node_sends()
            if not self.sent:
                break
            self.mailbox.consumed(len(self.sent))
            while self.sent:
                self.handle(self.sent.pop(0))
        assert self.mailbox.size == 0
        assert not any(feeder.paused for feeder in self.open.values())
        for channel, payloads in self.posted.items():
            if channel in self.forgotten:
                assert payloads[: len(self.handed[channel])] == self.handed[channel]
            else:
                assert self.handed[channel] == payloads
        assert self.told - self.ended - self.forgotten == set(self.open)


MailboxMachine.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=50, deadline=None)
TestMailboxAgainstItsModel = MailboxMachine.TestCase


def successor(mailbox: Mailbox) -> Mailbox:
    """The mailbox of the same process in the next run of the node."""
    mailbox.end_run()
    after = Mailbox(10_000)
    after.take_over(*mailbox.hand_over())
    assert after.size == sum(size for _, size in mailbox.hand_over()[1])
    return after


def test_what_was_not_consumed_goes_on_in_the_next_run_of_the_node() -> None:
    mailbox = Mailbox(10_000)
    mailbox.post_open(opening(1))
    mailbox.post_push(pushing(1, b"a"), 1, Socket())
    assert len(taken(mailbox)) == 2
    mailbox.consumed(2)
    mailbox.post_push(pushing(1, b"b"), 1, Socket())
    mailbox.post(request(), 0)
    assert len(taken(mailbox)) == 2
    mailbox.post_open(opening(2))
    mailbox.post_push(pushing(2, b"c"), 1, Socket())
    after = successor(mailbox)
    after.begin_run([opening(1, resumed=True), opening(2, resumed=True)])
    assert taken(after) == [
        opening(1, resumed=True),
        opening(2),  # which the process has not been told of
        pushing(1, b"b"),
        request(),
        pushing(2, b"c"),
    ]


def test_what_a_client_sent_who_left_before_is_delivered_with_its_channel() -> None:
    mailbox = Mailbox(10_000)
    mailbox.post_open(opening(1))
    assert len(taken(mailbox)) == 1
    mailbox.consumed(1)
    mailbox.post_push(pushing(1, b"last words"), 1, Socket())
    mailbox.post_close(closing(1))
    after = successor(mailbox)
    after.begin_run([])
    assert taken(after) == [opening(1, resumed=True, credit=0), pushing(1, b"last words"), closing(1)]


def test_a_channel_that_its_process_closed_is_not_handed_over() -> None:
    mailbox = Mailbox(10_000)
    mailbox.post_open(opening(1))
    assert len(taken(mailbox)) == 1
    mailbox.consumed(1)
    mailbox.post_push(pushing(1), 0, Socket())
    mailbox.forget_channel(1)
    after = successor(mailbox)
    after.begin_run([])
    assert taken(after) == []

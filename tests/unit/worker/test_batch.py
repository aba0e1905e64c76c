"""A guest that is given messages in batches does what it does when it calls the host for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.tiers import thorough_after, thorough_but
from tests.wire import ToNode, ToWorker

from guesthouse.core.exit_cause import ExitCause

from .guests import (
    BLOB_BYTES_AT,
    IS_PUSH,
    LIBC,
    PUSH_CHANNEL,
    PUSH_CHANNEL_AT,
    RECEIVE,
    RESULT_NAMES,
    RETURN,
    SCRATCH,
    data,
    process,
    say_result,
)
from .process import NODE, PLENTY, Guest, Worker

Message: TypeAlias = tuple[int, int, bytes]
"""Channel, type and payload."""

COUNTING: Final = """
import os, sys
from guesthouse.worker import __main__
opened = [0, 0]
def load():
    loop = __main__._loop()
    from guesthouse.worker.batch import Batch
    opens = Batch.open
    def open(self, first):
        opens(self, first)
        if self._guest.fiber.before_call is not None:
            opened[0] += 1
            opened[1] += self._unread
    Batch.open = open
    return loop
code = __main__.main(sys.argv[1:], load)
print(*opened, file=sys.stderr, flush=True)
os._exit(code)
"""
"""A worker that says in the end how many batches it opened, and how many messages were in them."""
WITHOUT: Final = """
import os, sys
from guesthouse.worker import __main__
def load():
    loop = __main__._loop()
    from guesthouse.worker.guest import Guest
    Guest.ask_for_batch = lambda self: None
    return loop
os._exit(__main__.main(sys.argv[1:], load))
"""
"""A worker without batches."""

RESULT: Final = SCRATCH + 64
TEXT_RESULT: Final = SCRATCH + 128
BYTES: Final = "(local.get $bytes) (local.get $size)"
_NODE: Final = f"(i32.const 700) (i32.const {len(NODE)})"


def _push(kind: int, node: str = _NODE, payload: str = BYTES, at: str = f"(i32.const {RESULT})") -> str:
    no_mime = "(i32.const 0) (i32.const 0) (i32.const 0)"
    return f"(call $send-ws-push {node} {PUSH_CHANNEL} (i32.const {kind}) {no_mime} {payload} {at})"


def _text(channel: str = PUSH_CHANNEL, payload: str = BYTES, at: int = RESULT) -> str:
    return f"(call $send-ws-text {channel} {payload} (i32.const {at}))"


STEPS: Final = {
    "e": _text(),
    "b": _push(1),
    "t": _push(0),
    "g": _push(2),
    "n": _push(1, node="(i32.const 699) (i32.const 4)"),
    "N": _push(1, node="(i32.const 0) (i32.const 0)"),
    "k": _push(9),
    "v": _push(0, payload="(i32.const 760) (i32.const 1)"),
    "o": _text(channel=f"(i32.add {PUSH_CHANNEL} (i32.const 1))"),
    "0": _text(payload="(i32.const 0) (i32.const 0)"),
    "p": say_result(RESULT),
    "h": "(drop (call $has-blob))",
    "l": f"(call $last-blob (i32.const {TEXT_RESULT}))",
    "i": _text(payload="(i32.const 760) (i32.const 1)"),
    "j": f"""(call $get-blob-text (i32.const {TEXT_RESULT}))
        (if (i32.load8_u (i32.const {TEXT_RESULT}))
          (then (call $send-ws-text {PUSH_CHANNEL} (i32.load (i32.const {TEXT_RESULT + 4}))
            (i32.load (i32.const {TEXT_RESULT + 8})) (i32.const {RESULT})))
          (else (call $print (i32.const 2) (i32.const 740) (i32.const 4))))""",
    "m": f"""(i32.store (i32.const 2048) {PUSH_CHANNEL})
        (call $send-ws-text-many (i32.const 2048) (i32.const 1) {BYTES} (i32.const {RESULT}))""",
    "c": f"""(call $close-channel {PUSH_CHANNEL}
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {RESULT}))""",
    "r": RECEIVE,
    "s": "(local.set $n (i32.const 3000000)) (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    "z": "(call $print (i32.const 2) (i32.const 750) (i32.const 3))",
}
"""What a byte of a payload has the guest do."""
ENDS: Final = {
    "A": _text(payload="(i32.const -16) (i32.const 32)"),
    "B": _text(at=-1),
    "C": f"(call $get-blob (i32.const {SCRATCH + 1}))",
    "D": f"(call $get-blob-text (i32.const {SCRATCH + 2}))",
    "E": "(call $get-blob (i32.const -8))",
    "F": f"(call $receive (i32.const {RETURN + 1}))",
    "G": "(call $receive (i32.const -8))",
    "H": "unreachable",
    "I": _push(1, payload="(i32.const -1) (i32.const 1)"),
    "J": _push(0, payload="(i32.const -16) (i32.const 32)"),
    "K": _push(1, node="(i32.const -1) (i32.const 4)"),
    "L": _push(1, at="(i32.const -1)"),
    "M": _text(payload="(i32.const 0) (i32.const 16777216)"),
    "i": STEPS["i"],
    "k": STEPS["k"],
}
"""The same; the guest ends by it, but where there is no room for another ending."""
DID: Final = "".join(
    f"(if (i32.eq (local.get $step) (i32.const {ord(step)})) (then {code}))"
    for step, code in (STEPS | ENDS).items()
)
CALLS: Final = (
    *(
        "messaging.receive",
        "messaging.receive-ws-push",
        "messaging.get-blob",
        "messaging.get-blob-text",
        "messaging.has-blob",
    ),
    *("messaging.last-blob", "http-server.send-ws-text", "http-server.send-ws-push"),
    *("http-server.send-ws-text-many", "http-server.close-channel", "system.print"),
)
_TAKES: Final = {
    "receive": f"""{RECEIVE}
      (if {IS_PUSH} (then
        (call $get-blob (i32.const {SCRATCH}))
        (local.set $bytes (i32.load (i32.const {SCRATCH + 4 + BLOB_BYTES_AT})))
        (local.set $size (i32.load (i32.const {SCRATCH + 8 + BLOB_BYTES_AT})))
        (call $do (local.get $bytes) (local.get $size))))""",
    "receive-ws-push": f"""(call $reset) (call $receive-ws-push (i32.const {SCRATCH}))
      (if (i32.load8_u (i32.const {SCRATCH}))
        (then
          (i32.store (i32.const {PUSH_CHANNEL_AT}) (i32.load (i32.const {SCRATCH + 4})))
          (local.set $bytes (select (i32.const 12) (i32.const 0) (i32.load8_u (i32.const {SCRATCH + 20}))))
          (local.set $size (i32.load offset={SCRATCH + 16} (local.get $bytes)))
          (local.set $bytes (i32.load offset={SCRATCH + 12} (local.get $bytes)))
          (call $do (local.get $bytes) (local.get $size)))
        (else {RECEIVE}))""",
}
"""How a guest takes a message and does what its payload says."""
PUPPETS: Final = {
    how: process(
        CALLS,
        f"(local $bytes i32) (local $size i32) (loop $next {takes} (br $next))",
        more=f"""
    (func $do (param $bytes i32) (param $size i32) (local $at i32) (local $step i32) (local $n i32)
      (block $done (loop $steps
        (br_if $done (i32.ge_u (local.get $at) (local.get $size)))
        (local.set $step (i32.load8_u (i32.add (local.get $bytes) (local.get $at))))
        {DID}
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $steps))))"""
        + RESULT_NAMES
        + data(NODE, 700)
        + data("none", 740)
        + data("end", 750)
        + '(data (i32.const 760) "\\ff")',
    )
    for how, takes in _TAKES.items()
}
"""Guests that do what each byte of a message says, for as long as they live."""


_SPIN: Final = """(local.set $n (i32.const 6000000))
        (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"""
WITHIN: Final = {
    "nothing": "",
    "a call of the host": "(drop (call $has-blob))",
    "the next message": f"(call $receive (i32.const {RETURN}))",
    "the blob": f"(call $get-blob (i32.const {SCRATCH}))",
    "the text": f"(call $get-blob-text (i32.const {SCRATCH}))",
    "a message": f"(call $send-ws-text {PUSH_CHANNEL} (i32.const 0) (i32.const 2) (i32.const {RESULT}))",
    "a message of any type": _push(1, payload="(i32.const 0) (i32.const 2)"),
    "long work": _SPIN,
    "a call of the host after long work": f"{_SPIN} (drop (call $has-blob))",
    "the next message after long work": f"{_SPIN} (call $receive (i32.const {RETURN}))",
    "the blob after long work": f"{_SPIN} (call $get-blob (i32.const {SCRATCH}))",
    "memory": "(drop (memory.grow (i32.const 3)))",
    "a trap": "unreachable",
    "an address outside": "(i32.store (i32.const 3004) (i32.const -16))",
    "an address at the end": "(i32.store (i32.const 3004) (i32.const 262143))",
}
"""What an allocator does at its second call, before it returns."""
ALLOWED: Final = ("nothing", "long work", "memory")
_HOSTILE_LIBC: Final = LIBC.replace(
    '(memory (export "memory") 4)',
    '(memory (export "memory") 4) (table (export "table") 1 funcref) (type $within (func))',
).replace(
    "(local $start i32) (local $end i32)",
    """(local $start i32) (local $end i32)
      (i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (i32.const 1)))
      (if (i32.eq (i32.load (i32.const 3000)) (i32.const 2)) (then
        (call_indirect (type $within) (i32.const 0))
        (if (i32.load (i32.const 3004)) (then (return (i32.load (i32.const 3004)))))))""",
)


def allocating(within: str, call: str) -> str:
    """A guest that gets each blob by `call`, and sends the text "sent" before and after; its allocator does that at its
    second call for a message whose second byte is `!`.
    """
    sends = _text(payload="(i32.const 770) (i32.const 4)")
    first = f"(i32.load8_u (i32.add (i32.load (i32.const {SCRATCH + BLOB_AT[call]})) (i32.const 1)))"
    if call == "receive-ws-push":
        return _allocating_at_once(within, sends)
    return process(
        CALLS,
        f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then
        (i32.store (i32.const 3000) (i32.const 0))
        (call ${call} (i32.const {SCRATCH}))
        {sends}
        (if (i32.ne {first} (i32.const {ord("!")})) (then (i32.store (i32.const 3000) (i32.const 100))))
        (call ${call} (i32.const {SCRATCH}))
        {sends}
        {_text(payload=f"(i32.load (i32.const {SCRATCH + BLOB_AT[call]})) (i32.const 2)")}
        (i32.store (i32.const 3000) (i32.const 100))
        (if (i32.eq {first} (i32.const {ord("z")})) (then {STEPS["z"]}))))
      (br $next))""",
        more=_within(within),
        libc=_HOSTILE_LIBC,
    )


def _allocating_at_once(within: str, sends: str) -> str:
    """The same by `receive-ws-push`; its allocator does that at the first call for the message after one with `!`."""
    bytes_at, kind_at = SCRATCH + 12, SCRATCH + 20
    return process(
        CALLS,
        f"""(local $at i32) (loop $next (call $reset)
      (call $receive-ws-push (i32.const {SCRATCH}))
      (i32.store (i32.const 3000) (i32.const 100))
      (if (i32.load8_u (i32.const {SCRATCH}))
        (then
          (i32.store (i32.const {PUSH_CHANNEL_AT}) (i32.load (i32.const {SCRATCH + 4})))
          (local.set $at (select (i32.const 12) (i32.const 0) (i32.load8_u (i32.const {kind_at}))))
          (local.set $at (i32.load offset={bytes_at} (local.get $at)))
          {sends}
          {sends}
          {_text(payload="(local.get $at) (i32.const 2)")}
          (if (i32.eq (i32.load8_u offset=1 (local.get $at)) (i32.const {ord("z")})) (then {STEPS["z"]}))
          (if (i32.eq (i32.load8_u offset=1 (local.get $at)) (i32.const {ord("!")}))
            (then (i32.store (i32.const 3000) (i32.const 1)))))
        (else {RECEIVE}))
      (br $next))""",
        more=_within(within),
        libc=_HOSTILE_LIBC,
    )


def _within(within: str) -> str:
    return (
        f"""(import "libc" "table" (table 1 funcref)) (elem (i32.const 0) func $within)
        (func $within (local $n i32) {WITHIN[within]})"""
        + data(NODE, 700)
        + data("end", 750)
        + data("sent", 770)
        + data("d", 3000)
    )


BLOB_AT: Final = {"get-blob": 4 + BLOB_BYTES_AT, "get-blob-text": 4, "receive-ws-push": 12}
"""Where these calls write the address, from `SCRATCH` on."""


class Pair:
    """Two workers, of which one gives guests messages in batches and the other does not."""

    def __init__(self, folder: Path, program: str = COUNTING) -> None:
        (folder / "with").mkdir()
        (folder / "without").mkdir()
        self.batched = Worker(folder / "with", ("-c", program))
        self.plain = Worker(folder / "without", ("-c", WITHOUT))
        self.puppet = ""

    def compare(
        self, messages: list[Message], guest: str = "", *, ends: int = 1, **limits: Any
    ) -> list[list[Any]]:
        """What a guest does in both with the same messages, which has to be the same."""
        path = self.batched.compiled(guest or self.puppet)
        warm = 2 if path in map(self.batched.compiled, PUPPETS.values()) else 6
        did, expected = (
            perform(worker, messages, path, warm, ends, **limits) for worker in (self.batched, self.plain)
        )
        assert did == expected
        return did[0]


@pytest.fixture(params=thorough_after(1, PUPPETS))
def pair(workers: Pair, request: pytest.FixtureRequest) -> Pair:
    workers.puppet = PUPPETS[request.param]
    return workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("pair"))
    with made.batched, made.plain:
        made.batched.configure()
        made.plain.configure()
        yield made
        assert made.batched.is_alive()
        assert made.plain.is_alive()
        made.batched.link.close()
        code, text = made.batched.end()
        assert code == 0
        batches, messages = map(int, text.split())
        assert messages > batches > 0


def perform(
    worker: Worker, messages: list[Message], path: Path, pushes: int, ends: int, **limits: Any
) -> tuple[list[list[Any]], int | None]:
    """All that a guest does with these messages, in order, and how it ends; and how many it took, if it did not go on.
    With the first two it sends so many, and it says so often that it is at an end.
    """
    worker.forget()
    guest = worker.start(path, log_lines_per_second=100_000, **limits)
    guest.started()
    base = guest.handle * 100
    for channel, credit in ((1, PLENTY), (2, 400), (3, 64), (5, PLENTY)):
        guest.open(base + channel, credit)
    # Two at first, so that it has a batch for the rest.
    warm: list[list[Any]] = [[ToWorker.PUSH, guest.handle, base + 5, 0, b"bq"] for _ in range(2)]
    worker.send(*warm)
    for _ in range(pushes):
        guest.pushed(base + 5)
    operations: list[list[Any]] = []
    for channel, kind, payload in messages:
        operations.append([ToWorker.PUSH, guest.handle, base + channel, kind, payload])
    last = [ToWorker.PUSH, guest.handle, base + 5, 0, b" z"]
    worker.send(*operations, last)
    done: list[list[Any]] = []
    consumed = 0
    while not done or (done[-1][0] != ToNode.EXITED and done.count(["end"]) < ends):
        operations = taken(worker, guest)
        consumed += sum(each[2] for each in operations if each[0] == ToNode.CONSUMED)
        done += [found for each in operations if (found := shown(each, base)) is not None]
    if done[-1][0] == ToNode.EXITED:
        return done, consumed  # the others are delivered again
    guest.stop()
    return done, None


def taken(worker: Worker, guest: Guest) -> list[list[Any]]:
    worker.read()
    found = worker.got()
    worker.forget()
    return [each for each in found if each[1] == guest.handle]


def shown(operation: list[Any], base: int) -> list[Any] | None:
    """An operation of the guest, for comparison."""
    kind, _, *rest = operation
    if kind == ToNode.CONSUMED:
        return None  # how often it is told is up to each
    if kind == ToNode.EXITED:
        return [kind, rest[0]]
    if kind == ToNode.LOG and rest[2].startswith("error while executing"):
        return None  # where the guest was
    if kind == ToNode.LOG:
        return ["end"] if rest[2] == "end" else [kind, *rest[:3]]
    if kind in (ToNode.PUSH, ToNode.CLOSE_CHANNEL):
        return [kind, rest[0] - base, *rest[1:]]
    if kind == ToNode.PUSH_MANY:
        return [kind, [each - base for each in rest[0]], *rest[1:]]
    return [kind, *rest]


def script(steps: str, channel: int = 1, kind: int = 0, more: bytes = b"") -> Message:
    return channel, kind, steps.encode() + more


@pytest.mark.slow
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("step", STEPS)
def test_each_call_does_the_same_in_a_batch_and_without(pair: Pair, step: str, kind: int) -> None:
    more = [script("b"), script("ep"), script("tp", kind=1), script("jp")]
    messages = [*more, script(f"{step}p", kind=kind), script(f"e{step}pe", kind=kind), *more]
    pair.compare(messages, ends=3 if step == "z" else 1)


@pytest.mark.parametrize("step", ENDS)
def test_what_was_sent_before_a_guest_trapped_is_sent(pair: Pair, step: str) -> None:
    did = pair.compare([script("b"), script("e"), script("t"), script(f"b{step}b"), script("e")])
    sent = 5 if step in "BL" else 4  # these trap when they are told that they have sent
    assert [each[0] for each in did] == [*[ToNode.PUSH] * sent, ToNode.EXITED]


def test_a_guest_that_traps_behind_a_text_that_is_not_utf_8_has_ended_by_the_text(pair: Pair) -> None:
    for worker in (pair.batched, pair.plain):
        guest = worker.start(pair.puppet).started()
        guest.open(guest.handle * 100, PLENTY)
        for scripts in ((b"b", b"b"), (b"e", b"e", b"iH")):
            pushes = ([ToWorker.PUSH, guest.handle, guest.handle * 100, 0, each] for each in scripts)
            worker.send(*pushes)
            guest.pushed(guest.handle * 100)
            guest.pushed(guest.handle * 100)
        *_, detail = worker.expect(ToNode.EXITED, guest.handle)
        assert "UTF-8" in detail


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [b"", b" \xc3\xa9\xe2\x82\xac", b" \xff", b"\xf0\x9f\x98\x80" * 40, b"\0", b"x" * 40]
)
@pytest.mark.parametrize("step", "etjb")
@pytest.mark.parametrize("kind", [0, 1])
def test_text_of_any_kind_does_the_same(pair: Pair, step: str, kind: int, more: bytes) -> None:
    if b"\xff" in more and not kind:
        return  # the node sends no such text
    one = script(f"{step}p", kind=kind, more=more)
    pair.compare([one, script("e"), one, one, script("b", more=more[:0])])


def test_credit_is_spent_alike(pair: Pair) -> None:
    did = pair.compare([script("ep", channel) for channel in (2, 3, 2, 2, 2, 2, 2, 3, 2, 2, 2, 1, 4)])
    texts = [each[3] for each in did if each[0] == ToNode.LOG]
    assert texts.count("ok") == 7  # six of 66 bytes of 400, and the one with plenty
    assert texts.count("e1") == 5  # of which two had no credit from the start
    assert texts.count("e0") == 1


def test_credit_is_spent_alike_by_what_is_sent_in_one_batch(pair: Pair) -> None:
    did = pair.compare([*[script("ee", 2), script("ebt", 1)] * 4, script("ep", 2)])
    assert [each[1] for each in did if each[0] == ToNode.PUSH].count(2) == 6
    assert did[-2][3] == "e1"


def test_large_and_small_messages_do_the_same(pair: Pair) -> None:
    sizes = (1, 300, 5000, 16_000, 33_000, 65_000, 70_000, 2, 100, 20_000, 20_000, 20_000, 9)
    did = pair.compare([script("ebtp"[at % 3] + "p", more=b"x" * size) for at, size in enumerate(sizes)])
    assert [len(each[3]) for each in did if each[0] == ToNode.PUSH] == [size + 2 for size in sizes]


def test_the_limit_of_a_message_is_the_same(pair: Pair) -> None:
    sizes = (10, 998, 999, 1000, 5)
    pair.compare([script("bp", more=b"x" * size) for size in sizes], message_bytes=1000)
    pair.compare([script("ep", more=b"x" * size) for size in sizes], message_bytes=1000)
    pair.compare([script("tp", more=b"x" * size) for size in sizes], message_bytes=1000)


def test_more_than_a_batch_has_room_for_is_sent_in_order(pair: Pair) -> None:
    many = [script("e" * 30, more=b"x" * 1000) for _ in range(20)]
    did = pair.compare([*many, *(script("eb", more=b"-" * (at % 9)) for at in range(300))])
    assert sum(each[0] == ToNode.PUSH for each in did) == 20 * 30 + 600


def test_a_guest_that_is_preempted_within_a_batch_does_the_same(pair: Pair) -> None:
    pair.compare([script("ese", more=b"-" * at) for at in range(8)])


def test_a_channel_that_is_closed_in_the_middle_gets_no_more(pair: Pair) -> None:
    did = pair.compare([script("ep"), script("ecep"), script("ep"), script("e", 5), script("ep")])
    assert [each[1] for each in did if each[0] == ToNode.PUSH] == [1, 1, 5]


_MOST_STEPS: Final = 6
_PAYLOADS: Final = st.tuples(
    st.text(alphabet="".join(STEPS).replace("s", "").replace("i", "").replace("k", ""), max_size=_MOST_STEPS),
    st.sampled_from([b"", b" ", b"x" * 50, " é€😀".encode(), b"y" * 3000]),
).map(lambda parts: parts[0].encode() + parts[1].replace(b"z", b""))
_MESSAGES: Final = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 2, 3, 4, 5]), st.sampled_from([0, 0, 1]), _PAYLOADS), max_size=40
)


@pytest.mark.slow
@pytest.mark.parametrize("call", thorough_but(BLOB_AT, "get-blob", "receive-ws-push"))
@pytest.mark.parametrize("within", WITHIN)
def test_an_allocator_may_do_the_same(workers: Pair, within: str, call: str) -> None:
    """It runs on the guest's own fiber when a batch answers, and on the host's stack otherwise."""
    messages = [script(text) for text in ("aa", "bb", "c!", "dd", "e!")]
    did = workers.compare(messages, allocating(within, call))
    texts = [each[3] for each in did if each[0] == ToNode.PUSH]
    if within in ALLOWED:
        sent = [b"sent", b"sent"]
        assert texts == [*sent, b"aa", *sent, b"bb", *sent, b"c!", *sent, b"dd", *sent, b"e!", *sent, b" z"]
    else:
        done = [b"sent", b"sent", b"aa", b"sent", b"sent", b"bb"]
        assert texts == [*done, *([b"sent", b"sent", b"c!"] if call == "receive-ws-push" else [b"sent"])]
        assert did[-1] == [ToNode.EXITED, ExitCause.TRAP]


@pytest.mark.slow
@settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(messages=_MESSAGES, ends=st.sampled_from(["", "", *ENDS]))
def test_any_messages_have_the_same_done(pair: Pair, messages: list[Message], ends: str) -> None:
    # A step may be to receive one more: what is taken so must not be the message that tells the end.
    left = [script("")] * _MOST_STEPS
    pair.compare([each for each in messages if b"z" not in each[2]] + [script(ends), script("eb"), *left])

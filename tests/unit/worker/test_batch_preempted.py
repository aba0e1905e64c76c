"""A guest that is pre-empted anywhere within what answers it from a batch does what it does without batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Final, cast

import pytest
from tests.tiers import thorough_after, thorough_but

from guesthouse.link.to_worker import Push
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.plan import batch_layout as layout
from guesthouse.worker.batch import Batch, BatchOwner

from .test_batch import (
    BLOB_AT,
    ENDS,
    PUPPETS,
    WITHIN,
    Pair,
    allocating,
    script,
)

pytestmark = pytest.mark.xdist_group("preempted")  # each alone may never be

PREEMPTED: Final = """
import os, sys
from random import Random
from guesthouse.worker import __main__
answered = within = 0
def load():
    loop = __main__._loop()
    from guesthouse.wasm.core import core_capi, yielding
    from guesthouse.wasm.engine import capi, fiber
    from guesthouse.worker import batch
    chance = Random(7)
    def at_each_check(context, env, delta_out, kind_out):
        core_capi.put_u64(yielding._delta(delta_out), 0, 0)
        yields = not fiber.FIBERS[context].must_finish and chance.random() < EVERY
        yielding._kind(kind_out)[0] = core_capi.YIELD if yields else core_capi.CONTINUE
        return 0
    yielding._SLICE_OVER = core_capi.EPOCH_CALL(at_each_check)
    fiber._READY_SLICE = capi.ready_size(0)
    close = batch.Batch._close
    def closed(self, *, by_call):
        global answered, within
        calls = self._guest.fiber.calls
        allocating = close(self, by_call=by_call)
        answered += self._guest.fiber.calls - calls
        within += allocating
        return allocating
    batch.Batch._close = closed
    return loop
code = __main__.main(sys.argv[1:], load)
print(answered, within, file=sys.stderr, flush=True)
os._exit(code)
"""
"""A worker that pre-empts guests at function entries and turns of loops by chance, and not by time. In the end it says
how many calls were answered in batches, and how often an allocator ran for one when a slice ended.
"""


@pytest.fixture(scope="module", params=thorough_but([0.02, 0.1, 0.4], 0.1))
def workers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Pair]:
    program = PREEMPTED.replace("EVERY", str(request.param))
    made = Pair(tmp_path_factory.mktemp("pair"), program)
    with made.batched, made.plain:
        made.batched.configure()
        made.plain.configure()
        yield made
        assert made.batched.is_alive()
        made.batched.link.close()
        code, text = made.batched.end()
        assert code == 0
        answered, within = map(int, text.split())
        assert answered > 0
        assert within > 0


@pytest.mark.parametrize("ends", [True, False])
def test_a_batch_that_ends_within_the_allocator_is_not_one_in_vain(ends: bool) -> None:
    """A slice ends then, and with it the batch, all of which the guest had used: the next may be made. When the guest
    has used nothing of it and calls the host, it is not.
    """
    memory = SimpleNamespace(view=memoryview(bytearray(WASM_PAGE)))
    first, second = (Push(1, 7, 0, text) for text in (b"first", b"second"))
    guest = SimpleNamespace(
        handle=1,
        node="a.os",
        taken=0,
        in_hand=True,
        told_in_hand=False,
        noted=True,
        channel_id=7,
        channels={7: 1000},
        slice_budget=1.0,
        inbox=deque([second]),
        fiber=SimpleNamespace(before_call=None, calls=0),
        limits=SimpleNamespace(message_bytes=1000, cpu_seconds_per_message=1.0),
        outgoing=SimpleNamespace(add=None),
    )
    batch = Batch(cast(BatchOwner, guest), cast(LinearMemory, memory))
    batch.open(first)
    if ends:
        for at, number in ((layout.UNREAD, 0), (layout.CALLS, 3), (layout.TAKEN, 1), (layout.ALLOCATING, 1)):
            memory.view[at : at + 4] = number.to_bytes(4, "little")
        batch.after_slice()
        assert (guest.taken, list(guest.inbox)) == (1, [])
        assert guest.fiber.before_call is not None, "the allocator may not call the host"
        memory.view[layout.ALLOCATING] = 0
    batch.before_call()
    assert guest.fiber.before_call is None
    batch.open(first)
    assert (guest.fiber.before_call is not None) == ends


@pytest.mark.slow
@pytest.mark.parametrize("call", thorough_but(BLOB_AT, "get-blob", "receive-ws-push"))
@pytest.mark.parametrize("within", [each for each in WITHIN if "long work" not in each])
def test_an_allocator_that_is_preempted_does_the_same(workers: Pair, within: str, call: str) -> None:
    messages = [script(text) for text in ("aa", "bb", "c!", "dd", "e!", "ff")]
    for _ in range(3):
        workers.compare(messages, allocating(within, call))


@pytest.mark.slow
@pytest.mark.parametrize("puppet", thorough_after(1, PUPPETS))
@pytest.mark.parametrize("end", ["", *ENDS])
def test_what_a_guest_does_that_is_preempted_is_the_same(workers: Pair, puppet: str, end: str) -> None:
    steps = [
        script(step, channel, kind)
        for step in ("ebt", "epb", "jp", "tt", "lh")
        for channel in (1, 2)
        for kind in (0, 1)
    ]
    workers.compare([*steps, *steps, script(f"e{end}"), script("eb")], PUPPETS[puppet])

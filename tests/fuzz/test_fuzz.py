"""Each target on what is kept and on a bounded number of mutations, the same in every run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import pytest

from . import gateways, link, sockets
from .catalogue import SEEDS, Target, targets
from .mutation import mutations

TARGETS = targets()
PATIENCE = (0.1, 1.0, 5.0, 30.0)
"""Seconds of silence that are waited for, if need be."""
SECONDS_OF_CPU = 5.0
"""What one input may take: thousands of times what any does, and less than a stall."""


@pytest.fixture(scope="module", autouse=True)
def _end_what_targets_share() -> Iterator[None]:
    yield
    sockets.end()
    link.end()
    gateways.end()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_input_breaks_a_promise(target: Target) -> None:
    seeds = target.seeds()
    for data in (b"", *seeds, *mutations(target.name, seeds, target.runs)):
        began = time.process_time()
        try:
            target.run(data)
        except Exception as error:
            name = hashlib.sha256(data).hexdigest()[:16]
            kept = SEEDS / target.name / f"broke-{name}"
            kept.write_bytes(data)
            error.add_note(f"the input is kept as {kept}")
            raise
        assert time.process_time() - began < SECONDS_OF_CPU, data[:200]


def test_every_target_has_seeds_and_every_seed_a_target() -> None:
    assert {folder.name for folder in SEEDS.iterdir()} == TARGETS.keys()
    assert all(target.seeds() for target in TARGETS.values())


def test_what_a_client_should_say_reaches_the_guest_and_the_login() -> None:
    """Else the targets behind sockets would find nothing."""
    text = (SEEDS / "websocket/text").read_bytes()
    echoes = [(0x81, "grüße".encode()), (0x82, b"\0\1")]
    assert any(sockets.echoed(text, silence=silence)[1:] == echoes for silence in PATIENCE)
    for name, answer in (("index", b"200"), ("login", b"303"), ("rpc", b"200")):
        data = (SEEDS / "http_request" / name).read_bytes()
        said = (sockets.answer_to_request(data, silence) for silence in PATIENCE)
        assert any(each.startswith(b"HTTP/1.1 " + answer) for each in said), name


def test_what_a_member_should_say_reaches_the_process_and_the_client() -> None:
    """Else the seeds speak an older version of the messages."""
    for name, kinds in (("open-and-say", ["open", "push", "close"]), ("request", ["http"])):
        assert gateways.heard((SEEDS / "gateway_messages" / name).read_bytes()) == kinds
    assert gateways.reaches_client((SEEDS / "gateway_messages/push").read_bytes())


def test_what_a_worker_should_say_is_taken() -> None:
    """Else the seeds speak an older version of the link."""
    for seed in (SEEDS / "worker_to_kernel").glob("*"):
        assert link.messages(seed.read_bytes()) or seed.name.startswith("broken-"), seed

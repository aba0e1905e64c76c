"""Processes that talk to each other, and the commands that act on them: real nodes, real components."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from guesthouse.core.config import MIB

from .conftest import StartNode
from .daemon import NODE, Daemon
from .waiting import until

A, B, C = (f"{name}:puppet:test.os" for name in "abc")
NOBODY = "nobody:puppet:test.os"


async def tell(node: Daemon, process: str, body: str) -> None:
    """Send a request that wants no response."""
    await node.ask("send", address=process, body=body)


async def ask(node: Daemon, process: str, body: str, seconds: int = 20) -> str:
    """Send a request and return the body of its response."""
    (response,) = await node.ask("send", address=process, body=body, seconds=seconds)
    text: str = response["body"]
    return text


async def journal(node: Daemon, process: str, *lines: str) -> list[str]:
    """What a puppet wrote down, once all these lines are in it."""

    async def read() -> list[str]:
        return [line.rstrip() for line in (await ask(node, process, "journal")).splitlines()]

    return await until(read, lambda written: set(lines) <= set(written), f"{lines} are not all written")


async def test_send_asks_a_process_and_prints_what_it_answers(start: StartNode, tmp_path: Path) -> None:
    node = await start("puppet")
    for address in (A, f"{NODE}@{A}"):
        ran = await node.cli("send", address, "say hello", "--await", "20")
        assert (ran.code, ran.stdout) == (0, "hello\n")
    ran = await node.cli("send", A, "note sent")
    assert (ran.code, ran.stdout) == (0, "")
    assert await journal(node, A, "note sent") == ["note sent"]
    (tmp_path / "blob").write_bytes(b"the blob")
    ran = await node.cli("send", A, "blob", "--blob", tmp_path / "blob", "--await", "20", "--json")
    response = json.loads(ran.stdout)
    assert (response["source"], response["body"]) == (f"{NODE}@{A}", "the blob")


async def test_send_shows_a_response_up_to_four_mebibytes(start: StartNode, tmp_path: Path) -> None:
    node = await start("puppet")
    for size, code in ((4 * MIB, 0), (4 * MIB + 1, 1)):
        (tmp_path / "blob").write_bytes(b"x" * size)
        ran = await node.cli("send", A, "blob", "--blob", tmp_path / "blob", "--await", "20", "--json")
        assert ran.code == code, ran.stderr
        if code == 0:
            assert json.loads(ran.stdout)["body"] == "x" * size
        else:
            assert f"the response has {size} bytes, over the limit of {4 * MIB}" in ran.stderr


async def test_send_says_why_a_request_was_not_delivered_or_not_answered(start: StartNode) -> None:
    node = await start("puppet")
    for arguments, kind in (
        ((NOBODY, "say hello"), "no-such-process"),
        ((NOBODY, "say hello", "--await", "20"), "no-such-process"),
        ((A, "ignore", "--await", "1"), "timeout"),
        ((f"elsewhere.os@{A}", "say hello", "--await", "20"), "offline"),
    ):
        ran = await node.cli("send", *arguments)
        assert (ran.code, ran.stdout) == (1, "")
        assert kind in ran.stderr
        assert ran.stderr.count("\n") == 1


async def test_a_process_that_was_stopped_is_gone_until_it_is_restarted(start: StartNode) -> None:
    node = await start("puppet")
    await ask(node, A, "set kept")
    assert (await node.cli("stop", A)).code == 0
    assert (await node.ps())[A]["state"] == "stopped"
    assert "no-such-process" in (await node.cli("send", A, "say hello")).stderr
    assert (await node.cli("stop", A)).code == 0, "and again, so that it is listed no longer"
    assert A not in await node.ps()
    assert (await node.cli("stop", A)).code == 1
    assert (await node.cli("restart", A, "--json")).json() == {"process": A, "state": "running"}
    assert await ask(node, A, "get") == "kept"


async def test_restarting_and_killing_end_a_run_and_another_follows(start: StartNode) -> None:
    node = await start("puppet")
    await tell(node, A, "note before")
    assert (await ask(node, A, "journal")).strip() == "note before", (
        "it has taken it: what it has not, the next run takes"
    )
    assert (await node.cli("restart", A)).code == 0
    assert await ask(node, A, "journal") == ""
    assert (await node.cli("kill", A)).code == 0
    assert await ask(node, A, "say back") == "back"
    assert (await node.ps())[A]["restarts"] == 2
    assert (await node.cli("kill", C)).code == 0
    assert (await node.ps())[C]["state"] == "stopped"


async def test_a_request_is_answered_over_three_processes_to_who_asked_first(start: StartNode) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"forward {B} forward {C} say from the last") == "from the last"
    ran = await node.cli("send", A, f"forward {B} forward {C} say who", "--await", "20", "--json")
    assert ran.json()["source"] == f"{NODE}@{C}"


async def test_a_forwarded_request_carries_the_blob_of_the_first(start: StartNode, tmp_path: Path) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"carry {B} 20 cargo forward {C} blob") == "cargo"


@pytest.mark.thorough
async def test_what_is_asked_of_nobody_or_of_a_process_that_ends_fails_at_once(start: StartNode) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"ask {NOBODY} 3600 say x") == "failed no-such-process say x"
    assert await ask(node, A, f"ask {C} 3600 trap") == "failed no-such-process trap"
    await ask(node, A, f"post {NOBODY} 3600 first say y")
    await ask(node, A, f"post {B} 4 second ignore")
    await ask(node, A, f"post {B} 20 third say z")
    lines = ("no-such-process first say y", "timeout second ignore", "response third z")
    assert await journal(node, A, *lines) == [lines[0], lines[2], lines[1]]


@pytest.mark.thorough
async def test_messages_queue_while_a_process_awaits_a_response(start: StartNode) -> None:
    node = await start("puppet")
    await tell(node, A, f"ask {B} 2 ignore")
    for number in range(20):
        await tell(node, A, f"note {number}")
    assert await journal(node, A, "note 19") == [f"note {number}" for number in range(20)]


async def test_what_two_processes_send_a_third_arrives_once_and_in_the_order_of_each(
    start: StartNode,
) -> None:
    node = await start("puppet", workers=2)
    count = 600
    sent = (ask(node, sender, f"count {B} {count} note {sender[0]}") for sender in (A, C))
    assert await asyncio.gather(*sent) == ["sent", "sent"]
    lines = await journal(node, B, f"note a{count - 1:04}", f"note c{count - 1:04}")
    for sender in "ac":
        of_one = [line for line in lines if line.startswith(f"note {sender}")]
        assert of_one == [f"note {sender}{number:04}" for number in range(count)]


async def test_messages_that_a_lost_worker_had_not_handed_over_are_kept(start: StartNode) -> None:
    node = await start("puppet")
    await ask(node, A, "set kept")
    await tell(node, A, f"ask {C} 3600 note asked")  # A receives nothing more in this run
    await journal(node, C, "note asked")
    for number in range(10):
        await tell(node, A, f"note {number}")
    (worker,) = node.workers()
    os.kill(worker.pid, signal.SIGKILL)
    assert await journal(node, A, "note 9") == [f"note {number}" for number in range(10)]
    await node.log_line(A, "lost its worker", "a request is not delivered again")
    assert await ask(node, A, "get") == "kept"


async def test_the_requests_that_a_process_left_for_its_end_are_sent_when_it_ends(start: StartNode) -> None:
    node = await start("puppet")
    await ask(node, A, f"leave {B} note it ended")
    await tell(node, A, "trap")
    assert await journal(node, B, "note it ended") == ["note it ended"]
    assert (await node.ps())[A]["state"] == "failed"


async def test_a_process_that_never_receives_cannot_fill_the_node(start: StartNode) -> None:
    node = await start("puppet", settings={"process_mailbox_bytes": 1_000_000})
    await tell(node, B, f"ask {C} 3600 ignore")
    await ask(node, A, f"burst {B} 100 16384 0")
    assert 36 <= int(await ask(node, A, "failures")) <= 42
    processes = await node.ps()
    assert processes[B]["mailbox_bytes"] < 1_020_000
    assert await ask(node, C, "say unharmed") == "unharmed"


@pytest.mark.thorough
@pytest.mark.timeout(900)  # a machine that does much else takes minutes
async def test_a_hundred_thousand_requests_may_wait_and_time_out_together(start: StartNode) -> None:
    settings = {"process_mailbox_bytes": 64 * 2**20, "process_cpu_seconds_per_message": 60}
    node = await start("puppet", settings=settings)
    await ask(node, A, f"burst {B} 100000 0 3", seconds=300)
    assert await ask(node, C, "say meanwhile", seconds=300) == "meanwhile"
    failed = partial(ask, node, A, "failures", seconds=300)
    await until(failed, lambda count: count == "100000", "some did not fail", seconds=300)


async def test_a_worker_that_says_nothing_is_ended_and_its_processes_go_on(start: StartNode) -> None:
    node = await start("puppet", settings={"worker_silence_seconds": 2})
    await ask(node, A, "set before")
    (worker,) = node.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    await node.log_line("worker-0", "silent for 2 s")
    assert await ask(node, A, "get") == "before"
    assert node.workers() != {worker}


async def test_ps_shows_what_each_process_costs(start: StartNode) -> None:
    node = await start("puppet")
    await tell(node, B, f"ask {C} 3600 ignore")
    for number in range(5):
        await tell(node, B, f"note {number}")
    await ask(node, A, "say x")
    measured = await until(node.ps, lambda all_: all_[A]["memory_bytes"], "no memory is shown")
    assert 1_048_576 <= measured[A]["memory_bytes"] <= 2_097_152  # a megabyte of stack, and little more
    assert measured[A]["cpu_seconds"] > 0
    waits = (await node.ps())[B]
    assert (waits["state"], waits["mailbox_messages"], waits["restarts"]) == ("running", 5, 0)
    assert waits["mailbox_bytes"] > 5 * 256
    table = (await node.cli("ps")).stdout
    assert "MiB" in table or "KiB" in table

"""Tasks end with what they belong to, also one that loses a cancellation."""

from __future__ import annotations

import asyncio

import pytest
from tests.patience import PATIENCE

from guesthouse.cluster import nats_connection
from guesthouse.cluster.nats_connection import end_tasks


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_connection, "_CANCEL_SECONDS", 0.01)
    lost = 0

    async def work() -> None:
        nonlocal lost
        while lost < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # as asyncio.wait_for does in Python 3.11
                lost += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await end_tasks([task])
    assert task.cancelled()
    assert lost == 3

"""Who pushed is written down, in few lines."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from tests.patience import PATIENCE

from guesthouse.http_api import push_record
from guesthouse.http_api.push_record import MOST_KEPT, PushRecord


@dataclass
class Lines:
    texts: list[str] = field(default_factory=list)
    second: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.texts.append(text)
        if len(self.texts) > 1:
            self.second.set()


async def test_the_first_push_is_written_at_once_and_the_rest_together() -> None:
    log = Lines()
    record = PushRecord(log, "api")
    for channels in (1, 2, 3):
        record.count("key a", "chat", channels)
    record.count("key b", "chat", 1)
    assert len(log.texts) == 1
    record.close()
    assert log.texts == [
        "key a pushed to chat: 1 message, delivered to channels 1 time",
        "key a pushed to chat: 2 messages, delivered to channels 5 times",
        "key b pushed to chat: 1 message, delivered to channels 1 time",
    ]


async def test_they_are_written_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_record, "TOGETHER_SECONDS", 0.0)
    log = Lines()
    record = PushRecord(log, "api")
    record.count("key a", "chat", 1)
    record.count("key a", "chat", 1)
    async with asyncio.timeout(PATIENCE):
        await log.second.wait()
    record.close()


async def test_no_more_than_so_many_are_kept() -> None:
    log = Lines()
    record = PushRecord(log, "api")
    for number in range(MOST_KEPT + 1):
        record.count("key a", f"process-{number}", 1)
    assert len(log.texts) == MOST_KEPT + 1
    record.close()

"""Runs a process in plain Python, for its unit tests: see `FakeHost`."""

from __future__ import annotations

from guesthouse_sdk.testing._channels import FakeChannel
from guesthouse_sdk.testing._exchanges import Answer, FakeExchange, FakeHttpExchange, LogLine, SentRequest
from guesthouse_sdk.testing._host import FakeHost, Handler, Refused
from guesthouse_sdk.testing._limits import FakeLimits
from guesthouse_sdk.testing._load import load_main
from guesthouse_sdk.testing._rights import Spawned
from guesthouse_sdk.testing._tracing import FakeSpan

__all__ = [
    "Answer",
    "FakeChannel",
    "FakeExchange",
    "FakeHost",
    "FakeHttpExchange",
    "FakeLimits",
    "FakeSpan",
    "Handler",
    "LogLine",
    "Refused",
    "SentRequest",
    "Spawned",
    "load_main",
]

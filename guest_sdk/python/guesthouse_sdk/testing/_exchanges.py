"""What a test asks of a process, and what the process asks of others: each with its answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from guesthouse_sdk._native import types
from guesthouse_sdk.address import Address
from guesthouse_sdk.capabilities import Capability
from guesthouse_sdk.message import LazyLoadBlob


@dataclass(eq=False)
class FakeHttpExchange:
    """An HTTP request that the process was handed, and its answer.

    Attributes:
        status: None while there is no answer.
        headers: names and values, as the process gave them.
        body: the answer's body.
        mime: the answer's content type.
        head: whether it is a HEAD request, whose answer has no body.
        claims: what its client's token says of it, as JSON.
    """

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    mime: str | None = None
    head: bool = False
    claims: str | None = None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def answer(self, status: int, headers: list[tuple[str, str]], blob: types.LazyLoadBlob | None) -> None:
        """Take the process's answer."""
        self.status, self.headers = status, headers
        if blob is not None:
            self.body, self.mime = b"" if self.head else blob.bytes, blob.mime

    def answer_response(self, response: types.Response, blob: types.LazyLoadBlob | None) -> None:
        """Take an answer in its JSON form: a body such as `{"status": 200, "headers": {}}`."""
        head = json.loads(response.body)
        self.answer(head["status"], list(head.get("headers", {}).items()), blob)


@dataclass(eq=False)
class FakeExchange:
    """A request that the process got from another one, and its answer.

    Attributes:
        body: the response's body; None while there is no answer.
        blob: the response's payload.
        metadata: the response's metadata.
        capabilities: what came with the response.
    """

    expects_response: bool
    body: bytes | None = None
    blob: LazyLoadBlob | None = None
    metadata: str | None = None
    capabilities: tuple[Capability, ...] = ()

    def answer_response(self, response: types.Response, blob: types.LazyLoadBlob | None) -> None:
        """Take the process's answer."""
        self.body, self.metadata = response.body, response.metadata
        self.blob = None if blob is None else LazyLoadBlob(blob.mime, blob.bytes)


@dataclass(frozen=True)
class SentRequest:
    """A request that the process sent."""

    target: Address
    body: bytes
    blob: LazyLoadBlob | None
    expects_response: int | None
    context: bytes | None
    metadata: str | None
    inherit: bool
    capabilities: tuple[Capability, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a fake process answers."""

    body: bytes = b""
    blob: LazyLoadBlob | None = None
    metadata: str | None = None
    capabilities: tuple[Capability, ...] = ()


@dataclass(frozen=True)
class LogLine:
    """A line of the process's log; `level` is error, warning, info or debug."""

    level: str
    text: str

"""Requests to the runtime modules of the node, such as `kv:distro:sys`, and their answers."""

from __future__ import annotations

import json
from typing import Any, Final

from guesthouse_sdk.address import Address, ProcessId
from guesthouse_sdk.errors import NotAuthorised
from guesthouse_sdk.message import LazyLoadBlob
from guesthouse_sdk.messaging import Request, get_blob
from guesthouse_sdk.system import our

WAIT_SECONDS: Final = 30
"""Seconds to wait for a module, which answers when what it wrote is on disk."""


class Refusal(Exception):
    """A module answered with an error: its kind, what it says more, and the blob that came with it."""

    def __init__(self, kind: str, more: Any, blob: bytes | None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.blob = blob
        self.reason = more.get("error", kind) if isinstance(more, dict) else kind


def module(name: str) -> Address:
    """The address of a runtime module of this node."""
    return Address(our().node, ProcessId(name, "distro", "sys"))


def ask(name: str, body: object, blob: bytes | None = None) -> tuple[Any, bytes | None]:
    """Ask a module and wait for its answer, which is JSON with a blob.

    Raises:
        Refusal: it answered with an error.
        NotAuthorised: the process may not use it; the text says what to add to the manifest.
        SendError: it did not answer.
    """
    request = Request().target(module(name)).body(json.dumps(body, separators=(",", ":")))
    if blob is not None:
        request.blob(LazyLoadBlob(None, blob))
    try:
        answer = request.send_and_await_response(WAIT_SECONDS)
    except NotAuthorised as error:
        raise refused_use(name, error) from None
    given = get_blob()
    content = None if given is None else given.bytes
    value = json.loads(answer.body)
    if isinstance(value, dict) and "Err" in value:
        refused = value["Err"]
        kind, more = next(iter(refused.items())) if isinstance(refused, dict) else (refused, None)
        raise Refusal(kind, more, content)
    return value, content


def refused_use(name: str, error: NotAuthorised) -> NotAuthorised:
    """The same error with what to do about it."""
    explained = NotAuthorised(
        f'this process may not use {name}:distro:sys: add "{name}:distro:sys" to its request-capabilities in '
        "package.toml, and have it granted",
        error.target,
        error.body,
        error.blob,
        error.context,
    )
    explained.missing = error.missing
    return explained

"""Answering an HTTP request, in whichever form the process chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guesthouse.link.ops import ToNode

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest


def answer_http(
    guest: Guest, http_id: int, status: int, headers: list[tuple[str, str]], mime: str | None, body: bytes
) -> None:
    """Send the answer to the node, which checks it and owns the connection."""
    pairs = [list(pair) for pair in headers]
    guest.tell([ToNode.HTTP_RESPONSE, guest.handle, http_id, status, pairs, mime, body])

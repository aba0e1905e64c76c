"""Answers an HTTP request, by either API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guesthouse.link.to_node import HttpResponse

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest


def answer_http(
    guest: Guest, http_id: int, status: int, headers: list[tuple[str, str]], mime: str | None, body: bytes
) -> None:
    """Send the answer to the node, which checks it and owns the connection."""
    guest.tell(HttpResponse(guest.handle, http_id, status, tuple(headers), mime, body))

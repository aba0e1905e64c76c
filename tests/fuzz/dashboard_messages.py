"""What pages say to the dashboard, before and after they have logged in."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from msgspec import MsgspecError
from msgspec.json import decode

from guesthouse.http_api.dashboard.actions import Actions
from guesthouse.http_api.dashboard.page_messages import LOGIN_BYTES, read_login, read_request

from .catalogue import target

TABLE: Final = Actions(None, None, None, None).table  # type: ignore[arg-type] # nothing is carried out


@target()
def dashboard_message(data: bytes) -> None:
    """It is a login by exactly one thing, a request with arguments of the declared types, or nothing."""
    shown = read_login(data[:LOGIN_BYTES])
    assert shown is None or (shown.key is None) is not (shown.ticket is None)
    asked = read_request(data)
    if asked is None:
        return
    assert type(asked.id) is int
    for name, action in TABLE.items():
        with suppress(MsgspecError, ValueError, RecursionError):
            taken = decode(asked.arguments, type=action.asks)
            assert isinstance(taken, action.asks), name

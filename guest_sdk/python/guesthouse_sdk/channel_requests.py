"""Requests that clients make over a channel, and their answers: the envelope of `docs/clients.md`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from guesthouse_sdk._json import written
from guesthouse_sdk.errors import GuestError
from guesthouse_sdk.typed import parsed

MAX_NUMBER: Final = (1 << 53) - 1
"""The largest number of a request: the largest integer that JavaScript has exactly."""

_START: Final = '{"request":'
_START_BYTES: Final = _START.encode()


class _Later(Enum):
    LATER = "later"


LATER: Final[Literal[_Later.LATER]] = _Later.LATER
"""What `on_channel_request` returns when it answers later, or never."""


class RequestRefused(GuestError):
    """Raise it in `on_channel_request`: the client gets the text as the error of its request."""


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """A request of a client over its channel.

    Attributes:
        number: chosen by the client, which has no other pending request with it on this channel.
        body: what the client asks, decoded from JSON.
    """

    number: int
    body: Any

    @classmethod
    def read(cls, message: str | bytes) -> ChannelRequest | None:
        """Read a message of a client; None if it is no request, but an ordinary message."""
        is_request = (
            message.startswith(_START) if isinstance(message, str) else message.startswith(_START_BYTES)
        )
        if not is_request:
            return None
        try:
            fields = parsed(message)
        except (ValueError, RecursionError):
            return None
        number = fields["request"]
        if type(number) is not int or not 0 < number <= MAX_NUMBER:
            return None
        return cls(number, fields.get("body"))

    def answer(self, body: object) -> str:
        """The text message that answers the request.

        Args:
            body: anything that `json` encodes; no NaN and no infinity.

        Raises:
            TypeError: JSON cannot express it.
            ValueError: JSON cannot express it.
        """
        return written({"response": self.number, "body": body})

    def refusal(self, error: str) -> str:
        """The text message that says why there is no answer."""
        return written({"response": self.number, "error": error})

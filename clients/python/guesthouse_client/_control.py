"""Control messages of `guesthouse.v1`, and the escape that tells them from payloads. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from .errors import ProtocolViolated

SUBPROTOCOL: Final = "guesthouse.v1"
ESCAPE: Final = "\x10"
MAX_COUNT: Final = 2**53 - 1
AWAY: Final = 4100
"""The close code of a client that will be back."""

Message: TypeAlias = str | bytes


def control(kind: str, **fields: object) -> str:
    """A control message. Fields that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return ESCAPE + json.dumps({"type": kind, **given}, separators=(",", ":"))


def escaped(message: Message) -> Message:
    """A payload as it is sent."""
    return ESCAPE + message if isinstance(message, str) and message.startswith(ESCAPE) else message


def read_control(text: str) -> dict[str, Any]:
    """A control message, with its escape.

    Raises:
        ProtocolViolated: it is none.
    """
    try:
        fields = json.loads(text[1:])
    except (ValueError, RecursionError) as error:
        raise ProtocolViolated(f"the node sent a control message that is not JSON: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ProtocolViolated("the node sent a control message without a type")
    return fields


def count_of(fields: dict[str, Any], name: str, least: int = 0) -> int:
    """A field that is a count.

    Raises:
        ProtocolViolated: it is missing, or none.
    """
    value = fields.get(name)
    if type(value) is not int or not least <= value <= MAX_COUNT:
        raise ProtocolViolated(f"the node sent {fields['type']!r} with a wrong {name!r}")
    return value


def _text_of(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ProtocolViolated(f"the node sent {fields['type']!r} with a wrong {name!r}")
    return value


def _seconds_of(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ProtocolViolated(f"the node sent seconds that are none as {name!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Opened:
    """What the node says when a session begins or goes on."""

    channel_id: int
    key: str
    resume_seconds: float
    message_bytes: int
    ack_messages: int
    ack_bytes: int
    ack_seconds: float
    subprotocol: str | None

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        """Of an `opened` or `resumed`.

        Raises:
            ProtocolViolated: a field is missing or wrong.
        """
        ack = fields.get("ack")
        if not isinstance(ack, dict):
            raise ProtocolViolated(f"the node sent {fields['type']!r} with a wrong 'ack'")
        ack = {"type": "ack", **ack}
        return cls(
            count_of(fields, "channel_id"),
            _text_of(fields, "session"),
            _seconds_of(fields, "resume_seconds"),
            count_of(fields, "message_bytes"),
            count_of(ack, "messages", least=1),
            count_of(ack, "bytes", least=1),
            _seconds_of(ack, "seconds"),
            _text_of(fields, "subprotocol") if "subprotocol" in fields else None,
        )

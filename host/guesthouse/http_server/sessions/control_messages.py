"""Control messages of `guesthouse.v1`, and the escape that tells them from payloads. Pure.

A control message is text: U+0010 and a JSON object whose `type` says what it is. A payload that is text and begins
with U+0010 is sent with one more in front of it; every other payload, and every binary one, is sent as it is.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from guesthouse.core.errors import GuesthouseError

ESCAPE: Final = b"\x10"
"""U+0010, DATA LINK ESCAPE."""

MAX_CONTROL_MESSAGE: Final = 8 * 1024
"""Bytes of a control message, which may carry a token."""

MAX_COUNT: Final = 2**53 - 1
"""The largest count: what JavaScript's numbers hold exactly. A million messages a second take 285 years to it."""

_Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
_Token: TypeAlias = Annotated[str, Meta(max_length=4096)]
_COMPLAINT: Final = 80
_DEEPEST: Final = 16
"""Objects and arrays in one another, which only fields that nobody knows can hold."""
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""Also one without an end, so that it is looked through once."""
_BRACKET: Final = re.compile(rb"[\[\]{}]")


class BadControl(GuesthouseError):
    """A control message is not in order."""


class _Control(Struct, frozen=True, tag_field="type"):
    """What both ends say has its `type`."""


class OpenChannel(_Control, frozen=True, tag="open"):
    """Open a channel. In the register form with the fields of a register message."""

    auth_token: _Token | None = None
    target_process: Annotated[str, Meta(max_length=1024)] | None = None
    encrypted: bool | None = None


class Resume(_Control, frozen=True, tag="resume"):
    """Go on with a channel."""

    session: Annotated[str, Meta(max_length=128)]
    received: _Count
    auth_token: _Token | None = None


class Acknowledge(_Control, frozen=True, tag="ack"):
    """So many messages were received, since the session began."""

    received: _Count


class Heartbeat(_Control, frozen=True, tag="ping"):
    """Say that you are there, and acknowledge."""

    data: Annotated[str, Meta(max_length=64)] = ""


class Refresh(_Control, frozen=True, tag="token"):
    """From now on this is the token of the session."""

    auth_token: _Token


class Lost(_Control, frozen=True, tag="lost"):
    """The next so many messages will not come; they are counted as received."""

    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)]


Control: TypeAlias = OpenChannel | Resume | Acknowledge | Heartbeat | Refresh | Lost


class Cadence(Struct, frozen=True):
    """When the client is to acknowledge: after so many messages, bytes or seconds, whichever is first."""

    messages: int
    bytes: int
    seconds: float


class Opened(Struct, frozen=True, tag_field="type", tag="opened", omit_defaults=True):
    """The answer to `OpenChannel`."""

    channel_id: int
    session: str
    resume_seconds: float
    message_bytes: int
    ack: Cadence
    subprotocol: str | None = None


class Resumed(Struct, frozen=True, tag_field="type", tag="resumed", omit_defaults=True):
    """The answer to `Resume`."""

    channel_id: int
    session: str
    received: int
    resume_seconds: float
    message_bytes: int
    ack: Cadence
    subprotocol: str | None = None


class HeartbeatAnswer(_Control, frozen=True, tag="pong"):
    """The answer to `Heartbeat`."""

    data: str
    received: int


class Refreshed(Struct, frozen=True, tag_field="type", tag="token", omit_defaults=True):
    """The answer to `Refresh`: when the token expires (Unix seconds), or why it is not taken."""

    expiration: int | None = None
    error: str | None = None


def _distinct(fields: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in fields}) < len(fields):
        raise BadControl("a field is there twice")


_decoder: Final[Decoder[Control]] = Decoder(Control)
_every_field: Final = JSONDecoder(object_pairs_hook=_distinct, parse_int=str, parse_float=str)
"""For what `_decoder` lets pass: of two fields of one name it takes the last."""
_encode: Final = Encoder().encode


def is_control(payload: bytes) -> bool:
    """Whether a text message that begins with the escape is a control message, and no escaped payload."""
    return payload[1:2] != ESCAPE


def read_control(message: bytes) -> Control:
    """Read a whole text message that begins with the escape.

    Raises:
        BadControl: it is too long, no JSON object and nothing else, nested too deeply, no control message of a client,
            or a field is wrong or there twice. The text may cite the message: it is for its sender alone.
    """
    if len(message) > MAX_CONTROL_MESSAGE:
        raise BadControl("it is too long")
    if message[1:2] != b"{" or message[-1:] != b"}":
        raise BadControl("no JSON object stands alone behind U+0010")
    if _nests_deeply(message):
        raise BadControl("it is nested too deeply")
    try:
        control = _decoder.decode(memoryview(message)[1:])
        if type(control) is not Acknowledge or message.count(b":") > 2:
            _every_field.decode(message[1:].decode())  # an acknowledgement with two fields has each once
    except (MsgspecError, ValueError) as error:
        raise BadControl(ascii(str(error))[1:-1][:_COMPLAINT]) from None
    return control


def _nests_deeply(message: bytes) -> bool:
    """Whether its JSON nests more than `_DEEPEST`: how deep decoders go depends on the version of Python."""
    if message.count(b"[") + message.count(b"{") <= _DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", message)):
        depth += 1 if bracket in b"[{" else -1
        if depth > _DEEPEST:
            return True
    return False


def write_control(message: Acknowledge | Lost | Opened | Resumed | HeartbeatAnswer | Refreshed) -> bytes:
    """A control message as the payload of a text message."""
    return ESCAPE + _encode(message)

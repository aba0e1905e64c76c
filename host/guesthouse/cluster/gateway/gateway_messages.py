"""Messages between a gateway, at which a client's socket is, and the home of the process of its channel. Pure.

A body of the service is an array of up to `MOST_MESSAGES` messages, each an array that starts with its number. Versions
of nodes mix: elements that a message has at its end and this version does not know are ignored, and a message with an
unknown number is passed over. Everything is checked against the types below while it is decoded, and against what the
node knows by whoever handles it: other nodes are not trusted with more than what they may do.

A channel has the same id at both nodes. The gateway draws it, and the home refuses one that it has in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.messages import Pairs

MOST_MESSAGES: Final = 1024
"""Messages in a body."""
MOST_CHANNELS: Final = 4096
"""Channels that one push is for."""
MOST_BOUND: Final = 4096
"""Paths that a process may announce."""

CHANNEL_SIZE: Final = 64
"""What each channel of a push counts in `size_of`."""
BODY_BYTES: Final = 256 * 1024
"""A body in which the messages have this size (`size_of`) is sent without waiting for more, so all but one of its
messages are within it.
"""
INBOUND_BYTES: Final = 256 * 1024
"""What a gateway may send of one channel beyond what its home has said it took; the message that goes over it is sent
whole. Each counts as `link.credit.push_cost`.
"""

_Short: TypeAlias = Annotated[str, Meta(max_length=512)]
_Text: TypeAlias = Annotated[str, Meta(max_length=128 * 1024)]
"""Has room for all that a request's head or a guest's answer can have: else clients and guests could have a message
refused that their node has sent.
"""
_Pairs: TypeAlias = Annotated[Pairs, Meta(max_length=512)]
_Id: TypeAlias = Annotated[int, Meta(ge=1, lt=2**31)]
_Size: TypeAlias = Annotated[int, Meta(ge=1, lt=2**40)]
_Number: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]
_Frame: TypeAlias = Annotated[bytes, Meta(min_length=1)]


class BadGatewayMessage(GuesthouseError):
    """What another node sent is no message of this service."""


class _Message(Struct, frozen=True, array_like=True):
    """Base of all."""


# From the gateway to the home.


class RelayOpen(_Message, tag=0, frozen=True):
    """A client opens a channel."""

    channel_id: _Id
    process: _Short
    path: _Text
    """As requested, below the process; `/` for a registered channel."""
    bound: bool
    """Whether it is by a bound path, and not registered."""
    authenticated: bool
    """Whether the client has shown a token of the gateway's."""
    window: _Size
    """Bytes that the home may push beyond what was credited."""
    slack: _Size
    """Bytes that may have been read and are not credited; they come on top."""
    source: _Short | None
    forwarded_for: _Short | None
    query_params: _Pairs
    subprotocol: _Short | None
    claims: _Text | None
    """Custom claims of the gateway's token."""
    token: _Text | None
    """A token of the home's, instead."""
    resumable: bool


class RelayDeliver(_Message, tag=1, frozen=True):
    """A client's message. The frame is its type, as one byte, and the payload."""

    channel_id: _Id
    frame: _Frame


class RelayLeft(_Message, tag=2, frozen=True):
    """The client has left, with the reason of its close frame; or the gateway closed the channel."""

    channel_id: _Id
    reason: Annotated[bytes, Meta(max_length=125)] | None


class RelayCredit(_Message, tag=3, frozen=True):
    """The client has read so many bytes of pushes."""

    channel_id: _Id
    size: _Size


class RelayPresence(_Message, tag=4, frozen=True):
    """The client of a resumable channel is away, or back."""

    channel_id: _Id
    away: bool


class VerifyToken(_Message, tag=5, frozen=True):
    """A client shows a token that the home says to have issued."""

    number: _Number
    process: _Short
    token: _Text


class RelayedRequest(_Message, tag=6, frozen=True):
    """A request to a bound path, or for content."""

    number: _Number
    process: _Short
    method: _Short
    url: _Text
    path: _Text
    """As requested, below the process."""
    authenticated: bool
    headers: _Pairs
    query_params: _Pairs
    source: _Short | None
    claims: _Text | None
    mime: _Text | None
    body: bytes
    file: bool = False
    """For a file of the package's folder `ui`, rather than what is bound."""
    page: bool = False
    """Whether the client takes a page for it, so that one for client-side routes will do."""


class ForgetRequest(_Message, tag=7, frozen=True):
    """Nobody waits for the answer any more."""

    number: _Number


# From the home to the gateway.


class BoundWs(Struct, frozen=True, array_like=True):
    """A path bound to WebSockets."""

    path: _Text
    authenticated: bool
    subprotocols: Annotated[tuple[_Short, ...], Meta(max_length=64)]


class BoundHttp(Struct, frozen=True, array_like=True):
    """A path bound to HTTP."""

    path: _Text
    authenticated: bool
    content: bool
    """Whether it is content, and not requests to the process."""
    response_seconds: float | None


class BoundUi(Struct, frozen=True, array_like=True):
    """A path under which the package's `ui` folder is served."""

    path: _Text
    authenticated: bool


class Announce(_Message, tag=32, frozen=True):
    """A process, with all that it binds now."""

    process: _Short
    ws: Annotated[tuple[BoundWs, ...], Meta(max_length=MOST_BOUND)]
    http: Annotated[tuple[BoundHttp, ...], Meta(max_length=MOST_BOUND)]
    ui: Annotated[tuple[BoundUi, ...], Meta(max_length=MOST_BOUND)]
    has_ui: bool


class Withdraw(_Message, tag=33, frozen=True):
    """The process has ended for good."""

    process: _Short


class RelayPush(_Message, tag=34, frozen=True):
    """A message for clients. The frame is as in `Deliver`."""

    channel_ids: Annotated[list[_Id], Meta(max_length=MOST_CHANNELS)]
    frame: _Frame


class RelayClose(_Message, tag=35, frozen=True):
    """The home closes a channel, or does not open it. A code of 0 is a close frame without one."""

    channel_id: _Id
    code: Annotated[int, Meta(ge=0, le=4999)]
    reason: Annotated[str, Meta(max_length=123)]


class RelayTaken(_Message, tag=36, frozen=True):
    """The home took so many bytes of `Deliver` of a channel: the gateway may send as many more."""

    channel_id: _Id
    size: _Size


class TokenVerified(_Message, tag=37, frozen=True):
    """The token is good."""

    number: _Number
    family: _Short
    claims: _Text | None


class TokenRefused(_Message, tag=38, frozen=True):
    """The token is not: how to close the channel."""

    number: _Number
    code: Annotated[int, Meta(ge=1000, le=4999)]
    reason: Annotated[str, Meta(max_length=123)]


class RelayedAnswer(_Message, tag=39, frozen=True):
    """What the process answered, or the home. `reason` is set for a refusal of the home's own."""

    number: _Number
    status: Annotated[int, Meta(ge=0, le=599)]
    headers: _Pairs
    mime: _Text | None
    body: bytes
    reason: _Text | None = None


class Listed(_Message, tag=40, frozen=True):
    """The home has started and announced all that it runs: what it has not announced, it does not have."""


ToHome: TypeAlias = (
    RelayOpen
    | RelayDeliver
    | RelayLeft
    | RelayCredit
    | RelayPresence
    | VerifyToken
    | RelayedRequest
    | ForgetRequest
)
ToGateway: TypeAlias = (
    Announce
    | Withdraw
    | RelayPush
    | RelayClose
    | RelayTaken
    | TokenVerified
    | TokenRefused
    | RelayedAnswer
    | Listed
)
Message: TypeAlias = ToHome | ToGateway

encode: Final = msgspec.msgpack.Encoder().encode
_whole: Final = msgspec.msgpack.Decoder(Annotated[list[Message], Meta(max_length=MOST_MESSAGES)])
_parts: Final = msgspec.msgpack.Decoder(Annotated[list[Raw], Meta(max_length=MOST_MESSAGES)])
_one: Final = msgspec.msgpack.Decoder(Message)
_SHORT_ARRAY: Final = 0x90
_LONG_ARRAYS: Final = {0xDC: 3, 0xDD: 5}
"""Where the elements of a longer array begin."""
_ONE_BYTE: Final = 0x80
_LARGER: Final = (0xCC, 0xCD, 0xCE, 0xCF)
_NO_NUMBER: Final = 0xC0
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_KNOWN: Final = frozenset(each.__struct_config__.tag for each in _Message.__subclasses__())


def decode(body: bytes, complain: Callable[[str], None] | None = None) -> Sequence[Message]:
    """The messages of a body. Those with unknown numbers are left out, and malformed ones, as others in it are of other
    channels.

    Args:
        body: as it came.
        complain: told what is wrong with one that is malformed; None: that raises.

    Raises:
        BadGatewayMessage: it is no array of messages, or a message in it is malformed and nobody is told.
    """
    try:
        return _whole.decode(body)
    except _UNREADABLE:
        pass
    try:
        parts = _parts.decode(body)
    except _UNREADABLE as error:
        raise BadGatewayMessage(str(error)) from None
    found = []
    for part in parts:
        try:
            if _number(part) in _KNOWN:
                found.append(_one.decode(part))
        except (BadGatewayMessage, *_UNREADABLE) as error:
            if complain is None:
                raise BadGatewayMessage(str(error)) from None
            complain(str(error))
    return found


def _number(part: Raw) -> int:
    """The number of a message, which is not decoded for that; -1 for one that takes more than a byte."""
    data = memoryview(part)
    start = 1 if _SHORT_ARRAY < data[0] < _SHORT_ARRAY + 16 else _LONG_ARRAYS.get(data[0], 0)
    first = data[start] if 0 < start < len(data) else _NO_NUMBER
    if first < _ONE_BYTE or first in _LARGER:
        return first if first < _ONE_BYTE else -1
    raise BadGatewayMessage("a message has no number")


def size_of(message: Message) -> int:
    """About how many bytes it takes, and more for what is more work than its bytes."""
    if isinstance(message, RelayPush):
        return len(message.frame) + CHANNEL_SIZE * len(message.channel_ids) + 16
    if isinstance(message, RelayDeliver):
        return len(message.frame) + 16
    if isinstance(message, RelayedRequest | RelayedAnswer):
        return len(message.body) + sum(len(name) + len(value) for name, value in message.headers) + 1024
    if isinstance(message, Announce):
        paths = [each.path for each in message.ws] + [each.path for each in message.http]
        return 64 + sum(len(path) + 256 for path in paths) + sum(len(each.path) for each in message.ui)
    return 1024 if isinstance(message, RelayOpen | VerifyToken) else 64

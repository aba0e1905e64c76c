"""Receiving messages and their payloads, and sending messages to other processes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, Self

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import U64_MAX, checked_bytes, checked_int, checked_text
from guesthouse_sdk._payload import keep_latest, lose_latest
from guesthouse_sdk._wit import Err, refusal, types
from guesthouse_sdk.address import Address, address_from_wit, address_to_wit
from guesthouse_sdk.capabilities import Capability, capabilities_to_wit, capability_from_wit
from guesthouse_sdk.errors import MailboxFull, NoSuchProcess, NotAuthorised, Offline, SendError, TimedOut
from guesthouse_sdk.message import (
    IncomingResponse,
    LazyLoadBlob,
    Message,
    WebSocketPush,
    WsMessageType,
    blob_from_wit,
    incoming_response_from_wit,
    message_from_wit,
    optional_blob_to_wit,
)
from guesthouse_sdk.system import our

_SEND_ERRORS: Final[dict[types.SendErrorKind, tuple[type[SendError], str]]] = {
    types.SendErrorKind.OFFLINE: (Offline, "its node cannot be reached"),
    types.SendErrorKind.TIMEOUT: (TimedOut, "it did not answer in time"),
    types.SendErrorKind.NO_SUCH_PROCESS: (NoSuchProcess, "there is no such process"),
    types.SendErrorKind.MAILBOX_FULL: (MailboxFull, "its mailbox is full: send less, or later"),
    types.SendErrorKind.NOT_AUTHORISED: (NotAuthorised, "this process may not message it"),
}


class _Received:
    """The state of the payload of the message received last."""

    __slots__ = ("is_text",)

    def __init__(self) -> None:
        self.is_text = False


received: Final = _Received()


def receive() -> Message:
    """Wait for the next message: an event of the HTTP server, a request, or a response.

    Raises:
        SendError: a request of this process was not delivered or not answered.
    """
    received.is_text = False
    lose_latest()
    try:
        raw = _wit.messaging.receive()
    except Err as failure:
        raw_failure = refusal(failure)
        raise send_error(raw_failure.error, raw_failure.context) from None
    message = message_from_wit(raw)
    if type(message) is WebSocketPush:
        received.is_text = message.message_type is WsMessageType.Text
    return message


def get_blob() -> LazyLoadBlob | None:
    """The payload of the message received last, if any."""
    if received.is_text:
        text = _wit.messaging.get_blob_text()
        if text is not None:
            return LazyLoadBlob.from_text(text)
    return blob_from_wit(_wit.messaging.get_blob())


def get_blob_text() -> str | None:
    """The same payload as text; None if there is none or it is not UTF-8."""
    return _wit.messaging.get_blob_text()


def has_blob() -> bool:
    """Whether the message received last has a payload."""
    return _wit.messaging.has_blob()


def last_blob() -> LazyLoadBlob | None:
    """The payload seen last, kept while messages without one arrive."""
    return blob_from_wit(_wit.messaging.last_blob())


class Request:
    """A message to another process, built step by step and then sent.

    `Request().target("chat:chat:guesthouse.os").body(b"…").blob(blob).send()`
    """

    __slots__ = (
        "_blob",
        "_body",
        "_capabilities",
        "_context",
        "_expects_response",
        "_inherit",
        "_metadata",
        "_target",
    )

    def __init__(self) -> None:
        self._target: Address | None = None
        self._body = b""
        self._blob: LazyLoadBlob | None = None
        self._context: bytes | None = None
        self._metadata: str | None = None
        self._expects_response: int | None = None
        self._inherit = False
        self._capabilities: tuple[Capability, ...] = ()

    def target(self, target: Address | str) -> Self:
        """Its receiver: an address, or `node@process:package:publisher`."""
        self._target = Address.parse(target) if isinstance(target, str) else target
        return self

    def body(self, body: bytes | str) -> Self:
        """Its content."""
        self._body = _encoded(body, "a body")
        return self

    def blob(self, blob: LazyLoadBlob | None) -> Self:
        """Its payload."""
        self._blob = blob
        return self

    def inherit(self, inherit: bool = True) -> Self:
        """Use the id of the message being handled, and its blob if this one has none."""
        self._inherit = bool(inherit)
        return self

    def metadata(self, metadata: str | None) -> Self:
        """JSON about the message."""
        self._metadata = None if metadata is None else checked_text(metadata, "metadata")
        return self

    def context(self, context: bytes | str | None) -> Self:
        """Bytes that come back with the response or the error."""
        self._context = None if context is None else _encoded(context, "a context")
        return self

    def capabilities(self, *capabilities: Capability) -> Self:
        """Capabilities to pass on: those that this process holds, was just given, or issues itself. The host
        leaves out others.
        """
        self._capabilities = capabilities
        return self

    def expects_response(self, seconds: int | None) -> Self:
        """Seconds to wait for a response; None when none is expected."""
        if seconds is not None:
            checked_int(seconds, "the seconds to wait for a response", 1, U64_MAX)
        self._expects_response = seconds
        return self

    def send(self) -> None:
        """Send it. A response arrives through `receive`; a failure is raised there."""
        target, request, blob = self.to_wit()
        _wit.messaging.send_request(target, request, self._context, blob)

    def __await__(self) -> Generator[Self, IncomingResponse, IncomingResponse]:
        """Wait for the response in an `async def on_message`, while the process handles other channels. `get_blob`
        then returns the response's payload, until the next `await`. `expects_response(seconds)` has to be called
        before.

        Raises:
            SendError: it was not delivered, or not answered within that time.
        """
        return (yield self)

    def send_awaited(self, context: bytes) -> None:
        """Send it for a handler that awaits it. Called by the SDK.

        Raises:
            ValueError: it cannot be awaited: it expects no response, or has a context of its own.
        """
        if self._expects_response is None:
            raise ValueError("await needs a request with .expects_response(seconds)")
        if self._context is not None:
            raise ValueError("a request that is awaited has no context: what it is about is in the handler")
        target, request, blob = self.to_wit()
        _wit.messaging.send_request(target, request, context, blob)

    def send_and_await_response(self, seconds: int | None = None) -> IncomingResponse:
        """Send it and wait for the response; other messages queue meanwhile. `get_blob` then returns the
        response's payload.

        Args:
            seconds: how long to wait; by default what `expects_response` was called with.

        Raises:
            SendError: it was not delivered, or not answered within that time.
            ValueError: it is to this process itself, which cannot answer while it waits.
        """
        if seconds is not None or self._expects_response is None:
            self.expects_response(checked_int(seconds, "the seconds to wait for a response", 1, U64_MAX))
        target, request, blob = self.to_wit()
        if self._target == our():
            raise ValueError(f"{self._target} cannot wait for its own answer: call the function instead")
        received.is_text = False
        keep_latest()
        try:
            raw = _wit.messaging.send_and_await_response(target, request, blob)
        except Err as failure:
            raise send_error(refusal(failure), None) from None
        assert type(raw) is types.Message_Response, raw  # noqa: S101 - the host answers with a response
        return incoming_response_from_wit(raw.value)

    def to_wit(self) -> tuple[types.Address, types.Request, types.LazyLoadBlob | None]:
        """Convert it for the bindings."""
        if self._target is None:
            raise ValueError("a request needs a target: Request().target(address)")
        rights = capabilities_to_wit(self._capabilities)
        request = types.Request(self._inherit, self._expects_response, self._body, self._metadata, rights)
        return address_to_wit(self._target), request, optional_blob_to_wit(self._blob)


class Response:
    """The answer to the request received last: `Response().body(b"…").send()`."""

    __slots__ = ("_blob", "_body", "_capabilities", "_inherit", "_metadata")

    def __init__(self) -> None:
        self._body = b""
        self._blob: LazyLoadBlob | None = None
        self._metadata: str | None = None
        self._inherit = False
        self._capabilities: tuple[Capability, ...] = ()

    def body(self, body: bytes | str) -> Self:
        """Its content."""
        self._body = _encoded(body, "a body")
        return self

    def blob(self, blob: LazyLoadBlob | None) -> Self:
        """Its payload."""
        self._blob = blob
        return self

    def capabilities(self, *capabilities: Capability) -> Self:
        """Capabilities to pass on, as for `Request`."""
        self._capabilities = capabilities
        return self

    def inherit(self, inherit: bool = True) -> Self:
        """Carry the blob of the message received last if it has none."""
        self._inherit = bool(inherit)
        return self

    def metadata(self, metadata: str | None) -> Self:
        """JSON about the message."""
        self._metadata = None if metadata is None else checked_text(metadata, "metadata")
        return self

    def send(self) -> None:
        """Send it. Without a request that expects an answer, the host logs and drops it."""
        rights = capabilities_to_wit(self._capabilities)
        response = types.Response(self._inherit, self._body, self._metadata, rights)
        _wit.messaging.send_response(response, optional_blob_to_wit(self._blob))


def _encoded(value: bytes | str, what: str) -> bytes:
    return (
        checked_text(value, what).encode()
        if isinstance(value, str)
        else checked_bytes(value, what, "a str or bytes")
    )


def send_error(raw: types.SendError, context: bytes | None) -> SendError:
    """The error for a message that the host returned."""
    kind, reason = _SEND_ERRORS[raw.kind]
    target, blob = address_from_wit(raw.target), blob_from_wit(raw.lazy_load_blob)
    error = kind(f"{target}: {reason}", target, raw.request.body, blob, context)
    if isinstance(error, NotAuthorised) and raw.missing is not None:
        error.missing = capability_from_wit(raw.missing)
    return error

"""Errors, one class for each case. Every message says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guesthouse_sdk.address import Address
    from guesthouse_sdk.capabilities import Capability
    from guesthouse_sdk.message import LazyLoadBlob


class GuestError(Exception):
    """The base of every error that the SDK raises."""


class MissingCapability(GuestError):
    """Refused because this process lacks a capability.

    Attributes:
        missing: the capability; None on an older node.
    """

    missing: Capability | None = None

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.missing is None else f"{text} (it lacks {self.missing})"


class BadAddress(GuestError, ValueError):
    """Text is not an address or a process id."""


class BadJson(GuestError, ValueError):
    """A message or a body is not JSON."""


class BadBody(BadJson):
    """The body of an HTTP request is not what `Http.json` or `Http.text` reads. When `on_http` does not catch it the
    client is answered with 400.
    """


class ChannelError(GuestError):
    """An operation on the channel `channel_id` was refused."""

    def __init__(self, channel_id: int, reason: str) -> None:
        super().__init__(reason)
        self.channel_id = channel_id


class PushError(ChannelError):
    """A push was refused; it reached nobody."""


class CloseError(ChannelError):
    """A channel was not closed."""


class ChannelNotFound(PushError, CloseError):
    """No such channel, or not a channel of this process; the host does not reveal which."""


class ChannelFull(PushError):
    """The client reads too slowly: wait, drop the message, or close the channel."""


class PingPongTooLong(PushError):
    """The payload of a ping, pong or close is over 125 bytes."""


class NotUtf8(PushError):
    """The payload of a text message is not UTF-8."""


class MessageTooBig(PushError):
    """The payload is larger than the node allows."""


class NodeUnreachable(PushError):
    """The node named in a push cannot be reached from here."""


class BadClose(PushError):
    """The payload of a close is not a valid code with a reason in UTF-8."""


class BadCloseCode(CloseError):
    """Not a code that an endpoint may send (RFC 6455, section 7.4)."""


class CloseReasonTooLong(CloseError):
    """The reason is over 123 bytes of UTF-8."""


class BindError(GuestError):
    """A path was not bound."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


class BadPath(BindError):
    """Not an absolute path, or one that cannot be requested."""


class TooManyBindings(BindError):
    """The process has as many bindings, or as much static content, as the node allows."""


class NoSubdomain(BindError):
    """Another package has, or had since the node started, the host name of this package."""


class BadSubprotocol(BindError):
    """A subprotocol is not a token (RFC 9110, section 5.6.2), or there are over 16."""


class NoUi(BindError):
    """The package has no `ui` folder."""


class BindNotAuthorised(MissingCapability, BindError):
    """The process lacks the capability to use the HTTP server."""


class StateError(GuestError):
    """State was not stored; the old state is unchanged."""


class StateTooBig(MissingCapability, StateError):
    """The state is larger than this process may store; `missing` is the capability that would suffice."""


class StateNotWritten(StateError):
    """The node could not write it; its log says why."""


class SendError(GuestError):
    """A request was not delivered or not answered.

    Attributes:
        target: its receiver.
        body: its body.
        blob: its payload, if any.
        context: its context; None for `send_and_await_response`.
    """

    def __init__(
        self,
        reason: str,
        target: Address,
        body: bytes,
        blob: LazyLoadBlob | None,
        context: bytes | None,
    ) -> None:
        super().__init__(reason)
        self.target = target
        self.body = body
        self.blob = blob
        self.context = context


class Offline(SendError):
    """The other node cannot be reached."""


class TimedOut(SendError):
    """No response in the request's time."""


class NoSuchProcess(SendError):
    """No process of that name, or it ended before it answered."""


class MailboxFull(SendError):
    """The target's mailbox has no room."""


class NotAuthorised(MissingCapability, SendError):
    """The sender may not message the target."""


class SpawnError(GuestError):
    """No process was started."""


class NameTaken(SpawnError):
    """The package has a process of that name, or the name is invalid."""


class NoFileAtPath(SpawnError):
    """The package has no component there, or it cannot be compiled; the log says why."""


class SpawnNotAuthorised(MissingCapability, SpawnError):
    """The process lacks the capability to start others."""


class TooManyProcesses(SpawnError):
    """The package has as many processes as the node allows."""

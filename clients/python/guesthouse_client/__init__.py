"""Channels of Guesthouse nodes that outlive their connections.

async with connect("https://example.com", process="chat:chat:guesthouse.os", token=token) as channel:
    await channel.send("hello")
    async for message in channel:
        print(message)
"""

from ._options import QueuePolicy, State, Token
from .channel import Channel, connect
from .errors import (
    ChannelClosed,
    ChannelRefused,
    ConnectionLost,
    GuesthouseError,
    Interrupted,
    Lost,
    MessagesLost,
    MessageTooBig,
    ProtocolViolated,
    QueueFull,
    RequestFailed,
    RequestTimedOut,
    Retry,
    SessionLost,
    SessionTaken,
    TokenRefused,
    TokenUnavailable,
    error_of_close,
)

__all__ = [
    "Channel",
    "ChannelClosed",
    "ChannelRefused",
    "ConnectionLost",
    "GuesthouseError",
    "Interrupted",
    "Lost",
    "MessageTooBig",
    "MessagesLost",
    "ProtocolViolated",
    "QueueFull",
    "QueuePolicy",
    "RequestFailed",
    "RequestTimedOut",
    "Retry",
    "SessionLost",
    "SessionTaken",
    "State",
    "Token",
    "TokenRefused",
    "TokenUnavailable",
    "connect",
    "error_of_close",
]

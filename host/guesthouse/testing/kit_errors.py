"""What goes wrong in tests of packages. A failure of what is tested is an `AssertionError`, with the log."""

from __future__ import annotations

from collections.abc import Sequence

from guesthouse.core.errors import GuesthouseError

MOST_LINES = 40


class NodeFailed(GuesthouseError):
    """The package cannot be built, or its node cannot be started."""


class Refused(GuesthouseError):
    """The node refused to open a channel.

    Attributes:
        status: of its HTTP answer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}" if reason else str(status))
        self.status = status


class NothingCame(AssertionError):
    """No message or answer comes any more: the node has nothing left to do."""


class ChannelClosed(AssertionError):
    """The channel was closed, where a message was awaited.

    Attributes:
        code: of the close frame; 1006 without one.
        reason: of the close frame.
    """

    def __init__(self, code: int, reason: str, log: Sequence[str]) -> None:
        super().__init__(with_log(f"the channel was closed with {code} ({reason})", log))
        self.code = code
        self.reason = reason


def with_log(text: str, log: Sequence[str]) -> str:
    """A text with the last lines of a log below."""
    if not log:
        return f"{text}\nThe log of its process is empty."
    return "\n".join((text, "The log of its process:", *(f"  {line}" for line in log[-MOST_LINES:])))

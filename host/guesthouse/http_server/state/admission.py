"""What a server takes of new clients."""

from __future__ import annotations

from enum import Enum, auto


class Admission(Enum):
    """What is let in. What was let in before goes on in any case."""

    ALL = auto()
    REQUESTS = auto()
    """HTTP requests, whose connections end with the response, and no new channels."""
    NOTHING = auto()

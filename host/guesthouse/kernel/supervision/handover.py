"""The last message to a version that is being replaced, if its manifest says `handover = true`."""

from __future__ import annotations

import json

from guesthouse.core.address import Address
from guesthouse.core.capabilities import KERNEL
from guesthouse.link.to_worker import Request


def handover_request(node: str, version: str, seconds: float) -> Request:
    """`{"handover": {"version", "seconds"}}`: the new version and the time left. Expects no response: the process is
    done when it asks for the next message.
    """
    body = json.dumps({"handover": {"version": version, "seconds": seconds}}).encode()
    source = str(Address(node, KERNEL))
    return Request(0, 0, source, body)

"""Who is away: notices of the HTTP server about resumable channels, to processes that ask for them."""

from __future__ import annotations

import json
from typing import Final

from guesthouse_sdk.address import Address, ProcessId
from guesthouse_sdk.errors import SendError
from guesthouse_sdk.message import IncomingRequest
from guesthouse_sdk.messaging import Request
from guesthouse_sdk.system import Verbosity, print_to_log

_HTTP_SERVER: Final = ProcessId("http-server", "distro", "sys")
_AWAY, _BACK = "WebSocketAway", "WebSocketBack"
_SECONDS: Final = 10


def watch_presence(our: Address) -> set[int]:
    """Ask to be told, for this run. Returns the channels whose clients are away now. An older node knows nothing of it,
    and is asked in vain.
    """
    request = (
        Request()
        .target(Address(our.node, _HTTP_SERVER))
        .body(json.dumps({"WebSocketPresence": {"wanted": True}}))
    )
    try:
        answer = json.loads(request.send_and_await_response(_SECONDS).body)
    except SendError as error:
        print_to_log(f"on_away and on_back will not be called: {error}", Verbosity.WARNING)
        return set()
    return set(answer.get("Ok") or ())


def presence_in(our: Address, request: IncomingRequest) -> tuple[int, bool] | None:
    """The channel that a request says is away (True) or back; None if it says nothing of the kind."""
    if not request.body.startswith(b'{"WebSocket') or request.source != Address(our.node, _HTTP_SERVER):
        return None
    told = json.loads(request.body)
    for name in (_AWAY, _BACK):
        if name in told:
            return int(told[name]), name == _AWAY
    return None

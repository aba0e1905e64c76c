"""What happens when this process ends or traps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import MAX_ON_EXIT, checked_list
from guesthouse_sdk._wit import types
from guesthouse_sdk.address import address_from_wit
from guesthouse_sdk.message import blob_from_wit
from guesthouse_sdk.messaging import Request

OnExit: TypeAlias = Literal["none", "restart"] | Sequence[Request]
"""Nothing, restart it, or send these requests on its behalf."""


def get_on_exit() -> OnExit:
    """What happens when this process ends."""
    raw = _wit.system.get_on_exit()
    if type(raw) is types.OnExit_Requests:
        return [_request_from_wit(*entry) for entry in raw.value]
    return "restart" if type(raw) is types.OnExit_Restart else "none"


def set_on_exit(on_exit: OnExit) -> None:
    """Change what happens when this process ends."""
    _wit.system.set_on_exit(on_exit_to_wit(on_exit))


def on_exit_to_wit(on_exit: OnExit) -> types.OnExit:
    """Convert it for the bindings."""
    if on_exit == "none":
        return types.OnExit_None_()
    if on_exit == "restart":
        return types.OnExit_Restart()
    return types.OnExit_Requests(
        checked_list([request.to_wit() for request in on_exit], "requests", MAX_ON_EXIT)
    )


def _request_from_wit(
    target: types.Address, request: types.Request, blob: types.LazyLoadBlob | None
) -> Request:
    return (
        Request()
        .target(address_from_wit(target))
        .body(request.body)
        .blob(blob_from_wit(blob))
        .inherit(request.inherit)
        .metadata(request.metadata)
        .expects_response(request.expects_response)
    )

"""`guesthouse:process/messaging`: receiving messages, their blobs, and talking to other processes.

Capability: none to receive; to send, the target decides (`not-authorised` arrives as a send error).
Errors: `receive` and `send-and-await-response` return send errors; nothing else has one.
Traps: `send-and-await-response` without `expects-response` or to the process itself; a body or blob
over the limit.
Blocks: `receive`, `receive-ws-push`, `send-and-await-response`.
"""

from __future__ import annotations

from typing import Any, Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.messages import WsMessageType
from guesthouse.core.responses import answer_of
from guesthouse.link.schema import Rights
from guesthouse.link.to_node import Respond, Send
from guesthouse.wasm.abi.value_budget import SHARED_BYTES
from guesthouse.wasm.engine.host_functions import PENDING, Beyond, HostFunction
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.values import Utf8, is_utf8
from guesthouse.worker.calls.capabilities import rights
from guesthouse.worker.calls.http_response import answer_http
from guesthouse.worker.calls.limits import blob_bytes
from guesthouse.worker.contract_messages import CONTRACT, PUSH, WS_PUSH, MessageEncoding, blob_value
from guesthouse.worker.guest import Answerable, Guest, address_text

INTERFACE: Final = "guesthouse:process/messaging"
_TEXT: Final = int(WsMessageType.TEXT)


def receive(guest: Guest) -> Any:
    """Take the next message, or block."""
    return guest.receive(CONTRACT)


def receive_ws_push(guest: Guest) -> Any:
    """Take the next message, with its payload, if it is a client's; or block."""
    return guest.receive(WS_PUSH)


def get_blob(guest: Guest) -> dict[str, Any] | None:
    """The blob of the current message."""
    return blob_value(*guest.blob)


def get_blob_text(guest: Guest) -> Utf8 | None:
    """The same as text; None if there is none or it is not UTF-8."""
    payload = guest.blob[1]
    if type(payload) is memoryview:
        if guest.shared is not None and guest.shared.message_type == _TEXT:
            return Utf8(payload)  # checked by the node, which a worker trusts
        payload = guest.own_blob()[1]
    return Utf8(payload) if payload is not None and is_utf8(payload) else None


def has_blob(guest: Guest) -> bool:
    """Whether the current message has a blob."""
    return guest.blob[1] is not None


def last_blob(guest: Guest) -> dict[str, Any] | None:
    """The last blob seen."""
    return blob_value(*guest.last_blob)


def send_request(
    guest: Guest,
    target: dict[str, Any],
    request: dict[str, Any],
    context: bytes | None,
    blob: dict[str, Any] | None,
) -> None:
    """Send a request; its outcome arrives by `receive`."""
    _send(guest, target, request, context, blob, await_id=0)


def send_requests(guest: Guest, requests: list[tuple[Any, Any, Any, Any]]) -> None:
    """Send several, in order."""
    check_inherited(guest, [request["inherit"] and blob is None for _, request, _, blob in requests])
    for target, request, context, blob in requests:
        _send(guest, target, request, context, blob, await_id=0)


def check_inherited(guest: Guest, inherits: list[bool]) -> None:
    """See that requests of one call do not carry the blob of the message in hand, which none of them passed, so often
    that the worker would send nothing else for long.

    Raises:
        GuestTrap: they do.
    """
    payload = guest.blob[1]
    size, most = sum(inherits) * len(payload or b""), guest.limits.blob_bytes + SHARED_BYTES
    if size > most:
        text = f"its requests inherited {size} bytes in one call; the limit is {most}"
        raise GuestTrap(ExitCause.TRAP, text)


def send_response(guest: Guest, response: dict[str, Any], blob: dict[str, Any] | None) -> None:
    """Answer the last received request that expects an answer."""
    what, number = guest.take_answerable()
    if what is Answerable.NOTHING:
        guest.log.line("host", "warning", "a response was dropped: no request is waiting for one")
        return
    mime, payload = _carried(guest, response["inherit"], blob)
    _check_size(guest, response["body"], payload)
    if what is Answerable.HTTP:
        _respond_to_http(guest, number, response["body"], mime, payload)
        return
    guest.tell(
        Respond(
            guest.handle,
            number,
            response["body"],
            response["inherit"],
            response["metadata"],
            mime,
            payload,
            _rights(response),
        )
    )


def send_and_await_response(
    guest: Guest, target: dict[str, Any], request: dict[str, Any], blob: dict[str, Any] | None
) -> Any:
    """Send a request and block until its response or failure."""
    return send_and_await(guest, target, request, blob, CONTRACT)


def send_and_await(
    guest: Guest,
    target: dict[str, Any],
    request: dict[str, Any],
    blob: dict[str, Any] | None,
    encoding: MessageEncoding[Guest],
) -> Any:
    """The same for any encoding."""
    if request["expects-response"] is None:
        raise GuestTrap(
            ExitCause.TRAP, "send-and-await-response was called with a request that expects no response"
        )
    if target == guest.our_value:
        raise GuestTrap(
            ExitCause.TRAP, "send-and-await-response was called with the process itself as target"
        )
    _send(guest, target, request, None, blob, await_id=guest.await_response(encoding))
    return PENDING


def _send(
    guest: Guest,
    target: dict[str, Any],
    request: dict[str, Any],
    context: bytes | None,
    blob: dict[str, Any] | None,
    await_id: int,
) -> None:
    inherit = request["inherit"]
    mime, payload = _carried(guest, inherit, blob)
    body = request["body"]
    _check_size(guest, body, payload, context)
    guest.tell(
        Send(
            guest.handle,
            address_text(target),
            body,
            inherit,
            request["expects-response"],
            request["metadata"],
            context,
            mime,
            payload,
            await_id,
            guest.current_request if inherit and not guest.channel_id else 0,
            _rights(request),
        )
    )


def _rights(message: dict[str, Any]) -> Rights:
    """The capabilities that a message carries; messages of older contracts have none."""
    attached = message.get("capabilities")
    return rights(attached) if attached else ()


def _carried(guest: Guest, inherit: bool, blob: dict[str, Any] | None) -> tuple[str | None, bytes | None]:
    if blob is not None:
        return blob["mime"], blob["bytes"]
    return guest.own_blob() if inherit else (None, None)


def _check_size(guest: Guest, *parts: bytes | None) -> None:
    limit = guest.limits.blob_bytes
    largest = max(len(part) for part in parts if part is not None)
    if largest > limit:
        raise GuestTrap(ExitCause.TRAP, f"it sent a message of {largest} bytes; the limit is {limit}")


def _respond_to_http(
    guest: Guest, http_id: int, body: bytes, mime: str | None, payload: bytes | None
) -> None:
    """A response in the JSON form: `{"status": 200, "headers": {}}` with the blob as HTTP body."""
    answer = answer_of(body, mime, payload)
    if answer is None:
        guest.log.line(
            "host", "error", "an HTTP response was not of the form {status, headers}: answered with 500"
        )
        answer_http(guest, http_id, 500, [], None, b"")
    else:
        answer_http(guest, http_id, answer.status, list(answer.headers), mime, answer.body)


CALLS: Final = {
    "receive": HostFunction(receive, blocks=True, forms=(PUSH,), frequent=True),
    "receive-ws-push": HostFunction(receive_ws_push, blocks=True, frequent=True),
    "get-blob": HostFunction(get_blob, frequent=True),
    "get-blob-text": HostFunction(get_blob_text, frequent=True),
    "has-blob": HostFunction(has_blob),
    "last-blob": HostFunction(last_blob),
    "send-request": HostFunction(send_request, most=blob_bytes, beyond=Beyond.MARK),
    "send-requests": HostFunction(send_requests, most=blob_bytes, beyond=Beyond.MARK),
    "send-response": HostFunction(send_response, most=blob_bytes, beyond=Beyond.MARK),
    "send-and-await-response": HostFunction(
        send_and_await_response, blocks=True, most=blob_bytes, beyond=Beyond.MARK
    ),
}

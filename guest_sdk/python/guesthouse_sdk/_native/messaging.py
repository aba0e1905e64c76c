"""The calls of `wit/messaging.wit`."""

from __future__ import annotations

from guesthouse_sdk._native import types
from guesthouse_sdk._native.running import host


def receive() -> types.Message:
    return host().receive()


def receive_ws_push() -> tuple[int, str | None, bytes | None] | None:
    return host().receive_ws_push()


def get_blob() -> types.LazyLoadBlob | None:
    return host().get_blob()


def get_blob_text() -> str | None:
    return host().get_blob_text()


def has_blob() -> bool:
    return host().has_blob()


def last_blob() -> types.LazyLoadBlob | None:
    return host().last_blob()


def send_request(
    target: types.Address,
    request: types.Request,
    context: bytes | None,
    lazy_load_blob: types.LazyLoadBlob | None,
) -> None:
    host().send_request(target, request, context, lazy_load_blob)


def send_requests(
    requests: list[tuple[types.Address, types.Request, bytes | None, types.LazyLoadBlob | None]],
) -> None:
    for target, request, context, lazy_load_blob in requests:
        host().send_request(target, request, context, lazy_load_blob)


def send_response(response: types.Response, lazy_load_blob: types.LazyLoadBlob | None) -> None:
    host().send_response(response, lazy_load_blob)


def send_and_await_response(
    target: types.Address, request: types.Request, lazy_load_blob: types.LazyLoadBlob | None
) -> types.Message:
    return host().send_and_await_response(target, request, lazy_load_blob)

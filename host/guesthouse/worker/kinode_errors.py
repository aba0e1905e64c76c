"""Errors of runtime modules in the words that libraries of the Kinode OS can read. Pure.

Such a library reads an error as one of an enumeration, and fails on any other. So an error that is not among those
of its time comes as the nearest that is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

_HTTP: Final[Mapping[str, str]] = {
    "WsTextNotUtf8": "MalformedRequest",
    "WsMessageTooBig": "MalformedRequest",
    "WsBadClose": "MalformedRequest",
    "WsChannelFull": "Timeout",  # the client did not read in time; the channel is still there
    "BadPath": "MalformedRequest",
    "TooManyBindings": "MalformedRequest",
    "NoSubdomain": "InvalidSourceProcess",
    "BadSubprotocol": "MalformedRequest",
    "NoUi": "MalformedRequest",
}
"""What the newest libraries read instead. All other errors they know."""

_VFS: Final[Mapping[str, str]] = {
    "ReadOnly": "NoCap",
    "AlreadyExists": "IOError",
    "NotEmpty": "IOError",
    "QuotaExceeded": "IOError",
    "NotUtf8": "ParseError",
}


def _http_server(error: Any, *, older: bool) -> Any:
    if not isinstance(error, str):
        return error
    if not older:
        return _HTTP.get(error, error)
    if error == "NoBlob":
        return error
    if error == "MalformedRequest":
        return {"BadRequest": {"req": error}}
    return {"WebSocketPushError" if error.startswith("Ws") else "PathBindError": {"error": error}}


def _vfs(error: Any, **_: bool) -> Any:
    if not isinstance(error, dict) or len(error) != 1:
        return error
    ((kind, fields),) = error.items()
    return {_VFS.get(kind, kind): {"path": "", "action": "", "error": kind, **fields}}


def _kv(error: Any, **_: bool) -> Any:
    return {"IOError": {"error": error}} if error == "QuotaExceeded" else error


_MODULES: Final[Mapping[str, Callable[..., Any]]] = {
    "http-server:distro:sys": _http_server,
    "vfs:distro:sys": _vfs,
    "kv:distro:sys": _kv,
}


def known_error(process: str, body: bytes, *, older: bool) -> bytes:
    """The body of a response, in which an error is one that the receiver knows.

    Args:
        process: whose response it is, by its newest name.
        body: of the response.
        older: the receiver is of the time when the HTTP server was `http_server`.
    """
    translate = _MODULES.get(process)
    if translate is None or not body.startswith(b'{"Err"'):
        return body
    error = json.loads(body)["Err"]
    said = translate(error, older=older)
    return body if said == error else json.dumps({"Err": said}).encode()

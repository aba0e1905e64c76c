"""Maps errors of runtime modules to those that libraries of the Kinode OS know. Pure.

Such a library fails on errors that are not in its enumeration, so an error that is newer than the library
is replaced by the nearest that it knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

_HTTP: Final[Mapping[str, str]] = {
    "WsTextNotUtf8": "MalformedRequest",
    "WsMessageTooBig": "MalformedRequest",
    "WsBadClose": "MalformedRequest",
    "WsChannelFull": "Timeout",  # the client reads too slowly; the channel is open
    "BadPath": "MalformedRequest",
    "TooManyBindings": "MalformedRequest",
    "NoSubdomain": "InvalidSourceProcess",
    "BadSubprotocol": "MalformedRequest",
    "NoUi": "MalformedRequest",
}
"""Replacements for the newest libraries, which know all other errors."""

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
    """The body of a response, with an error that the receiver knows.

    Args:
        process: the responder, by its current name.
        body: of the response.
        older: the receiver uses the name `http_server`.
    """
    translate = _MODULES.get(process)
    if translate is None or not body.startswith(b'{"Err"'):
        return body
    error = json.loads(body)["Err"]
    said = translate(error, older=older)
    return body if said == error else json.dumps({"Err": said}).encode()

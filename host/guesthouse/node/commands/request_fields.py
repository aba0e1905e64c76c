"""Fields of the requests that commands take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from guesthouse.control.control_server import BadCommand
from guesthouse.core.address import ProcessId, canonical

LONGEST_TOKEN_SECONDS: Final = 10 * 366 * 24 * 3600


def text_of(request: Mapping[str, Any], key: str) -> str:
    """A field of text.

    Raises:
        BadCommand: it is missing, or none.
    """
    text = request.get(key)
    if not isinstance(text, str):
        raise BadCommand(f"this command takes a `{key}`")
    return text


def process_of(request: Mapping[str, Any]) -> ProcessId:
    """The field `process`.

    Raises:
        BadCommand: it is missing, or no text.
        BadProcessId: it is no process id.
    """
    text = request.get("process")
    if not isinstance(text, str):
        raise BadCommand("this command takes a `process`")
    return canonical(ProcessId.parse(text))

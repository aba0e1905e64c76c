"""What a page and the node say to each other: JSON objects, one a WebSocket message. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, MsgspecError, Raw, Struct, field
from msgspec.json import decode, encode

from guesthouse.http_api.forms import ProcessName, Taken
from guesthouse.http_api.problems import ApiProblem

LOGIN_BYTES: Final = 1024
MESSAGE_BYTES: Final = 512 * 1024
"""Of a message after the login: a part of a package, in base64, is the largest."""
PART_BYTES: Final = 256 * 1024
"""Of a package, in one message."""
CONSOLE_CHARACTERS: Final = 65_536
"""Of a message that a page sends to a process, or is shown of one."""
LAST_LINES: Final = 500
_MALFORMED: Final = (MsgspecError, ValueError, RecursionError)
_MAX_ID: Final = 2**53 - 1


class ShownLogin(Struct, frozen=True, forbid_unknown_fields=True):
    """The first message of a page: a key, or the ticket of a link. Exactly one of them."""

    key: Annotated[str, Meta(max_length=200)] | None = None
    ticket: Annotated[str, Meta(max_length=200)] | None = None


class PageRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request of a page."""

    id: Annotated[int, Meta(ge=0, le=_MAX_ID)]
    do: Annotated[str, Meta(max_length=40)]
    arguments: Raw = field(default_factory=lambda: Raw(b"{}"), name="with")


class FollowLog(Taken, frozen=True):
    """Which lines of the log to show, the last ones first and then as they come."""

    source: Annotated[str, Meta(max_length=400)] = ""
    level: Annotated[str, Meta(pattern="^(error|warning|info|debug)$")] = "debug"
    lines: Annotated[int, Meta(ge=0, le=LAST_LINES)] = 200


class BeginUpload(Taken, frozen=True):
    """A package, or a component, that the page will send."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    bytes: Annotated[int, Meta(ge=1)]


class SendPart(Taken, frozen=True):
    """The next part of a package."""

    base64: Annotated[str, Meta(max_length=MESSAGE_BYTES)]


class InstallUpload(Taken, frozen=True):
    """What the user has consented to: the hash that was shown."""

    hash: Annotated[str, Meta(min_length=1, max_length=128)]


class AboutPackage(Taken, frozen=True):
    """The package that it is about."""

    package: Annotated[str, Meta(min_length=1, max_length=300)]


class AboutFamily(Taken, frozen=True):
    """The tokens that it is about: one, and those that renewal made from it."""

    family: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]


class AboutKey(Taken, frozen=True):
    """The API key that it is about."""

    key: Annotated[str, Meta(pattern="^[0-9a-f]{12}$")]


class OpenConsole(Taken, frozen=True):
    """The process to talk to, and a path that it bound."""

    process: ProcessName
    path: Annotated[str, Meta(max_length=2048)] = ""


class SendConsole(Taken, frozen=True):
    """A message to the process."""

    text: Annotated[str, Meta(max_length=CONSOLE_CHARACTERS)]


def read_login(message: bytes) -> ShownLogin | None:
    """The login that a message is, which shows a key or a ticket; None for anything else."""
    try:
        shown = decode(message, type=ShownLogin)
    except _MALFORMED:
        return None
    return None if (shown.key is None) is (shown.ticket is None) else shown


def read_request(message: bytes) -> PageRequest | None:
    """The request that a message is; None for anything else."""
    try:
        return decode(message, type=PageRequest)
    except _MALFORMED:
        return None


def reply(asked: int, gives: Any) -> bytes:
    """The answer to a request."""
    return encode({"id": asked, "gives": gives})


def problem(asked: int, refused: ApiProblem) -> bytes:
    """The refusal of a request."""
    kind = refused.kind
    told = {"code": kind.code, "title": kind.title, "detail": refused.detail}
    return encode({"id": asked, "problem": told})


def event(name: str, /, **fields: Any) -> bytes:
    """What the node says by itself."""
    return encode({"event": name, **fields})

"""What a process answers to an HTTP request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from guesthouse_sdk._json import written
from guesthouse_sdk.http_server import Headers


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What `on_http` may return; text without a mime type is `text/plain; charset=utf-8`."""

    body: str | bytes = b""
    status: int = 200
    headers: Headers = ()
    mime: str | None = None

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Headers = ()) -> Self:
        """A response of `application/json`.

        Raises:
            TypeError: JSON cannot express the value.
            ValueError: it has NaN, an infinity or itself in it.
        """
        return cls(written(value), status, headers, "application/json")

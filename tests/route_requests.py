"""Requests to the routes of the test guest `scenarios`, and what a real node and the fake host answer alike."""

from __future__ import annotations

from typing import Final

_APP: Final = {"origin": "https://app.example"}
_ASKS: Final = {"access-control-request-method": "PUT", "access-control-request-headers": "content-type"}
_THING: Final = '{"name":"a"}'
_NONE: Final = {"access-control-allow-origin": None}

Request = tuple[str, str, bytes, dict[str, str]]
Expected = tuple[int, str, dict[str, str | None]]

REQUESTS: Final[dict[str, tuple[Request, Expected]]] = {
    "get": (
        ("GET", "/things/a", b"", {}),
        (200, _THING, {"content-type": "application/json", "vary": "Origin", **_NONE}),
    ),
    "head": (("HEAD", "/things/a", b"", {}), (200, "", {"x-count": "1", "content-type": "application/json"})),
    "put": (("PUT", "/things/a", b"[1]", {}), (201, "[1]", {})),
    "put no json": (
        ("PUT", "/things/a", b"[1", _APP),
        (
            400,
            "that is not JSON: Expecting ',' delimiter: line 1 column 3 (char 2)\n",
            {"access-control-allow-origin": "https://app.example"},
        ),
    ),
    "delete": (
        ("DELETE", "/things/a", b"", {}),
        (405, "DELETE is not allowed here\n", {"allow": "GET, HEAD, OPTIONS, PUT"}),
    ),
    "options": (("OPTIONS", "/things/a", b"", {}), (204, "", {"allow": "GET, HEAD, OPTIONS, PUT", **_NONE})),
    "of the app": (
        ("GET", "/things/a", b"", _APP),
        (
            200,
            _THING,
            {
                "access-control-allow-origin": "https://app.example",
                "access-control-expose-headers": "x-count",
                "vary": "Origin",
            },
        ),
    ),
    "of another": (
        ("GET", "/things/a", b"", {"origin": "https://evil.example"}),
        (200, _THING, {"vary": "Origin", **_NONE}),
    ),
    "preflight": (
        ("OPTIONS", "/things/a", b"", {**_APP, **_ASKS}),
        (
            204,
            "",
            {
                "access-control-allow-origin": "https://app.example",
                "access-control-allow-methods": "GET, PUT",
                "access-control-allow-headers": "content-type",
                "access-control-max-age": "600",
                "access-control-allow-credentials": None,
            },
        ),
    ),
    "preflight of another": (
        ("OPTIONS", "/things/a", b"", {"origin": "https://evil.example", **_ASKS}),
        (204, "", {**_NONE, "access-control-allow-methods": None}),
    ),
    "root": (("GET", "/", b"", {}), (200, "root", {})),
    "no route": (("GET", "/none", b"", {}), (404, "not found\n", {})),
    "broken": (
        ("POST", "/broken", b"", _APP),
        (500, "the process failed to answer\n", {"access-control-allow-origin": "https://app.example"}),
    ),
}

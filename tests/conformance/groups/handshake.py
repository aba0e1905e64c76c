"""Group 8: the opening handshake, which decides whether there is a WebSocket at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..case import Case, Grade, Outcome, Refused, Section, echoed, text
from ..frames import text as text_frame
from ..opening import Opening, Target

_PLAIN: Final = Opening()
_ACCEPTED: Final = echoed(text("hello"))
_REFUSED: Final = Outcome(Refused())


def cases(target: Target) -> Iterator[Case]:
    """Group 8."""
    yield from _accepted()
    yield from _refused()


def _accepted() -> Iterator[Case]:
    section = Section("8.1", "RFC 6455, 4.2.1")
    openings = {
        "a plain request": _PLAIN,
        "Upgrade in capitals": _PLAIN.setting("Upgrade", "WebSocket"),
        "Connection in lower case": _PLAIN.setting("Connection", "upgrade"),
        "Connection with keep-alive": _PLAIN.setting("Connection", "keep-alive, Upgrade"),
        "Connection twice": _PLAIN.setting("Connection", "keep-alive").having("Connection", "Upgrade"),
        "header names in lower case": Opening(tuple((name.lower(), value) for name, value in _PLAIN.headers)),
        "header names in capitals": Opening(tuple((name.upper(), value) for name, value in _PLAIN.headers)),
        "headers in another order": Opening(tuple(reversed(_PLAIN.headers))),
        "a value with white space around it": _PLAIN.setting("Upgrade", "  websocket \t"),
        "a subprotocol that no one knows": _PLAIN.having("Sec-WebSocket-Protocol", "nobody-knows-this"),
        "several subprotocols": _PLAIN.having("Sec-WebSocket-Protocol", "one, two").having(
            "Sec-WebSocket-Protocol", "three"
        ),
        "cookies": _PLAIN.having("Cookie", "a=1; b=2"),
        "headers that no one knows": _PLAIN.having("X-Unknown", "1").having("X-Empty", ""),
        "a header of 4096 bytes": _PLAIN.having("X-Long", "x" * 4096),
        "fifty headers": Opening((*_PLAIN.headers, *((f"X-{index}", "value") for index in range(50)))),
        "a User-Agent": _PLAIN.having("User-Agent", "conformance/1 (tests)"),
    }
    for name, opening in openings.items():
        subprotocol = any(key == "Sec-WebSocket-Protocol" for key, _ in opening.headers)
        outcomes = (
            [_ACCEPTED, Outcome(Refused((400,)), grade=Grade.NON_STRICT)] if subprotocol else [_ACCEPTED]
        )
        yield section.case(f"request with {name}", text_frame("hello"), *outcomes, opening=opening)
    section = Section("8.2", "RFC 6455, 9.1")
    for offer in ("nobody-knows-this", "x-one; a=1, x-two; b", 'x-quoted; value="one"'):
        yield section.case(
            f"extension that no one knows: {offer}", text_frame("hello"), _ACCEPTED, offer=offer
        )


def _refused() -> Iterator[Case]:
    section = Section("8.3", "RFC 6455, 4.2.1")
    key, version = "Sec-WebSocket-Key", "Sec-WebSocket-Version"
    openings = {
        "without Upgrade": _PLAIN.without("Upgrade"),
        "with another Upgrade": _PLAIN.setting("Upgrade", "h2c"),
        "without Connection": _PLAIN.without("Connection"),
        "with Connection: keep-alive": _PLAIN.setting("Connection", "keep-alive"),
        "without a key": _PLAIN.without(key),
        "with an empty key": _PLAIN.setting(key, ""),
        "with a key of 15 bytes": _PLAIN.setting(key, "AAAAAAAAAAAAAAAAAAAA"),
        "with a key of 17 bytes": _PLAIN.setting(key, "AAAAAAAAAAAAAAAAAAAAAAA="),
        "with a key that is not base64": _PLAIN.setting(key, "!!!!!!!!!!!!!!!!!!!!!!=="),
        "with two keys": _PLAIN.having(key, "AQIDBAUGBwgJCgsMDQ4PEA=="),
        "without a version": _PLAIN.without(version),
        "by POST": Opening(method="POST").having("Content-Length", "0"),
        "by HEAD": Opening(method="HEAD"),
        "in HTTP/1.0": Opening(version="HTTP/1.0"),
        "without Host": Opening(host=False),
    }
    for name, opening in openings.items():
        yield section.case(f"request {name}", [], _REFUSED, opening=opening)
    section = Section("8.4", "RFC 6455, 4.4")
    for number in ("0", "8", "12", "14", "255", "99999", "thirteen"):
        yield section.case(
            f"version {number}: refused, and told which is spoken",
            [],
            Outcome(Refused((426, 400), having="sec-websocket-version")),
            opening=_PLAIN.setting(version, number),
        )

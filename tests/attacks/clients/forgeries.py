"""What hostile clients show instead of a login, and what they must get for it."""

from __future__ import annotations

import time
from typing import Final

import jwt

ODD: Final = {
    "length and encoding": "400",
    "two lengths": "400",
    "a list of lengths": "400",
    "a signed length": "400",
    "a length over 64 bits": "400",
    "an unknown encoding": "400",
    "an encoding twice": "400",
    "an encoding after a space": "400",
    "a chunk size with a sign": "400",
    "a folded header": "400",
    "bare line feeds": "400",
    "a bare carriage return": "400",
    "a NUL in a header": "400",
    "no colon": "400",
    "a space in a name": "400",
    "two hosts": "400",
    "no host": "400",
    "an absolute target": "421",
    "an absolute target of its own": "200",
    "HTTP/0.9": "400",
    "HTTP/2 preface": "400",
    "a method in lower case": "400",
    "TLS": "400",
    "a huge target": "431",
    "a huge header": "431",
    "a huge name": "431",
    "ten thousand headers": "431",
    "upgrade: requests behind it": "101, then 1002 protocol error",
    "upgrade: a body": "400",
    "upgrade: two hosts": "400",
    "upgrade: two keys": "400",
    "upgrade: two versions": "400",
    "upgrade: a short key": "400",
    "upgrade: by POST": "405",
    "upgrade: HTTP/1.0": "505",
    "upgrade: to nothing, requests behind it": "404",
    "upgrade: to h2c": "200",
    "upgrade: a folded header": "400",
    "upgrade: ten thousand headers": "431",
    "upgrade: a huge header": "431",
    "upgrade: a cookie of a thousand parts": "401",
    "upgrade: two hundred tokens": "401",
}
"""The status of the only answer. A request that is hidden behind another never gets one."""


def tokens(right: str) -> dict[str, str]:
    """The owner's token, and others that are not as good."""
    head, claims, signature = right.split(".")
    said = jwt.decode(right, options={"verify_signature": False})

    def forged(key: str = "guessed" * 8, algorithm: str = "HS256", **changes: object) -> str:
        return jwt.encode({**said, **changes}, key, algorithm=algorithm)

    return {
        "right": right,
        "nothing": "",
        "no token": "x" * 100,
        "huge": "x" * 8000,
        "another key": forged(),
        "no algorithm": forged("", "none"),
        "no algorithm, old signature": forged("", "none") + signature,
        "another algorithm": forged("guessed" * 16, "HS512"),
        "no signature": f"{head}.{claims}.",
        "another node": forged(username="another.os"),
        "longer than it was made": forged(expiration=int(time.time()) + 10**6),
        "for ever": forged(expiration=10**30),
        "without a node": forged(username=None),
    }


def origins(host: str) -> dict[str, str]:
    """Values of Origin that are none of the node's own, by what is wrong with them; and those that are."""
    name, _, port = host.partition(":")
    return {
        "its own": f"http://{host}",
        "null": "null",
        "empty": "",
        "another site": "http://evil.example",
        "another port": f"http://{name}:{int(port) - 1}",
        "no port": f"http://{name}",
        "https": f"https://{host}",
        "its name as a suffix": f"http://evil{host}",
        "its name as a prefix": f"http://{name}.evil.example:{port}",
        "its name as a user": f"http://{host}@evil.example",
        "its name as a path": f"http://evil.example/{host}",
        "its name after a hash": f"http://evil.example#{host}",
        "another name of the same address": f"http://localhost:{port}",
        "two at once": f"http://{host} http://evil.example",
        "a list": f"http://{host}, http://evil.example",
        "with a path": f"http://{host}/",
        "a backslash": f"http://evil.example\\@{host}",
        "another scheme": f"ws://{host}",
        "no scheme": host,
    }

"""Runs `guesthouse` as its next version might be: with fields and messages that this one does not know."""

from __future__ import annotations

from typing import Any

import msgspec.msgpack

import guesthouse
from guesthouse.cli.main import main
from guesthouse.cluster.administration import administration_messages, node_calls
from guesthouse.kernel.cluster.services import ADMINISTRATION

VERSION = "99.0"


def send_more() -> None:
    """Have each message of the administration say more, and each node be sent one more message."""
    encode, up = administration_messages.encode, node_calls.Calls.up

    def encode_more(message: Any) -> bytes:
        fields = msgspec.msgpack.decode(encode(message))
        return msgspec.msgpack.encode({**fields, "zone": "north", "trace": {"spans": [1, None, b"x"]}})

    def up_and_ask(self: Any, node: str) -> None:
        up(self, node)
        self._peers.send(
            node, ADMINISTRATION, msgspec.msgpack.encode({"kind": "rebalance", "id": 1, "reply": False})
        )

    vars(node_calls)["encode"] = encode_more
    node_calls.Calls.up = up_and_ask  # type: ignore[method-assign]


if __name__ == "__main__":
    guesthouse.__version__ = VERSION
    send_more()
    main()

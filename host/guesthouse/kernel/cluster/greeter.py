"""Checks the Hellos and Welcomes of other nodes. Pure: the time is an argument.

Anybody can send them, and a carrier can repeat old ones. So what is cheap is checked first, and signatures are verified
only so many times a second, for each node and in all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guesthouse.core.throttle import Throttle
from guesthouse.kernel.cluster.handshake import (
    Agreed,
    BadHandshake,
    Hello,
    Initiator,
    Welcome,
    answer,
    check_signature,
    read_hello,
    read_welcome,
)

KeyOf: TypeAlias = Callable[[str], Ed25519PublicKey | None]

MOST_OF_NODE: Final = 8
"""Hellos that are sent to one node, and signatures of one node that are verified, in a second."""
MOST_VERIFIED: Final = 400
"""Signatures that are verified in a second; one takes 0.1 ms, an answered Hello 0.4 ms."""


class Greeter:
    """Makes and checks handshakes of this node.

    Args:
        node: its name.
        key: its key.
        key_of: returns another node's public key by name; None for an unknown node.
        cluster: the id of its cluster, which must be that of the other node; empty without one.
    """

    def __init__(self, node: str, key: Ed25519PrivateKey, key_of: KeyOf, cluster: bytes) -> None:
        self._node = node
        self._key = key
        self._key_of = key_of
        self._cluster = cluster
        self._verified = Throttle(1.0, MOST_VERIFIED)
        self._of_node = Throttle(1.0, MOST_OF_NODE)
        self._begun = Throttle(1.0, MOST_OF_NODE)

    def knows(self, node: str) -> bool:
        """Whether the key of another node is known."""
        return node != self._node and self._key_of(node) is not None

    def begin(self, node: str, now: float) -> Initiator | None:
        """Make a Hello for a node; None if too many were made."""
        if self._begun.omitted(node, now) is None:
            return None
        return Initiator(self._node, self._key, self._cluster, node)

    def read_hello(self, frame: bytes) -> Hello:
        """Decode a Hello for this node of a known one; its signature is not verified yet.

        Raises:
            BadHandshake: it is malformed, or not for this node, or of an unknown one.
        """
        hello = read_hello(frame)
        self._check_names(hello)
        return hello

    def answer(self, hello: Hello, frame: bytes, now: float) -> tuple[bytes, Agreed]:
        """Verify and answer a Hello. Returns the Welcome and what was agreed on.

        Raises:
            BadHandshake: its signature is invalid, or no version is common, or there are too many.
        """
        self._verify(hello, frame, now)
        return answer(self._node, self._key, self._cluster, hello, frame)

    def read_welcome(self, frame: bytes) -> Welcome:
        """Decode a Welcome for this node of a known one; its signature is not verified yet.

        Raises:
            BadHandshake: it is malformed, or not for this node, or of an unknown one.
        """
        welcome = read_welcome(frame)
        self._check_names(welcome)
        return welcome

    def agree(self, initiator: Initiator, welcome: Welcome, frame: bytes, now: float) -> Agreed:
        """Verify a Welcome that answers a Hello of this node. Returns what was agreed on.

        Raises:
            BadHandshake: its signature is invalid, or what it says is, or there are too many.
        """
        self._verify(welcome, frame, now)
        return initiator.agree(welcome, frame)

    def _check_names(self, message: Hello | Welcome) -> None:
        if message.receiver != self._node:
            raise BadHandshake("it is for another node")
        if message.cluster != self._cluster:
            raise BadHandshake("it is of another cluster")
        if not self.knows(message.sender):
            raise BadHandshake("the key of its sender is unknown")

    def _verify(self, message: Hello | Welcome, frame: bytes, now: float) -> None:
        sender = message.sender
        if self._of_node.omitted(sender, now) is None or self._verified.omitted("", now) is None:
            raise BadHandshake(f"{sender} sends too many")
        key = self._key_of(sender)
        if key is None:
            raise BadHandshake("the key of its sender is unknown")
        check_signature(frame, sender, key)

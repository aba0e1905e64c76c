"""NATS in operator mode: keys, tokens and `.creds` files as `nsc` makes them, and the rights that are documented."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DOCS: Final = Path(__file__).parents[2] / "docs/cluster.md"
_PREFIXES: Final = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED: Final = 18 << 3
_NO_LIMITS: Final = {
    "subs": -1,
    "conn": -1,
    "leaf": -1,
    "imports": -1,
    "exports": -1,
    "data": -1,
    "payload": -1,
}


def _crc16(data: bytes) -> int:
    """CRC-16/XMODEM, which ends each nkey."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


def _base32(data: bytes) -> str:
    return base64.b32encode(data + _crc16(data).to_bytes(2, "little")).decode().rstrip("=")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass(frozen=True)
class Nkey:
    """A key of NATS, of an operator, account or user."""

    kind: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> str:
        """As tokens and configurations name it."""
        return _base32(bytes([_PREFIXES[self.kind]]) + self.key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        """The private key, as a `.creds` file has it."""
        prefix = _PREFIXES[self.kind]
        return _base32(bytes([_SEED | prefix >> 5, (prefix & 31) << 3]) + self.key.private_bytes_raw())

    def token(self, of: Nkey, name: str, nats: Mapping[str, Any]) -> str:
        """A JWT in which this key says who another one is, and what it may do."""
        claims = {
            "iat": int(time.time()),
            "iss": self.public,
            "name": name,
            "sub": of.public,
            "nats": {"version": 2, "type": of.kind, **nats},
        }
        claims["jti"] = (
            base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        )
        head = _base64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
        signed = f"{head}.{_base64(json.dumps(claims).encode())}"
        return f"{signed}.{_base64(self.key.sign(signed.encode()))}"


class Operator:
    """An operator with an account that has JetStream, and one for the servers themselves."""

    def __init__(self) -> None:
        self._key, self._account, self._system = Nkey("operator"), Nkey("account"), Nkey("account")

    @property
    def configuration(self) -> str:
        """Of a server that takes its users."""
        streams = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
        tokens = {
            self._account: self._key.token(self._account, "nodes", {"limits": {**_NO_LIMITS, **streams}}),
            self._system: self._key.token(self._system, "SYS", {"limits": _NO_LIMITS}),
        }
        preloaded = ", ".join(f"{account.public}: {token}" for account, token in tokens.items())
        return (
            f"operator: {self._key.token(self._key, 'tests', {})}\nsystem_account: {self._system.public}\n"
            f"resolver: MEMORY\nresolver_preload {{ {preloaded} }}\n"
        )

    def credentials(self, name: str, publish: Sequence[str], subscribe: Sequence[str]) -> str:
        """The `.creds` file of a user with these rights and no others."""
        user = Nkey("user")
        rights = {"pub": {"allow": list(publish)}, "sub": {"allow": list(subscribe)}}
        token = self._account.token(user, name, {**rights, "subs": -1, "data": -1, "payload": -1})
        return (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


def documented_rights(cluster: str, *, authority: bool) -> tuple[list[str], list[str]]:
    """What docs/cluster.md lets a node publish and subscribe to."""
    rows = {
        who: [re.findall(r"`([^`]+)`", cell) for cell in cells.split("|")]
        for who, cells in re.findall(
            r"^\| (each node|the authority, besides) \|(.*)\|$", _DOCS.read_text(), re.MULTILINE
        )
    }
    publish, subscribe = rows["each node"]
    if authority:
        publish = publish + rows["the authority, besides"][0]
    name = re.compile(r"\bID\b")
    return [name.sub(cluster, each) for each in publish], [name.sub(cluster, each) for each in subscribe]

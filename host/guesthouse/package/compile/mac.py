"""MACs that show that this node wrote something; the key is outside of what it protects."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Final

from guesthouse.core import atomic_file
from guesthouse.package.compile.private_files import UntrustedFile, read_private
from guesthouse.package.errors import CompileError

_KEY_BYTES: Final = 32


class MacKey:
    """MACs over JSON values.

    Args:
        key_path: of the key; created when needed.
    """

    def __init__(self, key_path: Path) -> None:
        self._key_path = key_path

    def mac(self, kind: str, *values: object) -> str:
        """The MAC of values; different for each kind."""
        text = json.dumps([kind, *values], sort_keys=True)
        return hmac.new(self._key(), text.encode(), hashlib.sha256).hexdigest()

    def holds(self, mac: str, kind: str, *values: object) -> bool:
        """Whether that is the MAC of these values."""
        return hmac.compare_digest(mac.encode(), self.mac(kind, *values).encode())

    def _key(self) -> bytes:
        if not self._key_path.exists():
            atomic_file.create(self._key_path, secrets.token_bytes(_KEY_BYTES))
        try:
            # A node that is creating it, or was killed while doing so, has a second link to it.
            key = read_private(self._key_path, _KEY_BYTES, linked=True)
        except UntrustedFile as error:
            raise CompileError(f"{error}, but is the compile cache's key: remove it") from None
        if len(key) != _KEY_BYTES:
            raise CompileError(f"{self._key_path}, the compile cache's key, is damaged: remove it")
        return key

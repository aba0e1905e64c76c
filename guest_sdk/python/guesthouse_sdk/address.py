"""Names of nodes and processes: `node@process:package:publisher`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from guesthouse_sdk._wit import types
from guesthouse_sdk.errors import BadAddress

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,126}[A-Za-z0-9_~-])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ProcessId:
    """The name of a process on some node: `process:package:publisher`."""

    process_name: str
    package_name: str
    publisher_node: str

    @classmethod
    def parse(cls, text: str) -> ProcessId:
        """Parse `process:package:publisher`.

        Raises:
            BadAddress: it has not three parts, or one of them is not a name.
        """
        parts = text.split(":")
        if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
            raise BadAddress(f"{text!r} is not a process id: write process:package:publisher")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.process_name}:{self.package_name}:{self.publisher_node}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process runs: `node@process:package:publisher`."""

    node: str
    process: ProcessId

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse `node@process:package:publisher`.

        Raises:
            BadAddress: there is no `@`, or either side is not a name.
        """
        node, at, process = text.partition("@")
        if not at or _PART.fullmatch(node) is None:
            raise BadAddress(f"{text!r} is not an address: write node@process:package:publisher")
        return cls(node, ProcessId.parse(process))

    def __str__(self) -> str:
        return f"{self.node}@{self.process}"


HTTP_SERVER: Final = ProcessId("http-server", "distro", "sys")
"""The process that owns a node's channels and HTTP bindings."""


def address_from_wit(raw: types.Address) -> Address:
    """Convert an address from the host."""
    process = raw.process
    return Address(raw.node, ProcessId(process.process_name, process.package_name, process.publisher_node))


def address_to_wit(address: Address) -> types.Address:
    """Convert an address for the bindings.

    Raises:
        BadAddress: it was constructed from something that is not a name.
    """
    if not isinstance(address, Address):
        raise TypeError(f"an address must be an Address, not {type(address).__name__}")
    if not isinstance(address.process, ProcessId):
        raise TypeError(
            f"the process of an address must be a ProcessId, not {type(address.process).__name__}"
        )
    if not str(address).isascii():
        raise BadAddress(f"{str(address)!r} is not an address: write node@process:package:publisher")
    process = address.process
    return types.Address(
        address.node,
        types.ProcessId(process.process_name, process.package_name, process.publisher_node),
    )

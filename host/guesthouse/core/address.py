"""Names of nodes and processes: `node@process:package:publisher`.

The syntax is the Kinode OS's. Names come from clients, guests and packages, so parsing is
strict: a valid name is safe in a URL path, a cookie name, a file name and a log line.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from guesthouse.core.errors import BadAddress, BadNodeName, BadProcessId

MAX_NAME_LENGTH: Final = 128
"""Characters in one part of a name."""

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,126}[A-Za-z0-9_~-])?", re.ASCII)
_RULE = (
    "letters, digits, '-', '_', '~' and '.', starting with a letter or digit and not ending in '.', "
    f"at most {MAX_NAME_LENGTH} characters"
)


class ProcessId(Struct, frozen=True):
    """The name of a process on some node: `process:package:publisher`."""

    process_name: str
    package_name: str
    publisher_node: str

    @classmethod
    def parse(cls, text: str) -> ProcessId:
        """Parse `process:package:publisher`.

        Raises:
            BadProcessId: it has not three parts, or a part is not a valid name.
        """
        return _parse_process_id(text)

    @property
    def package_id(self) -> str:
        """`package:publisher`."""
        return f"{self.package_name}:{self.publisher_node}"

    @property
    def plain(self) -> ProcessId:
        """The name without a node."""
        return self

    def __str__(self) -> str:
        return f"{self.process_name}:{self.package_name}:{self.publisher_node}"


class ForeignProcess(ProcessId, frozen=True):
    """The name of a process of another node, where those of this node are named too. It never equals a local one."""

    node: str

    @property
    def plain(self) -> ProcessId:
        """Its name on its node."""
        return ProcessId(self.process_name, self.package_name, self.publisher_node)

    def __str__(self) -> str:
        return f"{self.node}@{self.plain}"


class Address(Struct, frozen=True):
    """Where a process runs: `node@process:package:publisher`."""

    node: str
    process: ProcessId

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse `node@process:package:publisher`.

        Raises:
            BadAddress: there is no `@`, or either side is not valid.
        """
        node, at, process = text.partition("@")
        if not at:
            raise BadAddress(f"{_quoted(text)} is not an address: write node@process:package:publisher")
        try:
            return cls(parse_node_name(node), ProcessId.parse(process))
        except (BadNodeName, BadProcessId) as error:
            raise BadAddress(f"{_quoted(text)} is not an address: {error}") from None

    def __str__(self) -> str:
        return f"{self.node}@{self.process}"


def parse_node_name(text: str) -> str:
    """Return `text` if it is a valid node name.

    Raises:
        BadNodeName: it is not.
    """
    if _PART.fullmatch(text) is None:
        raise BadNodeName(f"{_quoted(text)} cannot name a node: use {_RULE}")
    return text


@lru_cache(maxsize=4096)
def _parse_process_id(text: str) -> ProcessId:
    parts = text.split(":")
    if len(parts) != 3:
        raise BadProcessId(f"{_quoted(text)} is not a process id: write process:package:publisher")
    for part in parts:
        if _PART.fullmatch(part) is None:
            raise BadProcessId(
                f"{_quoted(text)} is not a process id: {_quoted(part)} is not a name ({_RULE})"
            )
    return ProcessId(*parts)


def _quoted(text: str) -> str:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return ascii(shown)


HTTP_SERVER: Final = ProcessId("http-server", "distro", "sys")
"""The runtime module that owns channels and HTTP bindings."""
RPC: Final = ProcessId("rpc", "distro", "sys")
"""The source of RPC messages: programs on the node's machine, as opposed to its HTTP server."""


_MODULES: Final = (
    *(
        "eth",
        "fd-manager",
        "http-client",
        "http-server",
        "kernel",
        "kns-indexer",
        "kv",
        "net",
        "rpc",
        "sqlite",
        "state",
    ),
    *("terminal", "timer", "vfs"),
)
_PUBLISHERS: Final = ("distro:sys", "sys:nectar")

_ALIASES: Final = {
    f"{name}:{publisher}": ProcessId(module, "distro", "sys")
    for module in _MODULES
    for name in (module, module.replace("-", "_"))
    for publisher in _PUBLISHERS
}
"""All names that runtime modules have had: with underscores, or another publisher."""


def is_runtime_module(process: ProcessId) -> bool:
    """Whether this names a part of the node, under any of its names, or could be mistaken for one: no process may have
    that id.
    """
    return str(process) in _ALIASES or process.package_id in _PUBLISHERS


def canonical(process: ProcessId) -> ProcessId:
    """Return the current id for a name that an older guest may use."""
    return _ALIASES.get(str(process), process)


def read_target(text: str, node: str) -> ProcessId:
    """The process that a client or user names, with or without its node.

    Args:
        text: `process:package:publisher` or `node@process:package:publisher`.
        node: this node's name.

    Raises:
        BadProcessId: it is neither.
        BadAddress: what is before the `@` is not the name of a node.
    """
    if "@" not in text:
        return canonical(ProcessId.parse(text))
    address = Address.parse(text)
    process = canonical(address.process)
    if address.node == node:
        return process
    return ForeignProcess(process.process_name, process.package_name, process.publisher_node, address.node)

"""Writes to `guesthouse.toml` what a node of a cluster needs there. Blocking I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from guesthouse.core import atomic_file
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import BadSetting
from guesthouse.core.files.regular_file import read_regular
from guesthouse.core.toml import NotToml, parse_toml

_HEADER: Final = re.compile(r"^\[cluster\][ \t]*(#.*)?$", re.MULTILINE)


def remember(home: Path, nats: Sequence[str], node: str | None) -> None:
    """Add `cluster.nats`, and if it is given `node`, unless the file has them.

    Args:
        home: the node's folder.
        nats: URLs of NATS servers.
        node: the node's name.

    Raises:
        BadSetting: the file cannot be read or written, or has another name.
    """
    path = home / "guesthouse.toml"
    try:
        text = read_regular(path).decode() if path.exists() else ""
        settings = _parsed(path, text)
        if node is not None and settings.get("node", node) != node:
            raise BadSetting(
                f"{path} has node = {json.dumps(settings['node'])}: change it there, or leave --node out"
            )
        if node is not None and "node" not in settings:
            text = f"node = {json.dumps(node)}\n{text}"
        section = settings.get("cluster", {})
        if "nats" not in section:
            text = _with_servers(text, f"nats = {json.dumps(list(nats))}")
        wanted = {**settings, "cluster": {"nats": list(nats), **section}}
        if node is not None:
            wanted["node"] = node
        if _read(text) != wanted:
            raise BadSetting(f"{path}: add nats = {json.dumps(list(nats))} to [cluster] by hand")
        if wanted != settings:
            atomic_file.replace(path, text.encode())
    except OSError as error:
        raise BadSetting(disk_errors.unwritten(path, error, "make it readable and writable")) from None


def _with_servers(text: str, line: str) -> str:
    header = _HEADER.search(text)
    if header is not None:
        return f"{text[: header.end()]}\n{line}{text[header.end() :]}"
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}[cluster]\n{line}\n"


def _read(text: str) -> dict[str, Any] | None:
    try:
        return parse_toml(text.encode())
    except NotToml:
        return None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return parse_toml(text.encode())
    except NotToml as error:
        raise BadSetting(f"{path} {error}") from None

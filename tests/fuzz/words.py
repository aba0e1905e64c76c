"""Names, addresses, paths in drives and settings: short texts that decide what is meant."""

from __future__ import annotations

import tempfile
from pathlib import Path

from guesthouse.core.address import Address, ProcessId, canonical, parse_node_name
from guesthouse.core.capabilities import BadCapability, Capability
from guesthouse.core.config import load_settings
from guesthouse.core.errors import BadAddress, BadNodeName, BadProcessId, BadSetting
from guesthouse.core.json_forms import BadRequest
from guesthouse.link.trace_context import parse_traceparent
from guesthouse.link.trace_context import traceparent as written
from guesthouse.package.drive_path import drive_path

from .catalogue import in_a_line, target


@target()
def address(data: bytes) -> None:
    """An address is refused, or is written as it was read."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        parsed = Address.parse(text)
    except BadAddress:
        pass
    else:
        assert str(parsed) == text
        assert text.isascii()
    try:
        process = ProcessId.parse(text)
    except BadProcessId:
        pass
    else:
        assert str(process) == text
        assert canonical(canonical(process)) == canonical(process)
        assert not set(text) & set("/\\@%\0 \n")
    try:
        assert parse_node_name(text) == text
        assert 0 < len(text) < 300
    except BadNodeName:
        pass


@target()
def capability(data: bytes) -> None:
    """A capability is refused, or reading it once more changes nothing."""
    issuer, _, params = data.decode("utf-8", "replace").partition("\n")
    try:
        once = Capability.read(issuer, params)
    except BadCapability:
        return
    assert Capability.read(once.issuer, once.params) == once


@target()
def path_in_a_drive(data: bytes) -> None:
    """A path in a drive is refused, another package's, or stays in the drive."""
    try:
        path = drive_path(data.decode("utf-8", "replace"), "chat:test.os")
    except BadRequest:
        return
    if path is not None:
        assert path.package == "chat:test.os"
        assert not {"", ".", ".."} & set(path.segments)
        assert not any("/" in segment or "\\" in segment or "\0" in segment for segment in path.segments)
        assert drive_path(str(path), "chat:test.os") == path


@target(100)
def settings(data: bytes) -> None:
    """A file of settings is refused in one line, or gives settings."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "guesthouse.toml").write_bytes(data)
        try:
            loaded = load_settings(folder, environment={})
        except BadSetting as error:
            in_a_line(error, folder)
            return
        except BadNodeName:
            return
        assert 0 <= loaded.http.port < 65536
        assert loaded.isolation in ("shared", "package")


@target()
def traceparent(data: bytes) -> None:
    """A header says nothing, or a trace and a span that are written as they were read."""
    text = data.decode("latin-1")
    context = parse_traceparent(text)
    if context is not None:
        assert 0 < context.trace_id < 2**128
        assert 0 < context.span_id < 2**64
        assert written(context.trace_id, context.span_id)[2:52] in text

"""What packages are made of: archives, manifests, WIT, core modules, components."""

from __future__ import annotations

import asyncio
import json
import tempfile
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from wasmtime import Engine, Module, WasmtimeError

from guesthouse.cluster.administration.administration_messages import (
    REPLIES,
    REQUESTS,
    UNREADABLE,
    Offer,
    decode,
    decode_head,
    encode,
)
from guesthouse.cluster.administration.incoming import checked_paths
from guesthouse.core.config import PackageLimits
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.description import Description
from guesthouse.package.compile.inspect import inspect_component
from guesthouse.package.compile.strip_names import without_harmful_names
from guesthouse.package.errors import CompileError, PackageError
from guesthouse.package.format.archive import unpack
from guesthouse.package.format.header import HEADER_BYTES, magic_fault
from guesthouse.package.format.kinode_packages import read_kinode_manifest
from guesthouse.package.format.manifest import Manifest, parse_manifest
from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.plan.long_instructions import interruptible
from guesthouse.wasm.plan.plan_json import plan_from_json, plan_to_json

from ..unit.wasm.soundness import check
from .catalogue import in_a_line, target

LIMITS: Final = PackageLimits(
    zip_bytes=65536,
    unpacked_bytes=100_000,
    unpack_ratio=50,
    files=20,
    compile_memory_bytes=2**31,
    compile_seconds=20,
)


def check_manifest(manifest: Manifest) -> None:
    """What holds of every manifest that is taken."""
    assert manifest.processes
    assert len({process.id for process in manifest.processes}) == len(manifest.processes)
    for process in manifest.processes:
        assert process.id.package_id == f"{manifest.name}:{manifest.publisher}"
        for path in (process.wasm, process.ui):
            if path is not None:
                assert not path.is_absolute()
                assert not {"..", ""} & set(path.parts)


@target()
def manifest(data: bytes) -> None:
    """A `package.toml` is refused with where it stands, or names files below its folder alone."""
    try:
        read = parse_manifest(data, "package.toml")
    except PackageError as error:
        in_a_line(error, "package.toml")
    else:
        check_manifest(read)


@target(200)
def kinode_manifest(data: bytes) -> None:
    """The same of Kinode's two files, which are parted by a zero here."""
    metadata, _, content = data.partition(b"\0")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "metadata.json").write_bytes(metadata)
        (Path(folder) / "manifest.json").write_bytes(content)
        try:
            read = read_kinode_manifest(Path(folder), PurePosixPath())
        except PackageError:
            return
        check_manifest(read)


@target(200)
def archive(data: bytes) -> None:
    """A zip is refused, and nothing is left of it, or all that is there then is files below one folder."""
    with tempfile.TemporaryDirectory() as folder:
        zip_file, unpacked = Path(folder) / "package.zip", Path(folder) / "unpacked"
        zip_file.write_bytes(data)
        try:
            root = unpack(zip_file, LIMITS, unpacked)
        except PackageError:
            assert not list(unpacked.iterdir())
        else:
            everything = list(root.rglob("*"))
            assert not any(path.is_symlink() for path in everything)
            files = [path for path in everything if path.is_file()]
            assert len(files) <= LIMITS.files
            assert sum(path.stat().st_size for path in files) <= LIMITS.unpacked_bytes
            assert list(unpacked.iterdir()) == [root]
        assert sorted(path.name for path in Path(folder).iterdir()) == ["package.zip", "unpacked"]


@target()
def component_names(data: bytes) -> None:
    """Taking harmful names out changes no length, and doing it again nothing; what is no module is refused."""
    try:
        once = without_harmful_names(data)
    except UnsupportedComponent:
        return
    assert len(once) == len(data)
    assert without_harmful_names(once) == once


@target()
def component_header(data: bytes) -> None:
    """The first bytes of a file are a component's, or what is wrong is said."""
    problem = magic_fault(data[:HEADER_BYTES])
    assert (problem is None) == (data[:8] == b"\0asm\x0d\0\x01\0")


@target()
def description(data: bytes) -> None:
    """What a compiler is said to have found is refused, or the same when it is written and read again."""
    try:
        found = Description.from_json(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    assert Description.from_json(json.loads(json.dumps(found.to_json()))) == found


@target(150)
def component_plan(data: bytes) -> None:
    """A component is left to the engine, or what it is taken apart to comes to life as the engine says."""
    check(data)


@target()
def long_instructions(data: bytes) -> None:
    """A module is refused, or one that the engine takes is one with its long instructions in pieces, too."""
    try:
        changed = interruptible(data)
    except UnsupportedComponent:
        return
    assert is_valid(changed) or not is_valid(data)


def is_valid(module: bytes) -> bool:
    """Whether the engine takes a core module."""
    try:
        Module.validate(engine(), module)
    except WasmtimeError:
        return False
    return True


@cache
def engine() -> Engine:
    return new_compiling_engine()


@target()
def plan(data: bytes) -> None:
    """A plan is refused, or the same when it is written and read again."""
    try:
        found = plan_from_json(data)
    except ValueError:
        return
    assert plan_from_json(plan_to_json(found)) == found


@cache
def cache_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@target(4)
def component(data: bytes) -> None:
    """A component is refused in a line by the real compiler, or inspected and compiled."""
    folder = Path(cache_folder().name)
    path, compiled = folder / "a.wasm", folder / "compiled"
    path.write_bytes(data)

    async def inspect() -> None:
        try:
            found = await inspect_component(path, LIMITS, compiled)
        except CompileError as error:
            in_a_line(error)
            return
        assert found.runnable == (not found.problems)
        assert all("\n" not in problem for problem in found.problems)
        assert (await Compiler(compiled, LIMITS).compiled(path)).is_file()

    asyncio.run(inspect())


@target()
def administration_message(data: bytes) -> None:
    """What another node says is one of the messages, or refused; files that it offers stay in their folder."""
    try:
        head = decode_head(data)
        message = decode(head, data)
    except UNREADABLE:
        return
    if message is None:
        assert head.kind not in (REPLIES if head.reply else REQUESTS)
        return
    assert decode_head(encode(message)) == head
    assert decode(head, encode(message)) == message
    if isinstance(message, Offer):
        try:
            paths = checked_paths(message, LIMITS)
        except PackageError as error:
            in_a_line(error)
            return
        assert len({str(path).casefold() for path in paths}) == len(message.files)
        for path in paths:
            assert not path.is_absolute()
            assert not {"..", ""} & set(path.parts)

"""`--dev`: a component that changed on disk is swapped in while its channels stay open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from .clients import ECHO_C, registered
from .conftest import StartNode
from .packages import package

PROCESS = "echo:copy:local.os"


def another(component: bytes, note: bytes) -> bytes:
    """The same component with a custom section more: other bytes, same behaviour."""
    section = bytes([len(b"note")]) + b"note" + note
    return component + b"\x00" + bytes([len(section)]) + section


async def test_a_changed_component_is_reloaded_and_its_channels_stay_open(
    start: StartNode, tmp_path: Path
) -> None:
    file = tmp_path / "copy.wasm"
    shutil.copy(package("echo-c") / "build" / "echo-c.wasm", file)
    daemon = await start(f"{PROCESS}={file}", flags=["--dev"])
    good = file.read_bytes()
    async with registered(daemon, PROCESS, await daemon.token()) as client:
        assert await client.ask("before") == "before"
        file.write_bytes(b"not a component at all")
        await daemon.log_line("dev", "the old version keeps running")
        assert await client.ask("still") == "still"
        file.write_bytes(another(good, b"second"))
        await daemon.log_line("dev", "was reloaded; its channels stayed open")
        assert await client.ask("after") == "after"
        (channel,) = await daemon.channels(PROCESS)
        assert channel["channel_id"] == client.channel_id
    assert (await daemon.ps())[PROCESS]["restarts"] == 1


async def test_edited_source_is_built_and_swapped_in_with_the_channel_open(
    start: StartNode, tmp_path: Path
) -> None:
    folder = shutil.copytree(package("echo-c"), tmp_path / "echo-c")
    source = folder / "src/echo.c"
    code = source.read_text()
    daemon = await start(folder, flags=["--dev"])
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("before") == "before"
        source.write_text(code.replace("{", "{ this is no C", 1))
        line = await daemon.log_line("dev", "the old version keeps running", seconds=60)
        assert "cannot be built: fix the errors above" in line["text"]
        assert await client.ask("still") == "still"
        answer = "gh_send_ws_text(push->channel_id, text.value)"
        changed = code.replace(answer, answer.replace("text.value", 'gh_text("changed")'))
        assert changed != code
        source.write_text(changed)
        await daemon.log_line("dev", "was reloaded; its channels stayed open", seconds=60)
        assert await client.ask("after") == "changed"
        assert [item["channel_id"] for item in await daemon.channels(ECHO_C)] == [client.channel_id]


@pytest.mark.thorough
async def test_a_package_that_was_not_built_is_built_first(start: StartNode, tmp_path: Path) -> None:
    folder = shutil.copytree(package("echo-c"), tmp_path / "echo-c", ignore=shutil.ignore_patterns("build"))
    daemon = await start(folder, flags=["--dev"])
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("built") == "built"


@pytest.mark.thorough
async def test_sources_that_changed_while_no_node_ran_are_built_first(
    start: StartNode, tmp_path: Path
) -> None:
    folder = shutil.copytree(package("echo-c"), tmp_path / "echo-c")
    source = folder / "src/echo.c"
    answer = "gh_send_ws_text(push->channel_id, text.value)"
    changed = source.read_text().replace(answer, answer.replace("text.value", 'gh_text("changed")'))
    source.write_text(changed)
    daemon = await start(folder, flags=["--dev"])
    await daemon.log_line("dev", "building")
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("now") == "changed"


@pytest.mark.thorough
async def test_what_was_built_before_is_served_when_its_sources_are_broken(
    start: StartNode, tmp_path: Path
) -> None:
    folder = shutil.copytree(package("echo-c"), tmp_path / "echo-c")
    source = folder / "src/echo.c"
    code = source.read_text()
    source.write_text(code.replace("{", "{ this is no C", 1))
    daemon = await start(folder, flags=["--dev"])
    await daemon.log_line("dev", "undeclared identifier 'this'")
    await daemon.log_line("dev", "the last build is used")
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("still") == "still"


@pytest.mark.thorough
async def test_a_package_with_names_that_are_not_utf_8_is_watched(start: StartNode, tmp_path: Path) -> None:
    folder = shutil.copytree(package("echo-c"), tmp_path / os.fsdecode(b"echo-\xff"))
    source = folder / "src/echo.c"
    daemon = await start(folder, flags=["--dev"])
    await daemon.log_line("dev", "polling it every second instead")
    answer = "gh_send_ws_text(push->channel_id, text.value)"
    source.write_text(source.read_text().replace(answer, answer.replace("text.value", 'gh_text("changed")')))
    await daemon.log_line("dev", "was reloaded; its channels stayed open", seconds=60)
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("now") == "changed"

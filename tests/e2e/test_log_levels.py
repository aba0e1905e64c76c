"""`guesthouse log-level` on a running node, and whose the lines of its log are."""

from __future__ import annotations

import pytest

from .conftest import StartNode
from .packages import package
from .test_processes import A, B, ask

PACKAGE = "puppet:test.os"


async def test_a_level_holds_at_once_and_until_it_is_taken_back(start: StartNode) -> None:
    node = await start(package("puppet"))
    assert (await node.cli("log-level", PACKAGE, "error", "--json")).json() == [
        {"source": PACKAGE, "level": "error"}
    ]
    await node.ask("restart", process=A)
    assert (await node.cli("log-level", A, "info")).code == 0
    await node.ask("restart", process=A)
    await node.ask("restart", process=B)
    runs = [line for line in await node.logs() if line["text"].startswith("runs on")]
    assert [line["source"] for line in runs].count(A) == 2, "the first start, and the last"
    assert [line["source"] for line in runs].count(B) == 1
    assert (await node.cli("log-level", A, "default")).code == 0
    assert (await node.cli("log-level", PACKAGE, "default")).stderr == "nothing has a level of its own\n"
    await node.ask("restart", process=B)
    await node.log_line(B, "runs on")
    assert await ask(node, B, "say here") == "here"


async def test_lines_of_processes_name_process_package_and_worker(start: StartNode) -> None:
    node = await start(package("puppet"))
    line = await node.log_line(A, "runs on")
    assert (line["process"], line["package"], line["worker"]) == (A, PACKAGE, "worker-0")
    ran = await node.cli("logs", A)
    assert "runs on worker-0" in ran.stdout


async def test_a_level_that_is_none_is_refused(start: StartNode) -> None:
    node = await start(package("puppet"))
    assert (await node.cli("log-level", A)).code == 2
    assert (await node.cli("log-level", A, "loud")).code == 2
    assert (await node.cli("log-level", "no source!", "info")).code == 1


@pytest.mark.thorough
async def test_a_name_that_nothing_has_is_said(start: StartNode) -> None:
    node = await start(package("puppet"))
    unknown = "is called {} now: see `guesthouse ps`"
    for name in ("pupet:test.os", "http-sever", "a:pupet:test.os", "a:b:c:d"):
        for command in (("logs", name), ("log-level", name, "debug")):
            ran = await node.cli(*command)
            assert ran.code == 0
            assert unknown.format(name) in ran.stderr
    for name in (A, PACKAGE, "node"):
        for arguments in (("logs", name, "--level", "error"), ("log-level", name, "debug")):
            assert unknown.format(name) not in (await node.cli(*arguments)).stderr

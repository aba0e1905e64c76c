"""`guesthouse connect`: a channel from a terminal or a pipe."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pty
import sys
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from tests.certificates import self_signed
from tests.patience import PATIENCE

from .clients import ECHO_C
from .conftest import StartNode
from .daemon import Daemon, environment

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO: Final = ECHO_C
NO_MESSAGES: Final = ("hello", "{}", '{"text": 1}', '{"base64": "!"}', '{"text": "a", "more": 1}', "[" * 9999)


@pytest_asyncio.fixture(loop_scope="module")
async def node(shared: StartNode) -> Daemon:
    return await shared("echo-c")


async def said(node: Daemon, *flags: str, stdin: bytes, answer: bytes, target: str = ECHO) -> None:
    """Connect, say something, and get exactly that answer, however long it takes."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "guesthouse",
            "connect",
            target,
            "--home",
            str(node.home),
            "--wait",
            "0",
            *flags,
        ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(node.home),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(stdin)
    async with asyncio.timeout(PATIENCE):
        assert await process.stdout.readexactly(len(answer)) == answer
        assert await process.communicate(b"") == (b"", b"")
    assert process.returncode == 0


async def test_lines_are_messages_and_messages_are_lines(node: Daemon) -> None:
    lines = "hello\n\nüber\n".encode()
    await said(node, stdin=lines, answer=lines)
    await node.no_channels()


async def test_binary_messages_are_written_as_they_are(node: Daemon) -> None:
    await said(node, "--binary", stdin=b"a\0b\n\xff\n", answer=b"a\0b\xff")


async def test_messages_of_both_kinds_are_json(node: Daemon) -> None:
    messages = [{"text": "a\nb"}, {"base64": base64.b64encode(b"\xff\0").decode()}, {"text": ""}]
    lines = "".join(f"{json.dumps(each)}\n" for each in messages).encode()
    await said(node, "--json", stdin=lines, answer=lines)


async def test_a_long_line_is_one_message(node: Daemon) -> None:
    line = b"x" * 500_000 + b"\n"
    await said(node, stdin=line, answer=line)


@pytest.mark.thorough
async def test_the_end_of_a_pipe_waits_for_answers(node: Daemon) -> None:
    ran = await node.cli("connect", ECHO, "--wait", "5", stdin="no newline at the end")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "no newline at the end\n", "")


async def test_text_that_is_none_is_named(node: Daemon) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "connect", ECHO, "--home", str(node.home)),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(node.home),
    )
    _, err = await process.communicate(b"\xff\n")
    assert process.returncode == 1
    assert err == b"guesthouse: a line of standard input is not UTF-8: send it with --binary\n"


@pytest.mark.parametrize("line", NO_MESSAGES, ids=range(len(NO_MESSAGES)))
async def test_a_line_that_is_no_message_is_named(node: Daemon, line: str) -> None:
    ran = await node.cli("connect", ECHO, "--json", stdin=line)
    assert ran.code == 1
    assert "is no message" in ran.stderr
    assert ran.stderr.count("\n") == 1


async def test_what_the_node_refuses_is_said_in_one_line(node: Daemon) -> None:
    for target, reason in (
        ("nobody:nobody:test.os", "closed with 4004: no such process"),
        ("nobody", "process:package:publisher"),
        (f"{ECHO}/unbound", "404"),
    ):
        ran = await node.cli("connect", target, stdin="")
        assert ran.code == 1, target
        assert reason in ran.stderr
        assert ran.stderr.count("\n") == 1


async def test_a_channel_that_is_closed_for_a_reason_is_a_failure(shared: StartNode) -> None:
    daemon = await shared("echo-c", node="other.os")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "connect", ECHO, "--home", str(daemon.home)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(daemon.home),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(b"one\n")
    assert await process.stdout.readline() == b"one\n"
    await daemon.ask("stop", process=ECHO)
    async with asyncio.timeout(PATIENCE):
        err = await process.stderr.read()
        assert await process.wait() == 1, "though standard input is open"
    assert b"closed with 1011" in err


async def test_a_terminal_shows_no_control_character(node: Daemon) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "connect", ECHO, "--home", str(node.home)),
        stdin=asyncio.subprocess.PIPE,
        stdout=theirs,
        env=environment(node.home),
    )
    assert process.stdin is not None
    process.stdin.write(b"red \x1b[31m\n")
    async with asyncio.timeout(PATIENCE):
        shown = b""
        while not shown.endswith(b"\n"):
            shown += await asyncio.to_thread(os.read, ours, 1000)
        await process.communicate(b"")
    os.close(ours)
    os.close(theirs)
    assert shown == b"red \\x1b[31m\r\n"


@pytest.mark.thorough
async def test_a_bound_path_of_a_node_with_tls(shared: StartNode, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "node.example")
    daemon = await shared("echo-c", flags=["--tls-cert", str(certificate), "--tls-key", str(key)])
    for target in (ECHO, f"{ECHO}/"):
        await said(daemon, stdin=b"over tls\n", answer=b"over tls\n", target=target)
    self_signed(tmp_path)  # not the one that the node shows
    ran = await daemon.cli("connect", ECHO, stdin="")
    assert ran.code == 1
    assert "certificate verify failed" in ran.stderr

"""The npm package: its types are checked and are what it exports, it is small, and it knows every close code."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Final

import pytest
from tests.tiers import thorough_after

from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import CloseReason

from .javascript_runs import CLIENT, NODE_MODULES, SCRIPTS, run_node

_MINIFY: Final = """
const [esbuild, file] = process.argv.slice(1);
const source = require("fs").readFileSync(file, "utf8");
process.stdout.write(require(esbuild).transformSync(source, { minify: true, treeShaking: true, format: "esm" }).code);
"""
MOST_BYTES: Final = 6 * 1024

RETRIES: Final = {
    close_codes.NORMAL: ("ChannelClosed", "never"),
    close_codes.GOING_AWAY: ("Interrupted", "reopen"),
    close_codes.RESTARTING: ("Interrupted", "reopen"),
    close_codes.DRAINED: ("Interrupted", "reopen"),
    close_codes.NO_NEW_CHANNEL: ("Interrupted", "reopen"),
    close_codes.NODE_LOST: ("Interrupted", "reopen"),
    close_codes.NODE_STARTS: ("Interrupted", "reopen"),
    close_codes.NOT_LISTED: ("Interrupted", "reopen"),
    close_codes.BAD_NODE: ("Interrupted", "reopen"),
    close_codes.CROWDED_HOME: ("Interrupted", "reopen"),
    close_codes.CROWDED_MAILBOX: ("Interrupted", "reopen"),
    close_codes.UNBOUND: ("Interrupted", "reopen"),
    close_codes.PROCESS_GONE: ("Interrupted", "reopen"),
    close_codes.NO_PONG: ("ConnectionLost", "resume"),
    close_codes.TOKEN_REVOKED: ("TokenRefused", "token"),
    close_codes.TOO_SLOW: ("Interrupted", "reopen"),
    close_codes.CROWDED: ("Interrupted", "reopen"),
    close_codes.SECRET_USED_UP: ("Interrupted", "reopen"),
    close_codes.NOT_A_REGISTER: ("ChannelRefused", "never"),
    close_codes.REGISTER_LATE: ("Interrupted", "reopen"),
    close_codes.BAD_TOKEN: ("TokenRefused", "token"),
    close_codes.BAD_PROCESS_ID: ("ChannelRefused", "never"),
    close_codes.NO_SUCH_PROCESS: ("ChannelRefused", "reopen"),
    close_codes.TOO_MANY_CHANNELS: ("Interrupted", "reopen"),
    close_codes.REGISTER_OFF: ("ChannelRefused", "never"),
    close_codes.NO_KEY: ("Interrupted", "reopen"),
    close_codes.NO_SUCH_SESSION: ("SessionLost", "reopen"),
    close_codes.TAKEN_OVER: ("SessionTaken", "never"),
    close_codes.TOO_MANY_RESUMES: ("Interrupted", "resume"),
}
"""All others are faults of the client: `ProtocolViolated`, never."""


@pytest.mark.thorough
async def test_the_types_are_right_and_are_what_the_package_exports() -> None:
    code, out = await run_node(NODE_MODULES / "typescript/bin/tsc", "--project", CLIENT, seconds=100)
    assert (code, out) == (0, "")


@pytest.mark.thorough
@pytest.mark.parametrize("libraries", thorough_after(1, ["es2023,dom", "es2023"]))
async def test_uses_of_the_types_are_checked(tmp_path: Path, libraries: str) -> None:
    """What the declarations refuse is refused, with the types of browsers and without: they are not `any`."""
    (tmp_path / "use.ts").write_text(
        f'import {{ connect, type Lost }} from "{CLIENT}/types.js";\n'
        "const channel = connect({ token: async () => 'x', queuePolicy: 'error' });\n"
        "for await (const message of channel) message satisfies string | Uint8Array;\n"
        "channel.addEventListener('message', (event) => event.data satisfies string | Uint8Array);\n"
        "const answer = await channel.request<{ sum: number }>({}, { timeout: Infinity });\n"
        "answer.sum satisfies number;\n"
        "channel.addEventListener('lost', ({ detail }) => detail.unconfirmed.length);\n"
        "// @ts-expect-error\nconnect({ queuePolicy: 'maybe' });\n"
        "// @ts-expect-error\nchannel.send(7);\n"
        "// @ts-expect-error\nchannel.addEventListener('message', (event) => event.data satisfies number);\n"
        "// @ts-expect-error\n(await channel.request({})).sum;\n"
        "// @ts-expect-error\nchannel.addEventListener('open', ({ detail }) => detail.none);\n"
        "export {};\n"
    )
    if "dom" in libraries:
        with (tmp_path / "use.ts").open("a") as more:
            more.write(
                "channel.addEventListener('lost', (event: CustomEvent<Lost>) => event.detail.dropped);\n"
                "channel satisfies EventTarget;\n"
                "connect({ url: new URL('http://x'), WebSocket });\n"
                "channel.request({}, { signal: AbortSignal.timeout(1) });\n"
            )
    options = [
        *("--lib", libraries),
        "--strict",
        "--noEmit",
        "--target",
        "es2022",
        "--module",
        "es2022",
        "--moduleResolution",
        "bundler",
    ]
    code, out = await run_node(
        NODE_MODULES / "typescript/bin/tsc", *options, tmp_path / "use.ts", seconds=100
    )
    assert (code, out) == (0, "")


async def test_it_has_no_dependencies_and_is_small() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & set(package)
    for name in package["files"]:
        assert (CLIENT / name).is_file()
    # As bundlers do; by its API: its command is a script for `node`, of which a fresh system has none.
    code, minified = await run_node(
        *("-e", _MINIFY, NODE_MODULES / "esbuild/lib/main.js", CLIENT / "guesthouse.js"), seconds=100
    )
    assert code == 0, minified
    assert "export" in minified
    assert len(gzip.compress(minified.encode(), 9)) <= MOST_BYTES


def reasons() -> list[CloseReason]:
    return [value for value in vars(close_codes).values() if isinstance(value, CloseReason)]


def test_it_comes_with_its_license_and_runs_where_the_documentation_says() -> None:
    root = CLIENT.parents[1]
    assert (CLIENT / "LICENSE").read_bytes() == (root / "LICENSE").read_bytes()
    readme = (CLIENT / "README.md").read_text()
    assert "](.." not in readme, "there is nothing beside an installed package"
    node = json.loads((CLIENT / "package.json").read_text())["engines"]["node"].removeprefix(">=")
    for text in (readme, (root / "docs/clients.md").read_text()):
        assert f"Node {node} or newer, Deno and Bun" in text


async def test_what_the_client_does_about_faults() -> None:
    """Of the node, the network and its own program, with sockets of the test's own."""
    code, out = await run_node("--test", "--test-timeout=60000", SCRIPTS / "faults.test.mjs", seconds=110)
    assert code == 0, out


async def test_each_close_code_is_an_error_that_says_what_to_do() -> None:
    known = reasons()
    assert len(known) > 30
    given = json.dumps([[each.code, each.reason] for each in known])
    code, out = await run_node(SCRIPTS / "codes.mjs", stdin=given, seconds=60)
    assert code == 0, out
    for reason, told in zip(known, json.loads(out), strict=True):
        assert tuple(told) == RETRIES.get(reason, ("ProtocolViolated", "never")), reason


@pytest.mark.parametrize("code", [3000, 4321, 4100])
async def test_a_code_of_the_processs_own_ends_the_channel(code: int) -> None:
    exit_code, out = await run_node(SCRIPTS / "codes.mjs", stdin=json.dumps([[code, "own"]]), seconds=60)
    assert (exit_code, json.loads(out)) == (0, [["ChannelClosed", "never"]])

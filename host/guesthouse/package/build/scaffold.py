"""The templates of `guesthouse new`: a minimal package in each language, ready to build, run and test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from guesthouse.core.address import ProcessId
from guesthouse.package.build.rust import LOCK, link_sdk
from guesthouse.package.build.rust_templates import RUST_TEMPLATES
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import PackageError
from guesthouse.package.format.manifest import MANIFEST_NAME

_MANIFEST: Final = """\
[package]
name = "{name}"
publisher = "{publisher}"
version = "0.1.0"
description = "{does}"

[[process]]
name = "{name}"
wasm = "build/{name}.wasm"
on-exit = "restart"
public = true
{rights}
[process.build]
language = "{language}"
source = "{source}"
"""

_README: Final = """\
# {name}

{does}.

{first}    guesthouse build .        # {source} to build/{name}.wasm
    guesthouse run --dev .    # serve it; rebuild and reload it as you edit

{clients}
"""

_PYTHON: Final = '''\
"""Answers every message with the same message."""

from guesthouse_sdk import Channel, Process


class Echo(Process):
    def on_message(self, channel: Channel, message: str | bytes) -> None:
        channel.send(message)


main = Echo
'''

_PYTHON_TEST: Final = """\
from pathlib import Path

from guesthouse_sdk.testing import FakeHost, load_main


def test_a_message_comes_back() -> None:
    with FakeHost() as host:
        channel = host.open()
        channel.send_text("hello")
        host.run(load_main(Path(__file__).parents[1] / "app.py"))
        assert channel.received == ["hello"]
"""

_TYPESCRIPT: Final = """\
import { type Channel, Process } from "@guesthouse/sdk";

/** Answers every message with the same message. */
export default class Echo extends Process {
  override onMessage(channel: Channel, message: string | Uint8Array): void {
    channel.send(message);
  }
}
"""

_TYPESCRIPT_TEST: Final = """\
import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeHost } from "@guesthouse/sdk/testing";

test("a message comes back", async () => {
  const host = await FakeHost.load(new URL("../app.ts", import.meta.url).pathname);
  const channel = host.open();
  channel.send("hello");
  assert.deepEqual(channel.received, ["hello"]);
});
"""

_PACKAGE_JSON: Final = """\
{
  "name": "NAME",
  "private": true,
  "type": "module",
  "scripts": {
    "check": "tsc --noEmit",
    "test": "node --test tests/*.test.ts"
  },
  "devDependencies": {
    "componentize-qjs": "0.4.5",
    "esbuild": "0.28.2",
    "typescript": "5.9.3"
  }
}
"""

_TSCONFIG: Final = """\
{
  "compilerOptions": {
    "target": "es2023",
    "lib": ["es2023"],
    "module": "esnext",
    "moduleResolution": "bundler",
    "strict": true,
    "noImplicitOverride": true,
    "allowImportingTsExtensions": true,
    "noEmit": true,
    "types": []
  },
  "include": ["*.ts"]
}
"""

_C: Final = """\
/* Answers every text message with the same text. */
#include "guesthouse.h"

void gh_run(const gh_address *our) {
    (void)our;
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed || received->message.kind != GH_HTTP_SERVER ||
            received->message.http_server.kind != GH_WEB_SOCKET_PUSH)
            continue;
        gh_option_string text = gh_get_blob_text();
        if (text.some)
            gh_send_ws_text(received->message.http_server.push.channel_id, text.value);
    }
}
"""

TEMPLATES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = MappingProxyType(
    {
        "python": ("app.py", {"app.py": _PYTHON, "tests/test_{name}.py": _PYTHON_TEST}),
        "c": ("src/{name}.c", {"src/{name}.c": _C}),
        "javascript": (
            "app.ts",
            {
                "app.ts": _TYPESCRIPT,
                "tests/app.test.ts": _TYPESCRIPT_TEST,
                "package.json": _PACKAGE_JSON,
                "tsconfig.json": _TSCONFIG,
            },
        ),
        **RUST_TEMPLATES,
    }
)
"""By template, `LANGUAGE` or `LANGUAGE-KIND`: the source's path, and the files by path."""

_DOES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "": "Answers every message with the same message",
        "chat": "A chat room for all who are connected",
        "http": "Keeps notes, by HTTP and in JSON",
    }
)
"""By kind: what it says of itself."""

_RIGHTS: Final[Mapping[str, str]] = MappingProxyType({"http": 'request-capabilities = ["kv:distro:sys"]\n'})
"""By kind: what it has to be granted."""

_REGISTER: Final = 'Clients register on `/` with `"target_process": "{name}:{name}:{publisher}"`.'
_CLIENTS: Final[Mapping[str, str]] = MappingProxyType(
    {"http": "Clients request `/{name}:{name}:{publisher}/notes`."}
)
"""By kind: how clients reach it."""

_FIRST: Final[Mapping[str, str]] = MappingProxyType(
    {
        "javascript": "    npm install               # what it is built with\n",
        "rust": "    rustup target add wasm32-wasip2\n    cargo test                # with a host made for tests\n",
    }
)
"""By language: what the README says to run before `guesthouse build`."""


def scaffold(name: str, publisher: str, template: str, parent: Path) -> Path:
    """Create a package folder `parent/name`; returns it.

    Raises:
        BadProcessId: the name or the publisher is not a valid name.
        PackageError: the folder exists, or cannot be written.
    """
    ProcessId.parse(f"{name}:{name}:{publisher}")
    folder = parent / name
    source, files = TEMPLATES[template]
    language, _, kind = template.partition("-")
    values = {"name": name, "publisher": publisher, "language": language}
    values |= {"does": _DOES[kind], "rights": _RIGHTS.get(kind, "")}
    values["source"] = source.format(**values)
    values["clients"] = _CLIENTS.get(kind, _REGISTER).format(**values)
    made = {path.format(**values): content.replace("NAME", name) for path, content in files.items()}
    made[MANIFEST_NAME] = _MANIFEST.format(**values)
    made["README.md"] = _README.format(**values, first=_FIRST.get(language, ""))
    try:
        folder.mkdir(parents=True)
        for path, content in made.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(content)
        if language == "rust":
            link_sdk(folder)
            (folder / LOCK).write_bytes(
                (sdk_folder(language) / LOCK).read_bytes()
            )  # what the SDK is tested with
    except FileExistsError:
        raise PackageError(f"{folder} exists already: choose another name") from None
    except OSError as error:
        raise PackageError(f"{folder} cannot be written: {error.strerror}; choose another place") from None
    return folder

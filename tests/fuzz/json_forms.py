"""What processes ask of the node in JSON: the HTTP server's actions, and kv, timer and vfs on a real database."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_server.api.json_api import Sent, carry_out
from guesthouse.http_server.channel.extension import ExtensionPush
from guesthouse.http_server.state.channels import MAX_CHANNEL_ID
from guesthouse.kernel.messaging.modules import Module, ModuleRequest
from guesthouse.kernel.storage.tables import KERNEL_TABLES, prepare
from guesthouse.link.calls import (
    BindHttpPath,
    BindWsPath,
    HostCall,
    ServeUi,
    SetChannelPolicy,
    UnbindHttpPath,
    UnbindWsPath,
)
from guesthouse.modules.kv import Kv
from guesthouse.modules.registry import TABLES
from guesthouse.modules.timer import Timer
from guesthouse.modules.vfs import Vfs

from .catalogue import target

NODE: Final = "fuzz-node.os"
CHAT: Final = Address.parse(f"{NODE}@chat:chat:test.os")
MINE: Final = "chat:test.os"
OTHERS: Final = "other:test.os"
QUOTA: Final = 4096


class CarefulDoer:
    """Carries nothing out, and is particular about what it is asked for."""

    def push_unpaid(
        self, owner: ProcessId, channel_ids: Sequence[int], message_type: int, payload: bytes
    ) -> Sequence[tuple[int, str]]:
        assert owner == CHAT.process
        assert all(type(number) is int and 0 <= number <= MAX_CHANNEL_ID for number in channel_ids)
        assert message_type in range(5)
        assert type(payload) is bytes
        return [(number, "WsChannelNotFound") for number in channel_ids if number % 2]

    def may_wait(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> bool:
        return channel_id % 3 == 0

    def push_when_room(
        self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes, request_id: int
    ) -> None:
        assert request_id > 0

    def channels_on(self, owner: ProcessId, path: str) -> Sequence[int]:
        assert path.startswith("/")
        return [1, 2]

    def extension_problem(self, owner: ProcessId, channel_id: int, size: int) -> str | None:
        return "WsChannelNotFound" if channel_id % 2 else None

    def push_to_extension(self, owner: ProcessId, channel_id: int, push: ExtensionPush) -> None:
        assert push.kind in ("Request", "Response")

    def set_channel_policy(self, owner: ProcessId, call: SetChannelPolicy) -> str | None:
        fits(call)
        return {"wait": None, "close": "channel-not-found"}.get(call.policy, "bad-policy")

    def watch_presence(self, owner: ProcessId, *, wanted: bool) -> Sequence[int]:
        assert type(wanted) is bool
        return [7] if wanted else []

    def bind_ws_path(self, owner: ProcessId, call: BindWsPath) -> str | None:
        fits(call)
        assert call.authenticated or not call.secure
        return "bad-path" if "//" in call.path else None

    def unbind_ws_path(self, owner: ProcessId, call: UnbindWsPath) -> None:
        fits(call)

    def bind_http_path(self, owner: ProcessId, call: BindHttpPath) -> str | None:
        fits(call)
        assert call.authenticated or not call.secure
        assert call.response_seconds is None or 0 < call.response_seconds < 10**7
        return "too-many" if "//" in call.path else None

    def bind_ui(self, owner: ProcessId, call: ServeUi) -> str | None:
        fits(call)
        return "no-ui"

    def unbind_http_path(self, owner: ProcessId, call: UnbindHttpPath) -> None:
        fits(call)


TYPES: Final = {
    "path": str,
    "policy": str,
    "channel_id": int,
    "subprotocols": tuple,
    **dict.fromkeys(("authenticated", "local_only", "secure", "extension"), bool),
}


def fits(call: HostCall) -> None:
    """Its fields are of the types that it declares, as if a worker had said it."""
    for name in call.__struct_fields__:
        value: Any = getattr(call, name)
        expected: Any = TYPES.get(name, object)
        assert expected is object or type(value) is expected
        assert name != "path" or value.startswith("/")
        assert name != "subprotocols" or all(type(each) is str for each in value)


@target(400)
def http_server_json(data: bytes) -> None:
    """Every body has an answer of one of two forms, or one that comes later; a process of another node has none."""
    blob = None if data.endswith(b" ") else LazyLoadBlob(None, b"payload")
    answer = carry_out(CarefulDoer(), NODE, Sent(CHAT, data, blob, lambda: 1))
    if answer is not None:
        assert list(json.loads(answer)) in (["Ok"], ["Err"])
    stranger = Address("elsewhere.os", CHAT.process)
    refused = carry_out(CarefulDoer(), NODE, Sent(stranger, data, blob, lambda: 1))
    assert refused is not None
    assert "Err" in json.loads(refused)


class DirectState:
    """Carries work out at once, on a database that holds something of another package."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        prepare(self.database, (*TABLES, *KERNEL_TABLES))
        self.database.execute("INSERT INTO kv VALUES (?, 'db', x'00', x'6d696e65', NULL)", (OTHERS,))
        self.database.execute("INSERT INTO files VALUES (?, 'drive/file', 0, x'6d696e65')", (OTHERS,))

    def execute(self, work: Callable[[Any], Any], failed: Any, answer: Callable[[Any], None]) -> None:
        answer(work(self.database))

    def execute_for(
        self,
        package: str,
        size: int,
        work: Callable[[Any], Any],
        failed: Any,
        answer: Callable[[Any], None],
    ) -> None:
        assert package == MINE
        self.execute(work, failed, answer)

    def check(self) -> None:
        """What another package stored is as it was, and this one's is within its quota."""
        for table in ("kv", "files"):
            rows = self.database.execute(f"SELECT * FROM {table} WHERE package != ?", (MINE,)).fetchall()  # noqa: S608
            assert len(rows) == 1
            assert b"mine" in rows[0]
        used = self.database.execute("SELECT bytes FROM used WHERE package = ?", (MINE,)).fetchall()
        assert all(0 <= size <= QUOTA for (size,) in used)
        self.database.execute("DELETE FROM kv WHERE package = ?", (MINE,))
        self.database.execute("DELETE FROM files WHERE package = ?", (MINE,))


@cache
def state() -> DirectState:
    return DirectState()


def ask(module: Module, data: bytes, *, waits: int | None = 5) -> list[bytes]:
    """Ask a module once with each of the lines; returns the answers."""
    answers: list[bytes] = []
    for line in data.split(b"\n")[:8]:
        body, _, blob = line.partition(b"\t")
        before = len(answers)
        carried = LazyLoadBlob(None, blob) if blob else None
        module.request(
            ModuleRequest(CHAT, body, carried, waits, lambda body, blob: answers.append(body), lambda: True)
        )
        assert len(answers) - before <= 1
    for answer in filter(None, answers):
        json.loads(answer)
    return answers


@target(300)
def kv(data: bytes) -> None:
    """Every request is answered, and touches nothing of another package."""
    answers = ask(Kv(cast(Any, state()), QUOTA), data)
    assert len(answers) == len(data.split(b"\n")[:8])
    state().check()


@target(300)
def vfs(data: bytes) -> None:
    """Every request is answered, and touches no other package's drive and no file but the package's own."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        package.mkdir()
        (package / "page.html").write_bytes(b"page")
        (Path(folder) / "secret").write_bytes(b"secret")
        (package / "link").symlink_to("../secret")
        module = Vfs(cast(Any, state()), lambda _: package, QUOTA, 1000)
        answers = ask(module, data)
        assert len(answers) == len(data.split(b"\n")[:8])
        assert not any(
            b"secret" in answer for answer in answers if b"Err" not in answer and b"Ok" not in answer
        )
        assert sorted(path.name for path in package.iterdir()) == ["link", "page.html"]
    state().check()


@target(200)
def timer(data: bytes) -> None:
    """Every request is answered, or waits for its time; what a process sets is bounded."""

    async def run() -> None:
        module = Timer(cast(Any, state()), lambda process, body: True)
        try:
            answers = ask(module, data)
            assert len(answers) <= 8
        finally:
            module.close()

    asyncio.run(run())
    state().database.execute("DELETE FROM timers")

"""The operations and where each is found over HTTP: one table, which the door and the OpenAPI document both read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from msgspec import NODEFAULT, Struct, defstruct, field
from msgspec.structs import FieldInfo, asdict, fields

from guesthouse.http_api.api_keys import Role
from guesthouse.http_api.caller import Caller
from guesthouse.http_api.forms import (
    AboutChannel,
    AboutProcess,
    AboutToken,
    ChannelList,
    ChannelStatus,
    EndChannel,
    IssuedToken,
    IssueToken,
    ListChannels,
    LogTail,
    NodeStatus,
    Nothing,
    PackageList,
    ProcessAfter,
    ProcessList,
    ProcessStatus,
    PushResult,
    PushToChannel,
    PushToProcess,
    ReadLog,
    Taken,
)
from guesthouse.http_api.operations import Operations

PREFIX: Final = "/api/v1"
_A = TypeVar("_A", bound=Taken)
_G = TypeVar("_G", bound=Struct)


class Operation(Struct, frozen=True):
    """One operation over HTTP. What is not in its path is in the query of a GET or DELETE, or in the body of a POST."""

    name: str
    method: str
    path: str
    """Below `PREFIX`, such as `/processes/{process}`."""
    role: Role
    asks: type[Taken]
    gives: type[Struct] | None
    run: Callable[[Operations, Caller, Any], Awaitable[Struct | None]]
    status: int
    at: type[Struct]
    """What it asks for in its path."""
    rest: type[Struct]
    """What it asks for beside the path."""

    @property
    def has_body(self) -> bool:
        """Whether it takes JSON."""
        return self.method == "POST" and bool(self.rest.__struct_fields__)

    def asked(self, at: Struct, rest: Struct) -> Taken:
        """What is asked for, of the two parts."""
        return self.asks(**asdict(at), **asdict(rest))

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return (self.run.__doc__ or "").partition("\n")[0]


def _operation(
    name: str,
    place: str,
    role: Role,
    run: Callable[[Operations, Caller, _A], Awaitable[_G | None]],
    asks: type[_A],
    gives: type[_G] | None,
    *,
    status: int = 200,
) -> Operation:
    method, _, path = place.partition(" ")
    in_path = frozenset(re.findall(r"\{(\w+)\}", path))
    others = frozenset(asks.__struct_fields__) - in_path
    at, rest = _part(asks, f"{asks.__name__}Path", in_path), _part(asks, f"{asks.__name__}Body", others)
    return Operation(name, method, path, role, asks, gives, run, status, at, rest)


@cache
def _part(whole: type[Taken], name: str, wanted: frozenset[str]) -> type[Struct]:
    """A struct of some of the fields of another."""
    parts: list[Any] = [
        (each.name, each.type) if each.required else (each.name, each.type, _default(each))
        for each in fields(whole)
        if each.name in wanted
    ]
    return defstruct(name, parts, forbid_unknown_fields=True, kw_only=True, frozen=True)


def _default(of: FieldInfo) -> Any:
    return of.default if of.default is not NODEFAULT else field(default_factory=of.default_factory)


OPERATIONS: Final[Sequence[Operation]] = (
    _operation("getNode", "GET /node", Role.READ, Operations.node, Nothing, NodeStatus),
    _operation("listProcesses", "GET /processes", Role.READ, Operations.processes, Nothing, ProcessList),
    _operation(
        "getProcess", "GET /processes/{process}", Role.READ, Operations.process, AboutProcess, ProcessStatus
    ),
    _operation("listPackages", "GET /packages", Role.READ, Operations.packages, Nothing, PackageList),
    _operation("listChannels", "GET /channels", Role.READ, Operations.channels, ListChannels, ChannelList),
    _operation(
        "getChannel", "GET /channels/{channel_id}", Role.READ, Operations.channel, AboutChannel, ChannelStatus
    ),
    _operation(
        "closeChannel",
        "DELETE /channels/{channel_id}",
        Role.PUSH,
        Operations.close_channel,
        EndChannel,
        None,
        status=204,
    ),
    _operation(
        "pushToChannel",
        "POST /channels/{channel_id}/messages",
        Role.PUSH,
        Operations.push_to_channel,
        PushToChannel,
        None,
        status=204,
    ),
    _operation(
        "pushToProcess",
        "POST /processes/{process}/messages",
        Role.PUSH,
        Operations.push_to_process,
        PushToProcess,
        PushResult,
    ),
    _operation(
        "issueToken", "POST /tokens", Role.PUSH, Operations.issue_token, IssueToken, IssuedToken, status=201
    ),
    _operation(
        "revokeToken",
        "DELETE /tokens/{token_id}",
        Role.PUSH,
        Operations.revoke_token,
        AboutToken,
        None,
        status=204,
    ),
    _operation(
        "restartProcess",
        "POST /processes/{process}/restart",
        Role.ADMIN,
        Operations.restart,
        AboutProcess,
        ProcessAfter,
    ),
    _operation(
        "stopProcess",
        "POST /processes/{process}/stop",
        Role.ADMIN,
        Operations.stop,
        AboutProcess,
        ProcessAfter,
    ),
    _operation("readLog", "GET /log", Role.READ, Operations.log, ReadLog, LogTail),
)

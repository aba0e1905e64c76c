"""The calls that a worker makes on behalf of a process, and what the node replies to each.

`None` says that it is done. What went wrong is a name, such as a case of `bind-error`, or a `CallDenied`, which says
what was missing.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from guesthouse.link.schema import (
    MOST_SUBPROTOCOLS,
    U32,
    Message,
    Name,
    OnExit,
    Pair,
    Rights,
    Text,
)


class GetState(Message, tag="get-state", frozen=True):
    """Replied by `Stored`, None when there are none, or "storage" when they cannot be read."""


class SetState(Message, tag="set-state", frozen=True):
    """Replied by None, "storage" or a refusal."""

    state: bytes


class ClearState(Message, tag="clear-state", frozen=True):
    """Replied by None or "storage"."""


class BindWsPath(Message, tag="bind-ws-path", frozen=True):
    """Replied by None, a `bind-error` or a refusal."""

    path: Text
    authenticated: bool
    secure: bool
    extension: bool
    subprotocols: Annotated[tuple[Text, ...], Meta(max_length=MOST_SUBPROTOCOLS)]


class UnbindWsPath(Message, tag="unbind-ws-path", frozen=True):
    """Replied by None."""

    path: Text


class BindHttpPath(Message, tag="bind-http-path", frozen=True):
    """Replied as `BindWsPath`. With `content` it is served without asking the process."""

    path: Text
    authenticated: bool
    local_only: bool
    secure: bool
    response_seconds: U32 | None
    mime: Text | None
    content: bytes | None


class UnbindHttpPath(Message, tag="unbind-http-path", frozen=True):
    """Replied by None."""

    path: Text


class ServeUi(Message, tag="serve-ui", frozen=True):
    """Replied as `BindWsPath`."""

    path: Text
    authenticated: bool
    local_only: bool
    secure: bool


class SetChannelPolicy(Message, tag="set-channel-policy", frozen=True):
    """Replied by None or "channel-not-found"."""

    channel_id: U32
    policy: Name


class AwaitRoom(Message, tag="await-room", frozen=True):
    """Replied by None once the channel has credit for a payload of that size, or a `push-error`."""

    channel_id: U32
    size: U32


class SaveCapabilities(Message, tag="save-capabilities", frozen=True):
    """Replied by None."""

    capabilities: Rights


class DropCapabilities(Message, tag="drop-capabilities", frozen=True):
    """Replied by None."""

    capabilities: Rights


class OurCapabilities(Message, tag="our-capabilities", frozen=True):
    """Replied by `Held`."""


class Spawn(Message, tag="spawn", frozen=True):
    """Replied by `Spawned`, a `spawn-error` or a refusal. A grant is a process id and params."""

    name: Text | None
    wasm_path: Text
    on_exit: OnExit
    capabilities: Rights
    grants: Rights
    public: bool


Call: TypeAlias = (
    GetState
    | SetState
    | ClearState
    | BindWsPath
    | UnbindWsPath
    | BindHttpPath
    | UnbindHttpPath
    | ServeUi
    | SetChannelPolicy
    | AwaitRoom
    | SaveCapabilities
    | DropCapabilities
    | OurCapabilities
    | Spawn
)


class CallDenied(Message, tag="refused", frozen=True):
    """A call was refused for want of a capability."""

    error: str
    missing: Pair


class Stored(Message, tag="stored", frozen=True):
    """The bytes that a process keeps."""

    state: bytes


class Held(Message, tag="held", frozen=True):
    """What a process holds."""

    capabilities: tuple[Pair, ...]


class Spawned(Message, tag="spawned", frozen=True):
    """The id of the process that was started."""

    process: str


Outcome: TypeAlias = str | CallDenied | Stored | Held | Spawned | None
"""What the node replies."""

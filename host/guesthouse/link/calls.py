"""Host calls that the node carries out, and their outcomes. A call is passed unchanged from the worker to its handler.

An outcome of None means success. Errors are names, such as a case of `bind-error`, or a `CallDenied` with the missing
capability.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar, get_args

from msgspec import Meta

from guesthouse.core.address import HTTP_SERVER, ProcessId
from guesthouse.core.capabilities import KERNEL, MESSAGING, SPAWN
from guesthouse.link.schema import (
    MOST_SUBPROTOCOLS,
    U32,
    Message,
    Name,
    OnExit,
    Pair,
    Rights,
    Seconds,
    Text,
)


class HostCall(Message, frozen=True):
    """A call that the node carries out for a process. Its tag is its name in the contract."""

    interface: ClassVar[str] = ""
    """Interface of the contract with the function of that name, whose arguments are the fields: workers offer it
    without further code (`worker/calls/by_node.py`). Empty if the worker implements the function.
    """
    needs: ClassVar[tuple[ProcessId, str] | None] = None
    """Capability that it needs: issuer, on this node, and params."""
    purpose: ClassVar[str] = ""
    """Description for the log when it is refused; empty to use its name."""


class OfHttpServer(HostCall, frozen=True):
    """A call of `http-server`."""

    interface: ClassVar[str] = "guesthouse:process/http-server"


class Bind(OfHttpServer, frozen=True):
    """A call that binds a path."""

    needs: ClassVar[tuple[ProcessId, str] | None] = (HTTP_SERVER, MESSAGING)

    path: Text
    authenticated: bool


class GetState(HostCall, tag="get-state", frozen=True):
    """Replied by `Stored`, None when there are none, or "storage" when they cannot be read."""


class SetState(HostCall, tag="set-state", frozen=True):
    """Replied by None, "storage" or a refusal."""

    state: bytes


class ClearState(HostCall, tag="clear-state", frozen=True):
    """Replied by None or "storage"."""

    interface: ClassVar[str] = "guesthouse:process/system"


class BindWsPath(Bind, tag="bind-ws-path", frozen=True):
    """Replied by None, a `bind-error` or a refusal."""

    secure: bool = False
    extension: bool = False
    subprotocols: Annotated[tuple[Text, ...], Meta(max_length=MOST_SUBPROTOCOLS)] = ()


class UnbindWsPath(OfHttpServer, tag="unbind-ws-path", frozen=True):
    """Replied by None."""

    path: Text


class BindHttpPath(Bind, tag="bind-http-path", frozen=True):
    """Replied as `BindWsPath`. With `content` it is served without asking the process."""

    local_only: bool
    secure: bool = False
    response_seconds: Seconds | None = None
    mime: Text | None = None
    content: bytes | None = None


class UnbindHttpPath(OfHttpServer, tag="unbind-http-path", frozen=True):
    """Replied by None."""

    path: Text


class ServeUi(Bind, tag="serve-ui", frozen=True):
    """Replied as `BindWsPath`."""

    local_only: bool
    secure: bool = False


class SetChannelPolicy(OfHttpServer, tag="set-channel-policy", frozen=True):
    """Replied by None or "channel-not-found"."""

    channel_id: U32
    policy: Name


class AwaitRoom(HostCall, tag="await-room", frozen=True):
    """Replied by None once the channel has credit for a payload of that size, or a `push-error`. It is part of
    `send-ws-push-waiting`.
    """

    channel_id: U32
    size: U32


class SaveCapabilities(HostCall, tag="save-capabilities", frozen=True):
    """Replied by None."""

    capabilities: Rights


class DropCapabilities(HostCall, tag="drop-capabilities", frozen=True):
    """Replied by None."""

    capabilities: Rights


class OurCapabilities(HostCall, tag="our-capabilities", frozen=True):
    """Replied by `Held`."""


class Spawn(HostCall, tag="spawn", frozen=True):
    """Replied by `Spawned`, a `spawn-error` or a refusal. A grant is a process id and params."""

    needs: ClassVar[tuple[ProcessId, str] | None] = (KERNEL, SPAWN)
    purpose: ClassVar[str] = "spawning a process"

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
CALLS: Final[tuple[type[HostCall], ...]] = get_args(Call)


class CallDenied(Message, tag="refused", frozen=True):
    """The process lacks a capability for the call."""

    error: str
    missing: Pair


class Stored(Message, tag="stored", frozen=True):
    """The state of a process."""

    state: bytes


class Held(Message, tag="held", frozen=True):
    """The capabilities of a process."""

    capabilities: tuple[Pair, ...]


class Spawned(Message, tag="spawned", frozen=True):
    """The id of the process that was started."""

    process: str


Outcome: TypeAlias = str | CallDenied | Stored | Held | Spawned | None
"""Result of a call."""

Reply: TypeAlias = Callable[[Outcome], None]
"""Sends the outcome of a call; to be called once."""
_C = TypeVar("_C", bound=HostCall)


class CallHandlers:
    """The node's handlers of host calls, by type. Its parts register theirs."""

    def __init__(self) -> None:
        self._handlers: dict[type[HostCall], Callable[[Any, Any, Reply], None]] = {}

    def at_once(self, kind: type[_C], handler: Callable[[ProcessId, _C], Outcome]) -> None:
        """Register a handler that is given the process's id and the call, and returns the outcome."""
        self._handlers[kind] = lambda process, call, reply: reply(handler(process.id, call))

    def later(self, kind: type[_C], handler: Callable[[Any, _C, Reply], None]) -> None:
        """Register a handler that is given the process, the call and `reply`, which it may call later."""
        self._handlers[kind] = handler

    def carry_out(self, process: Any, call: HostCall, reply: Reply) -> None:
        """Carry out a call of a process."""
        self._handlers[type(call)](process, call, reply)

    def check(self) -> None:
        """Check that every call has a handler.

        Raises:
            LookupError: a call has none.
        """
        missing = sorted(kind.__name__ for kind in CALLS if kind not in self._handlers)
        if missing:
            raise LookupError(f"no handler for {', '.join(missing)}")

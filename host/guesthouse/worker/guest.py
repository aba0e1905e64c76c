"""A process as its worker sees it: its fiber, its inbox, and what it holds of the message in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from time import monotonic
from typing import Any, Final, Protocol

from guesthouse.core.address import Address
from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.calls import Call, Outcome
from guesthouse.link.frames import LinkError, checked
from guesthouse.link.pieces import taken_out
from guesthouse.link.to_node import Call as CallOf
from guesthouse.link.to_node import Send, Started, ToNode, Whole
from guesthouse.link.to_worker import GuestLimits, Response, SendFailure, ToProcess
from guesthouse.wasm.engine.fiber import Fiber
from guesthouse.wasm.engine.host_functions import PENDING
from guesthouse.wasm.errors import GuestTrap
from guesthouse.worker.contract_messages import CONTRACT, MessageEncoding, address_value
from guesthouse.worker.limits.guest_log import GuestLog
from guesthouse.worker.limits.rate import RateLimits
from guesthouse.worker.link import FLUSH_BYTES, LinkWriter
from guesthouse.worker.resources import ResourceTable


class Schedule(Protocol):
    """What a guest asks of the scheduler."""

    def wake(self, guest: Guest) -> None:
        """Poll it soon: it has what it waited for."""

    def wake_at(self, guest: Guest, when: float) -> None:
        """Call its `wake_from_sleep` when the monotonic clock reads `when`."""


class WaitingFor(Enum):
    """What a blocked guest waits for."""

    NOTHING = auto()
    MESSAGE = auto()
    REPLY = auto()
    """The node's answer to a call."""
    RESPONSE = auto()
    """The response of `send-and-await-response`."""
    TIME = auto()


class Answerable(Enum):
    """What kind of request `send-response` answers."""

    NOTHING = auto()
    REQUEST = auto()
    HTTP = auto()


_MAX_NAME: Final = 1024
"""Characters of part of a name that goes to the node, which says what is wrong with one that nothing has."""
_NO_BLOB: Final = (None, None)
_MESSAGE: Final = WaitingFor.MESSAGE
_NOTHING: Final = WaitingFor.NOTHING


def _nothing(value: Any) -> None:
    """What a guest that waits for nothing makes of an answer."""


class Guest:
    """One run of one process.

    The scheduler polls its fiber; host calls read and change it; the link feeds its inbox. All three
    happen on the worker's one thread, so nothing here is locked.
    """

    __slots__ = (
        "answerable",
        "answerable_id",
        "arguments",
        "blob",
        "budget",
        "channels",
        "closed_channel",
        "component",
        "connected",
        "convert",
        "cpu_seconds",
        "current_request",
        "dialect",
        "fiber",
        "finishing",
        "gone",
        "handle",
        "inbox",
        "last_blob",
        "limits",
        "log",
        "next_id",
        "node",
        "on_exit",
        "our",
        "our_value",
        "outgoing",
        "paths",
        "queued",
        "resources",
        "schedule",
        "serves",
        "slice_budget",
        "spellings",
        "taken",
        "wait_id",
        "waiting",
    )

    def __init__(
        self,
        handle: int,
        our: Address,
        limits: GuestLimits,
        on_exit: Any,
        outgoing: LinkWriter,
        schedule: Schedule,
        *,
        connected: bool = False,
    ) -> None:
        self.handle = handle
        self.connected = connected
        """Whether its node reaches others."""
        self.our = our
        self.node = our.node
        self.our_value = address_value(str(our))
        self.limits = limits
        self.on_exit = on_exit
        self.outgoing = outgoing
        self.schedule = schedule
        self.log = GuestLog(handle, limits.log_lines_per_second, limits.log_line_bytes, outgoing)
        self.resources = ResourceTable(limits.wasi_handles)
        self.fiber: Fiber
        self.component: object = None
        self.arguments: Callable[[], tuple[Any, ...]] = tuple
        """What its run function is given."""
        self.inbox: deque[ToProcess] = deque()
        self.channels: dict[int, int] = {}
        """Credit in bytes by channel id."""
        self.paths: dict[int, tuple[str, str | None]] = {}
        """The path of each channel, as asked for and as bound."""
        self.closed_channel = 0
        """Of which it took the client's close frame, and not yet the end; only in Kinode's form."""
        self.blob: tuple[str | None, bytes | None] = _NO_BLOB
        self.last_blob: tuple[str | None, bytes | None] = _NO_BLOB
        self.answerable = Answerable.NOTHING
        self.answerable_id = 0
        self.current_request = 0
        self.dialect = CONTRACT
        """The form in which it takes messages."""
        self.spellings: dict[str, str] = {}
        """Older names that it uses for runtime modules, by the names that the node uses."""
        self.waiting = WaitingFor.NOTHING
        self.wait_id = 0
        self.convert: Callable[[Any], Any] = _nothing
        self.next_id = 0
        self.gone = False
        """Whether it ended; what still refers to it leaves it alone."""
        self.finishing: str | None = None
        """Why it is to end when it has taken all it was sent; None while it is not."""
        self.serves = False
        """Whether it has asked for a message yet: what it does before is its start."""
        self.queued = False
        """Whether the scheduler has it in a queue."""
        self.taken = 0
        """Messages taken and not yet reported as consumed."""
        self.cpu_seconds = 0.0
        """Seconds that it held the worker, in all."""
        self.budget = RateLimits(limits.cpu_share, limits.host_calls_per_second, monotonic())
        self.slice_budget = limits.start_seconds
        """CPU seconds left for what it is doing now."""

    # What host calls use

    def receive(self, dialect: MessageEncoding) -> Any:
        """Take the next message, or block until there is one."""
        self.dialect = dialect
        self.slice_budget = self.limits.cpu_seconds_per_message
        if self.finishing is not None and not self.inbox:
            raise GuestTrap(ExitCause.STOPPED, self.finishing)
        if not self.serves:
            self.serves = True
            self.outgoing.add(Started(self.handle))
        if self.inbox:
            return self._take()
        self.waiting = _MESSAGE
        return PENDING

    def call_node(self, call: Call, convert: Callable[[Outcome], Any]) -> Any:
        """Ask the node and block for its answer; `convert` makes the call's result of it."""
        self.next_id += 1
        self.tell(CallOf(self.handle, self.next_id, call))
        self.waiting, self.wait_id, self.convert = WaitingFor.REPLY, self.next_id, convert
        return PENDING

    def tell(self, message: ToNode) -> None:
        """Tell the node something that this guest made up.

        What the node does not take, such as a path that is longer than any, would end the whole worker; here it ends
        the guest alone.

        Raises:
            GuestTrap: a field is too long or of the wrong shape, or what is no payload is too large.
        """
        small, payloads = taken_out(message)
        try:
            written = checked(Whole(self.handle, small) if payloads else small)  # type: ignore[arg-type] # has payloads
        except LinkError as error:
            raise GuestTrap(ExitCause.TRAP, f"it passed what the node does not take: {error}") from None
        size = len(memoryview(written))
        if size > FLUSH_BYTES:
            text = f"it sent {size} bytes to the node beside bodies and blobs; the limit is {FLUSH_BYTES}"
            raise GuestTrap(ExitCause.TRAP, text)
        if payloads:
            waits = isinstance(message, CallOf) or (isinstance(message, Send) and message.await_id > 0)
            self.outgoing.add_large(self.handle, payloads, written, waits=waits)
        else:
            self.outgoing.add(written, size)

    def await_response(self, dialect: MessageEncoding) -> int:
        """Block for the response to a request that is about to be sent; returns its await id."""
        self.dialect = dialect
        self.next_id += 1
        self.waiting, self.wait_id = WaitingFor.RESPONSE, self.next_id
        return self.next_id

    def sleep_until(self, when: float, produce: Callable[[], Any]) -> Any:
        """Block until the monotonic clock reads `when`; the scheduler wakes it."""
        self.waiting, self.convert = WaitingFor.TIME, lambda _: produce()
        self.schedule.wake_at(self, when)
        return PENDING

    # What the link brings

    def deliver(self, message: ToProcess) -> None:
        """Queue a message; wakes the guest when it waits for one."""
        self.inbox.append(message)
        if self.waiting is _MESSAGE:
            self._wake(self._take)

    def reply(self, call_id: int, outcome: Outcome) -> None:
        """The node's answer to a call; one that nobody waits for is dropped."""
        if self.waiting is WaitingFor.REPLY and self.wait_id == call_id:
            convert = self.convert
            self._wake(lambda: convert(outcome))

    def respond(self, message: Response | SendFailure) -> None:
        """What `send-and-await-response` waits for."""
        if self.waiting is WaitingFor.RESPONSE and self.wait_id == message.await_id:
            self._wake(lambda: self.dialect.awaited[type(message)](self, message))

    def wake_from_sleep(self) -> None:
        """Its time has come."""
        if self.waiting is WaitingFor.TIME:
            convert = self.convert
            self._wake(lambda: convert(None))

    def expect_answer(self, request_id: int) -> None:
        """The message in hand is a request of another process; id 0 wants no answer."""
        self.current_request = request_id
        if request_id:
            self.answerable, self.answerable_id = Answerable.REQUEST, request_id

    def expect_http_answer(self, http_id: int) -> None:
        """The message in hand is an HTTP request, which it may also hand on."""
        self.current_request = -http_id
        self.answerable, self.answerable_id = Answerable.HTTP, http_id

    def take_answerable(self) -> tuple[Answerable, int]:
        """What is to be answered, once."""
        what = self.answerable, self.answerable_id
        self.answerable = Answerable.NOTHING
        return what

    def take_up(self, mime: str | None = None, payload: bytes | None = None) -> None:
        """Another message is in hand, with this blob; it is no request, unless `expect_answer` follows."""
        self.current_request = 0
        self.blob = (mime, payload)
        if payload is not None:
            self.last_blob = self.blob

    def let_go(self) -> None:
        """Give up all that it holds: it ended. What its run function was to be given refers to it, and the circle
        would keep its component mapped, and its messages, until the next collection of garbage.
        """
        self.component, self.arguments, self.convert = None, tuple, _nothing
        del self.fiber
        self.inbox.clear()
        self.channels.clear()
        self.paths.clear()
        self.blob = self.last_blob = _NO_BLOB

    def _take(self) -> Any:
        message = self.inbox.popleft()
        if not self.taken:
            self.outgoing.note_consumer(self)
        self.taken += 1
        return self.dialect.received[type(message)](self, message)

    def _wake(self, produce: Callable[[], Any]) -> None:
        self.waiting = _NOTHING
        self.fiber.answer(produce)
        self.schedule.wake(self)


def address_text(value: dict[str, Any]) -> str:
    """The contract's record as `node@process:package:publisher`; not checked but for its size.

    Raises:
        GuestTrap: a name is longer than any is.
    """
    process = value["process"]
    names = (value["node"], process["process-name"], process["package-name"], process["publisher-node"])
    node, *parts = map(name_part, names)
    return f"{node}@{':'.join(parts)}"


def name_part(value: Any) -> str:
    """Part of a name that a guest passed.

    Raises:
        GuestTrap: it is none, or longer than any is.
    """
    if type(value) is not str or len(value) > _MAX_NAME:
        raise GuestTrap(ExitCause.TRAP, f"it used a name with a part over {_MAX_NAME} characters")
    return value

"""A process in its worker: its fiber, its inbox, and the current message."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from time import monotonic
from typing import Any, Final, Protocol

from guesthouse.core.address import Address
from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.timing.clock import Clock
from guesthouse.link.calls import Call, Outcome
from guesthouse.link.frames import LinkError, checked
from guesthouse.link.pieces import taken_out
from guesthouse.link.to_node import Call as CallOf
from guesthouse.link.to_node import Send, Started, ToNode, Whole
from guesthouse.link.to_worker import GuestLimits, Response, SendFailure, ToProcess
from guesthouse.link.trace_schema import Trace
from guesthouse.wasm.engine.fiber import Fiber
from guesthouse.wasm.engine.host_functions import PENDING
from guesthouse.wasm.errors import GuestTrap
from guesthouse.worker.batch import Batch
from guesthouse.worker.contract_messages import CONTRACT, WS_PUSH, MessageEncoding, address_value, is_ws_push
from guesthouse.worker.limits.guest_log import GuestLog
from guesthouse.worker.limits.rate import RateLimits
from guesthouse.worker.link import FLUSH_BYTES, LinkWriter
from guesthouse.worker.resources import ResourceTable
from guesthouse.worker.run_trace import RunTrace
from guesthouse.worker.shared_push import SharedPush


class Schedule(Protocol):
    """What guests ask of the scheduler."""

    @property
    def clock(self) -> Clock:
        """The time that they see."""

    def wake(self, guest: Guest) -> None:
        """Poll it soon: it has what it waited for."""

    def want_batch(self, guest: Guest) -> None:
        """Call its `make_batch` once it is not running."""

    def wake_at(self, guest: Guest, when: float) -> None:
        """Call its `wake_from_sleep` at that time of the monotonic clock."""


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
"""Characters of a name's part that are sent to the node, which reports invalid names."""
_NO_BLOB: Final = (None, None)
_MESSAGE: Final = WaitingFor.MESSAGE
_NOTHING: Final = WaitingFor.NOTHING


def _nothing(value: Any) -> None:
    """Converts an unexpected answer."""


class Guest:
    """One run of one process.

    The scheduler polls its fiber; host calls read and change it; the link feeds its inbox. All
    happens on the worker's only thread, so there are no locks.
    """

    __slots__ = (
        "_log",
        "answerable",
        "answerable_id",
        "arguments",
        "batch",
        "blob",
        "budget",
        "channel_id",
        "channels",
        "claims",
        "closed_channel",
        "component",
        "connected",
        "convert",
        "cpu_seconds",
        "current_request",
        "encoding",
        "fiber",
        "finishing",
        "gone",
        "handle",
        "http_claims",
        "in_hand",
        "inbox",
        "last_blob",
        "limits",
        "may_batch",
        "next_id",
        "node",
        "noted",
        "on_exit",
        "our",
        "our_value",
        "outgoing",
        "paths",
        "queued",
        "resources",
        "schedule",
        "serves",
        "shared",
        "slice_budget",
        "spellings",
        "taken",
        "told_in_hand",
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
        """Whether its node is connected to others."""
        self.our = our
        self.node = our.node
        self.our_value = address_value(str(our))
        self.limits = limits
        self.on_exit = on_exit
        self.outgoing = outgoing
        self.schedule = schedule
        self._log = GuestLog(handle, limits.log_lines_per_second, limits.log_line_bytes, outgoing)
        self.resources = ResourceTable(limits.wasi_handles)
        self.fiber: Fiber
        self.component: Any = None
        self.arguments: Callable[[], tuple[Any, ...]] = tuple
        """The argument of its run function."""
        self.batch: Batch | None = None
        """Answers for frequent messages, once it has been made."""
        self.may_batch = True
        """Whether one may be asked for."""
        self.inbox: deque[ToProcess | SharedPush] = deque()
        self.channels: dict[int, int] = {}
        """Credit in bytes by channel id."""
        self.paths: dict[int, tuple[str, str | None]] = {}
        """The path of each channel, as requested and as bound."""
        self.claims: dict[int, str] = {}
        """Custom claims of the token of each channel's client that has some, until it has taken the channel's end."""
        self.http_claims: str | None = None
        """The same of the HTTP request that it took last."""
        self.closed_channel = 0
        """Channels whose client's close frame it has taken, but not yet their end; only in Kinode's encoding."""
        self.blob: tuple[str | None, bytes | memoryview | None] = _NO_BLOB
        self.last_blob: tuple[str | None, bytes | memoryview | None] = _NO_BLOB
        self.shared: SharedPush | None = None
        """What these are views of, if they are: see `own_payloads`."""
        self.answerable = Answerable.NOTHING
        self.answerable_id = 0
        self.channel_id = 0
        """The channel whose message it has in hand; 0 for none."""
        self.current_request = 0
        """The request that it has in hand, if `channel_id` is 0."""
        self.encoding: MessageEncoding[Guest] = CONTRACT
        """The encoding of the messages that it takes."""
        self.spellings: dict[str, str] = {}
        """Older names that it uses for runtime modules, by their current names."""
        self.waiting = WaitingFor.NOTHING
        self.wait_id = 0
        self.convert: Callable[[Any], Any] = _nothing
        self.next_id = 0
        self.gone = False
        """Whether it has ended; whatever still refers to it ignores it."""
        self.finishing: str | None = None
        """Why it is to end once it has taken all it was sent; None otherwise."""
        self.serves = False
        """Whether it has asked for a message; before that, it is starting."""
        self.queued = False
        """Whether it is in one of the scheduler's queues."""
        self.taken = 0
        """Messages taken and not yet reported as consumed."""
        self.in_hand = False
        """Whether it is at work on a message: it has taken one, and not waited for another since."""
        self.told_in_hand = False
        """Whether the node was told last that it is."""
        self.noted = False
        """Whether the next frame tells the node what it has taken, and whether it has one in hand."""
        self.cpu_seconds = 0.0
        """Worker seconds used, in all."""
        self.budget = RateLimits(limits.cpu_share, limits.host_calls_per_second, monotonic())
        self.slice_budget = limits.start_seconds
        """CPU seconds left for the current message or the start."""

    @property
    def log(self) -> GuestLog:
        """Its log, in which lines have the channel of the message in hand."""
        self._log.channel_id = self.channel_id
        return self._log

    # Traces, which `TracedGuest` has.

    trace: RunTrace | None = None
    """What is recorded of the message in hand; None if nothing is."""

    def begin_trace(self, trace: Trace) -> None:
        """The message in hand is of a trace."""

    def end_trace(self, error: str | None = None) -> None:
        """The message in hand is handled, or the run has ended with that error."""

    # For host calls

    def receive(self, encoding: MessageEncoding[Guest]) -> Any:
        """Take the next message, or block until there is one."""
        self.encoding = encoding
        if encoding is WS_PUSH and self.inbox and not is_ws_push(self.inbox[0]):
            return None  # its time goes on, or a guest that never takes the message would have no limit
        self.slice_budget = self.limits.cpu_seconds_per_message
        if not self.inbox:
            self._is_done()
            if self.finishing is not None:
                raise GuestTrap(ExitCause.STOPPED, self.finishing)
        if not self.serves:
            self.serves = True
            self.outgoing.add(Started(self.handle))
        if self.inbox:
            return self._take()
        self.waiting = _MESSAGE
        return PENDING

    def call_node(self, call: Call, convert: Callable[[Outcome], Any]) -> Any:
        """Send a call to the node and block for its answer; `convert` makes the call's result from it."""
        self.next_id += 1
        self.tell(CallOf(self.handle, self.next_id, call))
        self.waiting, self.wait_id, self.convert = WaitingFor.REPLY, self.next_id, convert
        return PENDING

    def tell(self, message: ToNode) -> None:
        """Send the node a message with values from the guest.

        An invalid message, such as an overlong path, would make the node end the whole worker; here it ends
        only the guest.

        Raises:
            GuestTrap: a field is too long or of the wrong type, or what is not payload is too large.
        """
        small, payloads = taken_out(message)
        try:
            written = checked(Whole(self.handle, small) if payloads else small)  # type: ignore[arg-type] # has payloads
        except LinkError as error:
            raise GuestTrap(
                ExitCause.TRAP, f"it passed a value that the node does not accept: {error}"
            ) from None
        size = len(memoryview(written))
        if size > FLUSH_BYTES:
            text = f"it sent {size} bytes to the node beside bodies and blobs; the limit is {FLUSH_BYTES}"
            raise GuestTrap(ExitCause.TRAP, text)
        if payloads:
            waits = isinstance(message, CallOf) or (isinstance(message, Send) and message.await_id > 0)
            self.outgoing.add_large(self.handle, payloads, written, waits=waits)
        else:
            self.outgoing.add(written, size)

    def await_response(self, encoding: MessageEncoding[Guest]) -> int:
        """Block for the response to a request that is about to be sent; returns its await id."""
        self.encoding = encoding
        self.next_id += 1
        self.waiting, self.wait_id = WaitingFor.RESPONSE, self.next_id
        return self.next_id

    def sleep_until(self, when: float, produce: Callable[[], Any]) -> Any:
        """Block until that time of the monotonic clock; the scheduler wakes it."""
        self.waiting, self.convert = WaitingFor.TIME, lambda _: produce()
        self.schedule.wake_at(self, when)
        return PENDING

    # For the scheduler

    def make_batch(self) -> None:
        """Have frequent messages answered in batches from now on, if the component allows it."""
        if self.gone:
            return
        if not self.fiber.started:
            # It takes messages before all of its instances exist, such as its allocator's.
            self.may_batch = True
            return
        memory = self.fiber.new_batch()
        if memory is not None:
            self.batch = Batch(self, memory)

    # For the link

    def deliver(self, message: ToProcess | SharedPush) -> None:
        """Queue a message; wakes the guest if it waits for one."""
        self.inbox.append(message)
        if self.waiting is _MESSAGE:
            self.wake_for_message()

    def wake_for_message(self) -> None:
        """It waits for a message, and its inbox has one."""
        self._wake(self._take_ws_push if self.encoding is WS_PUSH else self._take)

    def reply(self, call_id: int, outcome: Outcome) -> None:
        """The node's answer to a call; dropped if it is not expected."""
        if self.waiting is WaitingFor.REPLY and self.wait_id == call_id:
            convert = self.convert
            self._wake(lambda: convert(outcome))

    def respond(self, message: Response | SendFailure) -> None:
        """The result of `send-and-await-response`."""
        if self.waiting is WaitingFor.RESPONSE and self.wait_id == message.await_id:
            self._wake(lambda: self._awaited(message))

    def wake_from_sleep(self) -> None:
        """End its sleep."""
        if self.waiting is WaitingFor.TIME:
            convert = self.convert
            self._wake(lambda: convert(None))

    def ask_for_batch(self) -> None:
        """More than one message waits for it: the next ones should be in a batch."""
        if self.may_batch:
            self.may_batch = False
            self.schedule.want_batch(self)

    def expect_answer(self, request_id: int) -> None:
        """The current message is a request of another process; id 0 expects no answer."""
        self.current_request = request_id
        if request_id:
            self.answerable, self.answerable_id = Answerable.REQUEST, request_id

    def expect_http_answer(self, http_id: int) -> None:
        """The current message is an HTTP request, which it may also pass on."""
        self.current_request = -http_id
        self.answerable, self.answerable_id = Answerable.HTTP, http_id

    def take_answerable(self) -> tuple[Answerable, int]:
        """The request to be answered, once."""
        what = self.answerable, self.answerable_id
        self.answerable = Answerable.NOTHING
        return what

    def take_up(self, mime: str | None = None, payload: bytes | None = None, *, channel_id: int = 0) -> None:
        """Set the blob of the current message, and its channel."""
        self.current_request = 0
        self.channel_id = channel_id
        self.blob = (mime, payload)
        if payload is not None:
            self.last_blob = self.blob

    def own_blob(self) -> tuple[str | None, bytes | None]:
        """The blob of the current message, for what is kept or sent."""
        mime, payload = self.blob
        if type(payload) is memoryview:
            payload = payload.tobytes()
            self.blob = self.last_blob = mime, payload
        return mime, payload

    def own_payloads(self) -> None:
        """Copy what it may still ask for out of memory that it was lent; nothing refers to that afterwards."""
        inbox = self.inbox
        for place, message in enumerate(inbox):
            if type(message) is SharedPush:
                inbox[place] = message.owned()
        shared, self.shared = self.shared, None
        if shared is None or self.last_blob[1] is not shared.payload:
            return
        in_hand = self.waiting is not _MESSAGE or self.encoding is WS_PUSH
        if in_hand and self.blob[1] is shared.payload:
            self.own_blob()
            return
        # No more than the last blob of a message that it has handled, for which few components ask.
        if self.blob[1] is shared.payload:
            self.blob = _NO_BLOB
        asks = self.component.imports("last-blob")
        self.last_blob = (None, shared.payload.tobytes()) if asks else _NO_BLOB

    def let_go(self) -> None:
        """Release references after its end. The argument of its run function refers to it, and the cycle
        would keep its component mapped, and its messages, until the next garbage collection.
        """
        self.component, self.arguments, self.convert = None, tuple, _nothing
        del self.fiber
        self.inbox.clear()
        self.channels.clear()
        self.paths.clear()
        self.claims.clear()
        self.blob = self.last_blob = _NO_BLOB
        if self.batch is not None:
            self.batch.let_go()
        self.batch = None
        self.shared = None

    def _is_done(self) -> None:
        """It asks for a message and there is none: it has finished the one before, if there was one."""
        self.in_hand = False
        if self.told_in_hand and not self.noted:
            self.outgoing.note_consumer(self)

    def _take(self) -> Any:
        message = self.inbox.popleft()
        if not self.noted:
            self.outgoing.note_consumer(self)
        self.taken += 1
        self.in_hand = True
        return self.encoding.received[type(message)](self, message)

    def _take_ws_push(self) -> Any:
        """What `receive-ws-push` returns: nothing when the next message is left to `receive`."""
        return self._take() if is_ws_push(self.inbox[0]) else None

    def _awaited(self, message: Response | SendFailure) -> Any:
        """The message in hand stays that of its channel."""
        channel_id = self.channel_id
        value = self.encoding.awaited[type(message)](self, message)
        self.channel_id = channel_id
        return value

    def _wake(self, produce: Callable[[], Any]) -> None:
        self.waiting = _NOTHING
        self.fiber.answer(produce)
        self.schedule.wake(self)


def address_text(value: dict[str, Any]) -> str:
    """The contract's record as `node@process:package:publisher`; only its size is checked.

    Raises:
        GuestTrap: a part is too long.
    """
    process = value["process"]
    names = (value["node"], process["process-name"], process["package-name"], process["publisher-node"])
    node, *parts = map(name_part, names)
    return f"{node}@{':'.join(parts)}"


def name_part(value: Any) -> str:
    """Part of a name from a guest.

    Raises:
        GuestTrap: it is not a string, or too long.
    """
    if type(value) is not str or len(value) > _MAX_NAME:
        raise GuestTrap(ExitCause.TRAP, f"it used a name with a part over {_MAX_NAME} characters")
    return value

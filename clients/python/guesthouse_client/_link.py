"""What is behind a channel: its session, what arrived, what waits, and who waits for it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from ._control import Message
from ._inbox import Answered, Inbox
from ._kept import bytes_of, cost_of
from ._options import Options, QueuePolicy, State
from ._requests import Requests
from ._session import Acknowledged, AnySession, Missing, Phase, Session, TokenAnswer
from ._tokens import Tokens
from .errors import (
    ChannelClosed,
    ConnectionLost,
    GuesthouseError,
    Lost,
    MessagesLost,
    MessageTooBig,
    ProtocolViolated,
    QueueFull,
    SessionLost,
    TokenRefused,
)

UNREAD: Final = 16
"""So many times `receive_bytes` may wait to be received. A node keeps what is not, up to its outbox (4 MiB)."""


class Link:
    """The state of a channel, which its user and its `Runner` share.

    Args:
        options: what `connect` was told.
        wake: called when there may be something to write to the socket, or something is due earlier than before.
    """

    def __init__(self, options: Options, wake: Callable[[], None]) -> None:
        self.options = options
        self.tokens = Tokens(options.token)
        self.session: AnySession = Session(options.ping_seconds, options.pong_seconds)
        self.requests = Requests()
        self.state = State.CONNECTING
        self.plain_id: int | None = None
        self.subprotocol: str | None = None
        self.dropped = 0
        self.error: BaseException | None = None
        """What it ended with."""
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self.was_open = False
        """Whether there was a channel."""
        self._opens_until = self._loop.time() + (options.open_seconds or 0.0)
        self._inbox = Inbox()
        self._uncounted = 0
        """Of what is in the inbox: of sessions that are over."""
        self._token_answers: deque[asyncio.Future[int]] = deque()
        self._waiters: dict[asyncio.Future[None], None] = {}
        """In the order in which they came: so they are served."""

    # What its user does.

    def put(self, message: Message) -> None:
        """Send a message that may be sent, and for which there is room."""
        kept = self.session.kept
        self.session.put(message)
        if kept.size * 2 > self.options.queue_bytes:
            self.session.ask(self._loop.time())
        self._wake()

    def make_room_for(self, message: Message) -> bool:
        """By the policy, see whether there is room after all; False: wait for it.

        Raises:
            QueueFull: the policy says so.
        """
        kept = self.session.kept
        if self.options.queue_policy is QueuePolicy.ERROR:
            raise QueueFull(f"{kept.size} bytes wait already")
        if self.options.queue_policy is QueuePolicy.DROP_OLDEST:
            while not self.has_room_for(message) and kept.drop_oldest():
                self.dropped += 1
        return self.has_room_for(message)

    def has_room_for(self, message: Message) -> bool:
        """Whether the queue has room. A message that is larger than the queue has room when nothing waits."""
        kept = self.session.kept
        return not kept.size or kept.size + cost_of(message) <= self.options.queue_bytes

    def check(self, message: object) -> Message:
        """A message, if it can be sent.

        Raises:
            TypeError: it is neither text nor bytes.
            MessageTooBig: the node does not take it.
        """
        self.check_open()
        if isinstance(message, bytearray | memoryview):
            message = bytes(message)
        if not isinstance(message, str | bytes):
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        opened = self.session.opened
        if opened is not None:
            size = bytes_of(message)
            if size > opened.message_bytes:
                raise MessageTooBig(f"the node takes messages of {opened.message_bytes} bytes, not {size}")
        return message

    def receive(self) -> Message | None:
        """The next message, if there is one.

        Raises:
            MessagesLost: messages are missing here, and nobody else is told.
        """
        while self._inbox:
            item, arrived = self._inbox.take()
            message = item.message if isinstance(item, Answered) else item
            if self._uncounted:
                self._uncounted -= 1
            elif isinstance(message, Lost):
                self._count(self.session.consume_missing(message.received or 0, self._loop.time()))
            else:
                self._count(self.session.consume(arrived, self._loop.time()))
            if isinstance(item, Lost):
                if self.options.on_lost is None:
                    raise MessagesLost(item)
            elif not isinstance(item, Answered):
                return item
        return None

    @property
    def has_items(self) -> bool:
        """Whether `receive` has something."""
        return bool(self._inbox)

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            GuesthouseError: the channel is over, and it never will be.
        """
        while not done():
            self.check_open()
            waiter = self._loop.create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            finally:
                del self._waiters[waiter]

    def check_open(self) -> None:
        """Raise what the channel ended with, if it is over."""
        if self.state is State.CLOSED:
            if self.error is None:
                raise ChannelClosed("closed", 1000)
            raise self.error

    def ask(self) -> None:
        """Have the node say what it has received."""
        self.session.ask(self._loop.time())
        self._wake()

    async def move_to(self, token: str) -> int:
        """Move the session to another token. Returns when that expires.

        Raises:
            TokenRefused: the node does not take it.
            ConnectionLost: there is no connection, or no more.
        """
        session = self.session
        if not isinstance(session, Session) or session.phase is not Phase.LIVE:
            raise ConnectionLost("there is no connection of a session")
        answer: asyncio.Future[int] = self._loop.create_future()
        self._token_answers.append(answer)
        self.tokens.offer(token)
        session.renew(token)
        self._wake()
        return await answer

    # What its runner does.

    @property
    def is_full(self) -> bool:
        """Whether no more is to be read from the socket. What a session has too much of, the node keeps."""
        return not self.session.resumable and self._inbox.size > self.options.receive_bytes

    async def has_room(self) -> None:
        """Wait until more may be read."""
        await self.until(lambda: not self.is_full)

    def live(self, subprotocol: str | None) -> None:
        """There is a socket, and on it the channel."""
        self.tokens.accepted()
        opened = self.session.opened
        self.subprotocol = subprotocol if opened is None else opened.subprotocol
        self.was_open = True
        self._become(State.OPEN)

    def take(self, message: Message) -> None:
        """A message came by the socket.

        Raises:
            ProtocolViolated: it cannot be.
        """
        session, now = self.session, self._loop.time()
        event = session.take(message, now)
        match event:
            case None:
                return
            case str() | bytes():
                self._deliver(event)
            case Missing(count):
                self._tell_lost(Lost(count))
            case TokenAnswer(expiration, error):
                self._token_answered(expiration, error)
            case Acknowledged():
                kept = session.kept
                if kept.size * 2 > self.options.queue_bytes:
                    self.ask()
        self._notify()

    def written(self) -> None:
        """Something was written to the socket."""
        if self._waiters:
            self._notify()

    def cut(self) -> None:
        """The socket is gone."""
        session = self.session
        session.cut()
        if isinstance(session, Session):
            most = session.arrived - max(
                session.told, session.consumed
            )  # the rest is older, or known to the node
            session.forget_arrived(self._inbox.trim(self.options.receive_bytes, most))
        while self._token_answers:
            answer = self._token_answers.popleft()
            if not answer.done():
                answer.set_exception(ConnectionLost("the connection broke before the answer"))
        if self.state is not State.CLOSED:
            alive = session.phase is Phase.AWAY and session.resumable
            self._become(State.AWAY if alive else State.CONNECTING)

    def opens_in(self) -> float:
        """Seconds in which the first channel has to open; infinite once it has."""
        return math.inf if self.was_open else self._opens_until - self._loop.time()

    def reopen(self, error: GuesthouseError) -> bool:
        """The session is over, or never began: begin another, unless nobody wants that."""
        if not self.was_open:
            return self.opens_in() > 0
        if not self.options.reopen:
            return False
        if self.session.phase is not Phase.NEW:
            sent, unsent = self.session.kept.split()
            self.renew_session(unsent)
            self.requests.fail(SessionLost(str(error), error.code))
            self._tell_lost(Lost(None, tuple(sent)))
            self._uncounted = self._inbox.count
            self._become(State.CONNECTING)
            self._notify()
        return True

    def renew_session(self, unsent: list[Message]) -> None:
        """Begin another session, with messages that were never sent."""
        self.session = Session(self.options.ping_seconds, self.options.pong_seconds)
        for message in unsent:
            self.session.put(message)

    def finish(self, error: BaseException | None) -> None:
        """It is over."""
        if self.state is State.CLOSED:
            return
        self.error = error
        if isinstance(error, GuesthouseError):
            self.requests.fail(error)
        else:
            self.requests.fail(ChannelClosed("the channel was closed", 1000))
        self._become(State.CLOSED)

    def unconfirmed(self) -> tuple[Message, ...]:
        """Messages that were sent and not acknowledged."""
        sent, unsent = self.session.kept.split() if self.state is State.CLOSED else ([], [])
        return (*sent, *unsent)

    def _deliver(self, arrived: Message) -> None:
        cipher = self.session.cipher
        message = arrived if cipher is None else cipher.open(arrived)
        if self._inbox.size > UNREAD * self.options.receive_bytes:
            raise ProtocolViolated(
                f"the node sent {self._inbox.size} bytes that nobody received: it is to keep them"
            )
        if not self.requests.take(message):
            self._inbox.put(message, arrived)
        elif self._inbox:
            self._inbox.put(Answered(message), arrived)
        else:
            self._count(self.session.consume(arrived, self._loop.time()))

    def _token_answered(self, expiration: int | None, error: str | None) -> None:
        if not self._token_answers:
            raise ProtocolViolated("the node answered a token that it was not given")
        self.tokens.settle(accepted=error is None)
        answer = self._token_answers.popleft()
        if answer.done():
            return
        if error is None:
            answer.set_result(expiration or 0)
        else:
            answer.set_exception(TokenRefused(error))

    def _tell_lost(self, lost: Lost) -> None:
        self._inbox.put(lost)
        if self.options.on_lost is not None:
            self.options.on_lost(lost)

    def _count(self, due: bool) -> None:
        if due:
            self._wake()
        if self._waiters:
            self._notify()

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            if self.options.on_state is not None:
                self.options.on_state(state)
            self._notify()

    def _notify(self) -> None:
        for waiter in list(self._waiters):
            if not waiter.done():
                waiter.set_result(None)

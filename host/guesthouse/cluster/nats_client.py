"""One connection to one NATS server: nats-py's client, with bounds on what the server may send.

NATS is not trusted. The client of nats-py collects a message of any announced length, adds each server that is
announced to its list, stops reading at what it does not expect, and speaks without TLS to a server that offers none.
`BoundedClient` does not. It also hands messages on where they are read, and sends frames without waking a task for
each, which is a third of what nats-py costs for a single one. It overrides parts of nats-py that are not its public
interface, so `tests/cluster/test_hostile_nats.py` has a server that does all that.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_MSG_PAYLOAD, Parser

from guesthouse.core.errors import BadSetting
from guesthouse.core.files.regular_file import read_regular, refuse_irregular
from guesthouse.core.settings.cluster_settings import ClusterSettings

MOST_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""The longest message from NATS; its servers allow 1 MiB unless they are configured otherwise."""
MOST_LINE_BYTES: Final = 64 * 1024
"""The longest line of its protocol."""
PING_SECONDS: Final = 0.75
"""How often the server is pinged; one that has not answered three times is left."""
CONNECT_SECONDS: Final = 3.0
_COPIED: Final = 16 * 1024
"""Shorter messages are joined with what is around them: that is cheaper than to write them apart."""
_CREDENTIALS_BYTES: Final = 64 * 1024


class Access(Struct, frozen=True):
    """What a client shows to NATS servers, read from the files of `[cluster]`."""

    tls: ssl.SSLContext | None
    user: str | None = None
    password: str | None = None
    token: str | None = None
    jwt: bytes | None = None
    seed: bytes | None = None
    """Of the key that belongs to `jwt`."""


class BoundedClient(Client):
    """A client that ends when its connection does. What a server sends beyond the bounds ends the connection.

    Args:
        must_encrypt: refuse servers that offer no TLS.
    """

    def __init__(self, *, must_encrypt: bool) -> None:
        super().__init__()
        self._must_encrypt = must_encrypt
        self._ps = BoundedParser(self)
        self._handlers: dict[int, Callable[[Msg], None]] = {}
        self._wire: asyncio.WriteTransport | None = None
        """Where `send_now` writes to."""

    def _connect_command(self) -> bytes:
        """Called before the credentials are sent."""
        writer = getattr(self._transport, "_io_writer", None)
        if self._must_encrypt and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise NatsError("the server does not offer TLS, which tls:// or cluster.tls_ca asks for")
        return super()._connect_command()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Servers that a server announces are not used: the settings have the list."""

    async def _process_op_err(self, e: Exception) -> None:
        """The connection has failed. nats-py would first send what waits for it, which fails as well, or waits for ever
        if the server stands still: the end was never reported then.
        """
        if self.is_connected:
            self.discard()
        await super()._process_op_err(e)

    async def hand_on(self, subject: str, handler: Callable[[Msg], None]) -> None:
        """Subscribe to a subject. The handler is called where its messages are read, in order; it must not block."""
        subscription = await self.subscribe(subject, cb=_nothing)
        self._handlers[subscription._id] = handler

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> None:
        handler = self._handlers.get(sid)
        if handler is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        message = Msg(self, subject.decode(), reply.decode(), data)
        try:
            handler(message)
        except Exception as error:  # a bug there must not end the connection
            await self._error_cb(error)

    @property
    def unsent_bytes(self) -> int:
        """What the server has not read yet."""
        wire = self._wire
        return (0 if wire is None else wire.get_write_buffer_size()) + self._pending_data_size

    def send_now(self, subject: str, payload: bytes) -> bool:
        """Send a message behind what was sent before. Returns False if `publish` has to do it.

        Args:
            subject: a valid one.
            payload: at most what the server takes.
        """
        wire, size = self._wire, len(payload)
        if wire is None or self._pending or size > self._max_payload:
            return False
        head = b"PUB %b %d\r\n" % (subject.encode(), size)
        if size < _COPIED:
            wire.write(b"%b%b\r\n" % (head, payload))
        else:
            wire.writelines((head, payload, b"\r\n"))
        return True

    def opened(self) -> None:
        """The connection is there: `send_now` may be used."""
        writer = getattr(self._transport, "_io_writer", None)
        self._wire = None if writer is None else writer.transport

    def discard(self) -> None:
        """Drop the connection and everything that waits to be sent."""
        self._pending, self._pending_data_size = [], 0
        self._wire = None
        self.abort()

    def abort(self) -> None:
        """Drop the connection without waiting for what was not sent."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            with suppress(AttributeError):  # asyncio's transports, once they have ended
                writer.transport.abort()


class BoundedParser(Parser):
    """The protocol's parser, with bounds on lines and messages."""

    async def parse(self, data: bytes = b"") -> None:
        """Parse what came.

        Raises:
            ProtocolError: it is not what a NATS server sends, or is beyond the bounds.
        """
        # A server that says anything is there, though its answer to a ping may be behind much else.
        self.nc._pings_outstanding = 0
        try:
            await super().parse(data)
        except (OSError, NatsError):
            raise
        except Exception as error:  # whatever nonsense makes the client stumble over
            raise ProtocolError from error
        if self.state == AWAITING_MSG_PAYLOAD:
            if not 0 <= self.header_needed <= self.needed <= MOST_MESSAGE_BYTES:
                raise ProtocolError
        elif len(self.buf) > MOST_LINE_BYTES:
            raise ProtocolError


async def _nothing(message: Msg) -> None:
    """Stands for a handler that is called elsewhere."""


def read_access(settings: ClusterSettings) -> Access:
    """Read the files that the settings name. Blocking.

    Raises:
        BadSetting: one is unreadable, or not what it should be.
    """
    tls = _tls_context(settings)
    if settings.credentials is None:
        return Access(tls)
    where = f"cluster.credentials ({settings.credentials})"
    try:
        data = read_regular(Path(settings.credentials).expanduser())
    except OSError as error:
        raise BadSetting(f"{where}: {error.strerror}: make it readable, or remove the setting") from None
    try:
        text = data[:_CREDENTIALS_BYTES].decode("ascii").strip()
        if "-----BEGIN" in text:
            return Access(
                tls, jwt=_block(text, "NATS USER JWT").encode(), seed=_seed(_block(text, "USER NKEY SEED"))
            )
    except ValueError:
        raise BadSetting(f"{where} is not a .creds file of NATS: make it with `nsc generate creds`") from None
    if not text or len(text.splitlines()) != 1:
        raise BadSetting(f"{where} must be a .creds file, or have one line: user:password, or a token")
    user, colon, password = text.partition(":")
    return Access(tls, user=user, password=password) if colon else Access(tls, token=text)


def open_to_others(settings: ClusterSettings) -> list[str]:
    """Which of the files that identify the node others can read, a line for each. Blocking."""
    found = []
    for name, path in (("credentials", settings.credentials), ("tls_key", settings.tls_key)):
        with suppress(OSError):  # `read_access` says so
            if path is not None and Path(path).expanduser().stat().st_mode & 0o077:
                found.append(f"others can read cluster.{name} ({path}): run chmod go-rwx {path}")
    return found


def _tls_context(settings: ClusterSettings) -> ssl.SSLContext | None:
    wanted = settings.tls_ca or settings.tls_cert or any(url.startswith("tls:") for url in settings.nats)
    if not wanted:
        return None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise BadSetting("cluster.tls_cert and cluster.tls_key belong together: give both, or none")
    try:
        if settings.tls_ca is not None:
            refuse_irregular(settings.tls_ca)
        context = ssl.create_default_context(cafile=settings.tls_ca)
    except OSError as error:
        raise BadSetting(
            f"cluster.tls_ca ({settings.tls_ca}): {error.strerror or error}: name certificates in PEM"
        ) from None
    if settings.tls_cert is not None:
        try:
            for path in (settings.tls_cert, settings.tls_key):
                refuse_irregular(path or "")
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
        except OSError as error:
            text = f"cluster.tls_cert ({settings.tls_cert}): {error.strerror or error}"
            raise BadSetting(f"{text}: name a certificate and its key in PEM") from None
    return context


def _block(text: str, name: str) -> str:
    """What is between the lines that begin and end a part of a `.creds` file."""
    lines = [line.strip() for line in text.splitlines()]
    return lines[lines.index(f"-----BEGIN {name}-----") + 1]


def _seed(text: str) -> bytes:
    """The private key in a seed of a user: base32 of two bytes of prefix, 32 of key and two of CRC."""
    raw = base64.b32decode(text + "=" * (-len(text) % 8))
    if len(raw) != 36 or not text.startswith("SU"):
        raise ValueError(text[:2])
    return raw[2:34]


async def open_client(
    url: str,
    access: Access,
    name: str,
    *,
    on_error: Callable[[Exception], Awaitable[None]],
    on_closed: Callable[[], Awaitable[None]],
) -> BoundedClient:
    """Connect to a server.

    Args:
        url: as in `cluster.nats`.
        access: what is shown to the server.
        name: what the client is called in its listings.
        on_error: called with what the client reports.
        on_closed: called when the connection has ended.

    Raises:
        NatsError, OSError, TimeoutError: it cannot be reached, or refuses.
    """
    client = BoundedClient(must_encrypt=access.tls is not None)
    options: dict[str, Any] = {}
    if access.seed is not None:
        key = Ed25519PrivateKey.from_private_bytes(access.seed)
        options["signature_cb"] = lambda nonce: base64.urlsafe_b64encode(key.sign(nonce.encode())).rstrip(
            b"="
        )
        options["user_jwt_cb"] = lambda: access.jwt
    if access.tls is not None:
        options["tls"] = access.tls
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(
                [url],
                error_cb=on_error,
                closed_cb=on_closed,
                name=name,
                allow_reconnect=False,
                connect_timeout=int(CONNECT_SECONDS),
                reconnect_time_wait=0,
                max_reconnect_attempts=1,
                ping_interval=PING_SECONDS,  # type: ignore[arg-type]  # seconds, which it sleeps
                no_echo=True,
                user=access.user,
                password=access.password,
                token=access.token,
                pending_size=0,  # so that `publish` never waits
                **options,
            )
    except BaseException as error:
        await close_client(client)
        if isinstance(error, NatsError) and client.last_error is not None:
            raise client.last_error from None
        raise
    client.opened()
    return client


async def close_client(client: BoundedClient) -> None:
    """Close a connection, without waiting longer than a second for what was not sent."""
    with suppress(Exception):  # it is given up
        async with asyncio.timeout(1.0):
            await client.close()
    client.abort()

"""`guesthouse connect`: opens a channel of the running node from a terminal or a pipe."""

from __future__ import annotations

import base64
import binascii
import json
import os
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from guesthouse.cli.options import home_option, home_path
from guesthouse.cli.terminal.completing import PROCESSES
from guesthouse.cli.terminal.durations import Seconds
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.files.regular_file import refuse_irregular
from guesthouse.core.printable import printable

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_TOKEN_SECONDS: Final = 60
"""The token is for opening the channel."""
_NORMAL: Final = (1000, 1001)
_CHUNK: Final = 65_536


class ChannelRefused(GuesthouseError):
    """The channel could not be opened, or was closed for a reason."""


class BadLine(GuesthouseError):
    """A line of standard input is no message."""


@click.command()
@click.argument("target", shell_complete=PROCESSES)
@click.option("--binary", is_flag=True, help="Send binary messages, and write what arrives as it is.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='A line is a JSON object, {"text": …} or {"base64": …}, both ways.',
)
@click.option(
    "--wait",
    type=Seconds(0, 86_400),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="After the end of standard input: the silence after which the channel is closed.",
)
@click.option("--claims", metavar="JSON", help="What the process is to know of this client: an object.")
@home_option
def connect(
    target: str, binary: bool, as_json: bool, wait: float, claims: str | None, home: str | None
) -> None:
    """Open a channel to a process of the running node: each line sends a message, each message is shown.

    TARGET is a process, or with a path that it bound: process:package:publisher/path. One of another node of the
    cluster is node@process:package:publisher. Ctrl-D or Ctrl-C closes the channel.
    """
    from websockets.exceptions import ConnectionClosed

    folder = home_path(home)
    write = _writer(binary=binary, as_json=as_json)
    with _opened(folder, target, claims) as channel:
        receiver = _Receiver(channel, write)
        try:
            for line in _lines(sys.stdin.fileno(), receiver.ended):
                channel.send(_message(line, binary=binary, as_json=as_json))
            receiver.until_silent(wait)
        except ConnectionClosed:
            receiver.until_closed()
        except KeyboardInterrupt:
            pass
        finally:
            receiver.leave()
    receiver.check()


@contextmanager
def _opened(folder: Path, target: str, claims: str | None) -> Iterator[ClientConnection]:
    """A channel, which is closed at the end of the block.

    Raises:
        ChannelRefused: the node refuses it.
    """
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect as open_socket

    from guesthouse.cli.auth import issue_token
    from guesthouse.control.control_client import ask

    (node,) = ask(folder, "node")
    process, slash, path = target.partition("/")
    if slash and "@" in process:
        raise ChannelRefused(
            f"{target}: paths are those of this node: leave out the path, or the node's name"
        )
    token = issue_token(folder, _TOKEN_SECONDS, process, claims)
    url = node["url"].replace("http", "ws", 1) + (f"/{process}/{path}" if slash else "/")
    headers = {"Cookie": f"kinode-auth_{node['node']}={token}"} if slash else {}
    with ExitStack() as stack:
        try:
            channel = stack.enter_context(
                open_socket(
                    url,
                    additional_headers=headers,
                    ssl=_own_certificate(node["tls_cert"]),
                    max_size=None,
                    proxy=None,
                )
            )
            if not slash:
                channel.send(json.dumps({"auth_token": token, "target_process": process}))
                channel.recv()
        except InvalidStatus as refusal:
            body = (refusal.response.body or b"").decode(errors="replace").strip()
            raise ChannelRefused(f"{target}: {refusal.response.status_code} {body}") from None
        except ConnectionClosed as closed:
            raise ChannelRefused(f"{target}: {_close_text(closed)}") from None
        except (InvalidHandshake, OSError, TimeoutError) as error:
            raise ChannelRefused(f"{target}: {url} cannot be reached: {error}") from None
        yield channel


def _own_certificate(file: str | None) -> ssl.SSLContext | None:
    """Trust the node's own certificate and no other: its name may be any, as the node is on this machine."""
    if file is None:
        return None
    refuse_irregular(file)
    context = ssl.create_default_context(cafile=file)
    context.check_hostname = False
    return context


class _Receiver:
    """Shows what arrives, in a thread, until the channel is closed."""

    def __init__(self, channel: ClientConnection, write: Callable[[str | bytes], None]) -> None:
        self._channel = channel
        self._write = write
        self._leaving = False
        self._problem: str | None = None
        self.ended, self._end = socket.socketpair()
        """Readable once the channel is closed."""
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                message = self._channel.recv()
                self._last = time.monotonic()
                self._write(message)
        except ConnectionClosed as closed:
            well = closed.rcvd is not None and closed.rcvd.code in _NORMAL
            if not self._leaving and not well:
                self._problem = _close_text(closed)
        except (OSError, GuesthouseError) as error:  # standard output is closed, or its disk is full
            self._problem = str(error) if isinstance(error, GuesthouseError) else None
            self._channel.close()
        finally:
            self._end.close()

    def until_silent(self, seconds: float) -> None:
        """Wait until nothing has arrived for so long, or the channel is closed."""
        self._last = time.monotonic()
        while self._thread.is_alive() and (left := self._last + seconds - time.monotonic()) > 0:
            self._thread.join(left)

    def until_closed(self) -> None:
        """Wait until it is known why the channel was closed."""
        self._thread.join()

    def leave(self) -> None:
        """Close the channel."""
        self._leaving = self._thread.is_alive()
        self._channel.close()
        self._thread.join()
        self.ended.close()

    def check(self) -> None:
        """Raises:
        ChannelRefused: the channel was closed by the other end, and not because all was well.
        """
        if self._problem is not None:
            raise ChannelRefused(self._problem)


def _close_text(closed: Any) -> str:
    if closed.rcvd is None:
        return "the connection was lost"
    return f"the channel was closed with {closed.rcvd.code}: {closed.rcvd.reason or 'no reason given'}"


def _lines(stdin: int, ended: socket.socket) -> Iterator[bytes]:
    """The lines of a file, until it or the channel ends: whoever types is told at once that nobody listens."""
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    poll.register(ended, select.POLLIN)
    held = bytearray()
    while ended.fileno() not in (file for file, _ in poll.poll()):
        chunk = os.read(stdin, _CHUNK)
        if not chunk:
            break
        searched = len(held)
        held += chunk
        while (end := held.find(b"\n", searched)) >= 0:
            yield bytes(held[:end])
            del held[: end + 1]
            searched = 0
    if held:
        yield bytes(held)


def _message(line: bytes, *, binary: bool, as_json: bool) -> str | bytes:
    """The message of a line.

    Raises:
        BadLine: it is none.
    """
    if binary and not as_json:
        return line
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise BadLine("a line of standard input is not UTF-8: send it with --binary") from None
    return _from_json(text) if as_json else text


def _from_json(line: str) -> str | bytes:
    try:
        value = json.loads(line)
        if isinstance(value, Mapping) and len(value) == 1:
            if isinstance(value.get("text"), str):
                return str(value["text"])
            if isinstance(value.get("base64"), str):
                return base64.b64decode(value["base64"], validate=True)
    except (ValueError, RecursionError, binascii.Error):
        pass
    raise BadLine(f'{line[:60]!r} is no message: write {{"text": "…"}} or {{"base64": "…"}}')


def _writer(*, binary: bool, as_json: bool) -> Callable[[str | bytes], None]:
    """What shows a message."""
    people = sys.stdout.isatty()

    def write(message: str | bytes) -> None:
        if as_json:
            name, value = (
                ("text", message)
                if isinstance(message, str)
                else ("base64", base64.b64encode(message).decode())
            )
            click.echo(json.dumps({name: value}))
        elif isinstance(message, str):
            click.echo(printable(message) if people else message)
        elif binary and not people:
            sys.stdout.buffer.write(message)
            sys.stdout.buffer.flush()
        else:
            click.echo(f"({len(message)} bytes) {message[:64].hex(' ')}{' …' if len(message) > 64 else ''}")

    return write

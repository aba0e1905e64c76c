"""Echo with TLS, and with permessage-deflate, against bare websockets with the same."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from load import bottleneck_note, in_turn
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse, peer

BARE: Final = "websockets"
C_GUEST: Final = "Guesthouse, C guest"
CONNECTIONS: Final = 50
SIZES: Final = (128, 4096, 65_536)
_PATH: Final = "/echo-c:echo-c:guesthouse.os/public"
_LEAST: Final = 0.9

_COLUMNS: Final = (
    Column("messages/s"),
    Column("to websockets", "x", 2),
    Column("p50", "µs"),
    Column("server CPU a message", "µs", 1),
    Column("CPU to websockets", "x", 2),
    Column("load CPU", "%"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What connections have."""

    title: str
    tls: bool
    deflate: bool


KINDS: Final = (Kind("TLS", True, False), Kind("permessage-deflate", False, True))


def run(effort: Effort) -> Result:
    """Measure each kind."""
    result = Result("wire", f"Echo with TLS and with permessage-deflate, {CONNECTIONS} connections")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guesthouse-bench-")))
        certificate = self_signed(folder)
        for kind in KINDS:
            with contextlib.ExitStack() as inner:
                files = certificate if kind.tls else None
                settings = {"http_tls_cert": files[0], "http_tls_key": files[1]} if files else None
                servers = {
                    BARE: (inner.enter_context(peer("websockets_echo", files)), "/"),
                    C_GUEST: (inner.enter_context(guesthouse("echo-c", settings=settings)), _PATH),
                }
                _measure(result, kind, servers, effort, certificate[0])
    result.notes.append(
        "A message of permessage-deflate is numbered sentences. Guesthouse compresses no message under 1 KiB; "
        "`websockets` keeps a context for each connection, so that what is sent again is compressed to next to nothing."
    )
    return result


def _measure(
    result: Result, kind: Kind, servers: dict[str, tuple[Server, str]], effort: Effort, trusted: Path
) -> None:
    table = Table(kind.title, list(_COLUMNS), x="bytes")
    for size in effort.points(SIZES):
        for _ in range(effort.rounds):
            for turn in in_turn(
                servers,
                CONNECTIONS,
                size,
                effort.seconds,
                deflate=kind.deflate,
                trusted=trusted if kind.tls else None,
            ):
                table.add(
                    f"{turn.name}: {size}",
                    messages_s=turn.found["messages_per_second"],
                    to_websockets=turn.rate_ratio,
                    p50=turn.found["p50_us"],
                    server_CPU_a_message=turn.cpu_us,
                    CPU_to_websockets=turn.cpu_ratio,
                    load_CPU=100 * turn.found["load_cpu"],
                )
        goal = f"{kind.title}, {size:,} B, {CONNECTIONS} connections, messages/s to websockets with the same"
        rounds = table.rounds(f"{C_GUEST}: {size}", "to websockets")
        result.goals.append(Goal(goal, _LEAST, rounds, at_least=True))
    for row in table.rows:
        shares = [share / 100 for share in table.rounds(row, "load CPU")]
        result.notes += bottleneck_note(f"{row}, {kind.title}", shares)
    result.tables.append(table)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A new certificate of 127.0.0.1, and its key, as files."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(
            name, name, private.public_key(), x509.random_serial_number(), now - day, now + day
        )
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


if __name__ == "__main__":
    only(run)

"""Whatever reads bytes from outside gets what costs decoders most, as much of it as its door lets in: what is read
costs memory by its size, nothing unfolds, and nothing is raised but what the door raises for malformed bytes.

`docs/security.md` lists the decoders and their bounds; `python -m tests.unit.test_decoders` prints how long each
takes, which is how long the node's event loop is held.
"""

from __future__ import annotations

import contextlib
import hmac
import itertools
import re
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.node_frames import HELLO, signed

from guesthouse.cluster.administration import administration_messages as administration
from guesthouse.cluster.administration.administration_messages import MAX_MESSAGE, MOST_ROWS_BYTES
from guesthouse.cluster.administration.listings import BadRows, read_rows
from guesthouse.cluster.gateway import gateway_messages
from guesthouse.cluster.gateway.gateway_messages import BadGatewayMessage
from guesthouse.cluster.membership import member_messages
from guesthouse.cluster.membership.join_tickets import (
    MOST_REQUEST_BYTES,
    MOST_TICKET_BYTES,
    MOST_WELCOME_BYTES,
    BadTicket,
    read_request,
    read_ticket,
    read_welcome,
)
from guesthouse.cluster.membership.records import MOST_RECORD_BYTES, BadRecord, Card, read
from guesthouse.control.control_server import _UNREADABLE as BAD_CONTROL_REQUEST
from guesthouse.control.control_server import REQUEST_BYTES
from guesthouse.control.control_server import _decode as control_request
from guesthouse.core import json_forms
from guesthouse.core.capabilities import MAX_PARAMS, BadCapability, canonical_params
from guesthouse.core.json_text import MOST_BYTES
from guesthouse.core.responses import MAX_HEAD, answer_of
from guesthouse.core.toml import NotToml, parse_toml
from guesthouse.http_server.api import json_api
from guesthouse.http_server.auth.custom_claims import BadClaims, read_custom_claims
from guesthouse.http_server.auth.tokens import AuthError, Tokens
from guesthouse.http_server.channel import extension
from guesthouse.http_server.http import node_api
from guesthouse.http_server.http.login import login_attempt
from guesthouse.http_server.http.requests import RequestRefused
from guesthouse.http_server.sessions.control_messages import (
    ESCAPE,
    MAX_CONTROL_MESSAGE,
    BadControl,
    read_control,
)
from guesthouse.http_server.sessions.handed_channel import BadHandover
from guesthouse.http_server.websocket import register
from guesthouse.kernel.cluster import node_messages, session_messages
from guesthouse.kernel.cluster.handshake import MAX_HANDSHAKE, BadHandshake, read_hello
from guesthouse.kernel.cluster.services import MAX_MESSAGE as MAX_OF_SESSION
from guesthouse.link.frames import MAX_FRAME, LinkError, from_node, from_worker
from guesthouse.local_gateway.gateway_link import MOST_PACKET, BadGatewayPacket, read_packet
from guesthouse.modules import kv, passwords
from guesthouse.node.handover_file import MAX_RECORD, read_record
from guesthouse.package.errors import PackageError
from guesthouse.package.format.kinode_packages import _json as kinode_json
from guesthouse.wasm.artifact_files import names_in
from guesthouse.wasm.plan.plan_json import MAX_PLAN_BYTES, plan_from_json

ROOT: Final = Path(__file__).parents[2]
MIB: Final = 1024 * 1024
PRIME: Final = 2**61 - 1
"""Integers that differ by it have one hash."""
KEY = Ed25519PrivateKey.generate()
Hostile = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Door:
    """One decoder: what it takes, how much of it, and what it raises for what it does not take."""

    form: str
    most: int
    read: Callable[[bytes], Any]
    raises: tuple[type[Exception], ...] = ()
    places: tuple[tuple[bytes, bytes], ...] = ((b"", b""),)
    """Where in a message a value may stand: what is before and behind it."""


def _card(data: bytes) -> Card:
    return read(Card, b"c" + bytes(64) + data[65:])


def filled(part: bytes, size: int, last: bytes = b"") -> bytes:
    """As much of a part as there is room for."""
    return part * max((size - len(last)) // len(part), 0) + last


def hostile_json(size: int) -> Hostile:
    yield "empty lists", b"[" + filled(b"[],", size - 1, b"[]]")
    yield "empty objects", b"[" + filled(b"{},", size - 1, b"{}]")
    yield "deep lists", b"[" * size
    yield "deep objects", filled(b'{"a":', size)
    yield "closed deep lists", b"[" * (size // 2) + b"]" * (size // 2)
    yield "many keys", b"{" + b",".join(b'"%x":0' % n for n in range(min(size, 20 * MIB) // 12)) + b"}"
    yield "one key", b"{" + filled(b'"a":0,', size - 1, b'"a":0}')
    yield (
        "keys that are integers of one hash",
        b"{" + b",".join(b"%d:0" % (n * PRIME) for n in range(size // 40)),
    )
    yield "a huge integer", b"1" * size
    yield "huge integers", b"[" + filled(b"1" * 4000 + b",", size - 1, b"1]")
    yield "a huge exponent", b"1e" + b"9" * (size - 2)
    yield "numbers", b"[" + filled(b"0,", size - 1, b"0]")
    yield "no numbers", b"[NaN,Infinity,-Infinity]"
    yield "half surrogates", filled(b"\\ud800", size - 1).join((b'"', b'"'))
    yield "a wide character in a long text", b'"' + b"x" * (size - 6) + "\U0001f600".encode() + b'"'
    yield "escapes", filled(b"\\u0041", size - 2).join((b'"', b'"'))
    yield "truncated", b"[" + filled(b'"a",', size - 3, b'"b')
    yield "white space", b" " * size
    yield "another encoding", "[1]".encode("utf-16") * (size // 8)
    yield "no text", b"\xff" * size


def hostile_messagepack(size: int) -> Hostile:
    count = (size - 9) // 2
    array, half = b"\xdd" + (size - 9).to_bytes(4, "big"), b"\xdd" + count.to_bytes(4, "big")
    fields = b"\xdf" + count.to_bytes(4, "big")
    yield "empty lists", array + b"\x90" * (size - 9)
    yield "empty objects", array + b"\x80" * (size - 9)
    yield "deep lists", b"\x91" * size
    yield "deep objects", b"\x81\xa1a" * (size // 3)
    yield (
        "keys that are integers of one hash",
        b"\xdf\x00\x00\x00\x08"
        + b"".join(b"\xcf" + (n * PRIME).to_bytes(8, "big") + b"\xc0" for n in range(8)),
    )
    yield "many keys", fields + b"\xa0\x00" * count
    yield "keys that are lists", fields + b"\x90\x00" * count
    yield "numbers", array + b"\x00" * (size - 9)
    yield "texts", half + b"\xa1a" * count
    yield "extension types", half + b"\xd4\x00\x00" * (count // 2)
    yield "a time", b"\x91\xc7\x0c\xff" + bytes(12)
    yield "lists longer than they are", b"\xdd\xff\xff\xff\xff\x90"
    yield "objects longer than they are", b"\xdf\xff\xff\xff\xff\xa0"
    yield "bytes longer than they are", b"\xc6\xff\xff\xff\xff\x00"
    yield "truncated", array + b"\x90" * (size // 2)
    yield (
        "a wide character in a long text",
        (b"\xdb" + (size - 9).to_bytes(4, "big") + b"x" * (size - 13) + "\U0001f600".encode()),
    )
    yield "no text", b"\xdb" + (size - 9).to_bytes(4, "big") + b"\xff" * (size - 9)
    yield "what is never used", b"\xc1" * size


def hostile_cbor(size: int) -> Hostile:
    count = size - 16
    array = b"\x9a" + count.to_bytes(4, "big")
    for name, value in (
        ("empty lists", array + b"\x80" * count),
        ("empty objects", array + b"\xa0" * count),
        ("empty texts", array + b"\x60" * count),
        ("deep lists", b"\x81" * count),
        ("deep objects", b"\xa1\x00" * (count // 2)),
        ("lists without a length", b"\x9f" + b"\x9f\xff" * (count // 2) + b"\xff"),
        ("objects without a length", b"\x9f" + b"\xbf\xff" * (count // 2) + b"\xff"),
        ("deep lists without a length", b"\x9f" * count),
        ("bytes in pieces", b"\x5f" + b"\x40" * count + b"\xff"),
        ("texts in pieces", b"\x7f" + b"\x60" * count + b"\xff"),
        ("large integers of one hash", _colliding(b"\xc2\x4b", count)),
        ("a regular expression", b"\xd8\x23\x6a(a+)+(a+)+b"),
        ("tags", b"\xc1" * count),
        ("shared values", b"\xd8\x1c\x81\xd8\x1d\x00"),
        ("a huge integer", b"\xc2\x5a" + count.to_bytes(4, "big") + b"\xff" * count),
        ("numbers", array + b"\x00" * count),
        ("floats", array + b"\xf9\x7e\x00" * (count // 3)),
        ("lists longer than they are", b"\x9b" + b"\xff" * 8),
        ("bytes longer than they are", b"\x5b" + b"\xff" * 8),
        ("truncated", array + b"\x18" * count),
        ("breaks", b"\xff" * count),
    ):
        yield name, b"\xa1\x61a" + value
        yield f"{name} in a map without a length", b"\xbf\x61a" + value


def _colliding(tag: bytes, size: int) -> bytes:
    """A map whose keys are tagged integers of one hash, as many as fit."""
    entries = itertools.islice(itertools.count(1), size // 14)
    body = b"".join(tag + (n * PRIME).to_bytes(11, "big") + b"\x00" for n in entries)
    return b"\xba" + (size // 14).to_bytes(4, "big") + body


def hostile_toml(size: int) -> Hostile:
    yield "a key of many parts", filled(b"a.", size - 3, b"a=1")
    yield "keys of many parts", filled(b"a." * 60 + b"b=1\n", size)
    yield "tables of many parts", filled(b"[" + b"a." * 60 + b"b]\n", size)
    yield "quoted keys", filled(b'"".', size - 3, b"a=1")
    yield "empty lists", b"a=[" + filled(b"[],", size - 3, b"]")
    yield "deep lists", b"a=" + b"[" * (size - 2)
    yield "deep objects", b"a=" + filled(b"{a=", size - 2)
    yield "a huge integer", b"a=" + b"1" * (size - 2)
    yield "many tables", b"".join(b"[a.b%x]\n" % n for n in range(size // 12))
    yield "many lists of tables", filled(b"[[a]]\n", size)
    yield "an unended text", b'a="""' + b"x" * (size - 5)
    yield "no text", b"\xff" * size


HOSTILE: Final[dict[str, Callable[[int], Hostile]]] = {
    "JSON": hostile_json,
    "MessagePack": hostile_messagepack,
    "CBOR": hostile_cbor,
    "TOML": hostile_toml,
}


def of_link(data: bytes) -> object:
    return [*from_worker().feed(len(data).to_bytes(4, "little") + data)]


def to_worker(data: bytes) -> object:
    return [*from_node().feed(len(data).to_bytes(4, "little") + data)]


def token(data: bytes) -> object:
    return Tokens("home.os", b"x" * 32).verify(data.decode(errors="replace"), 0.0)


def manifest_of_kinode(data: bytes) -> object:
    path = Path(KINODE_FILE)
    path.write_bytes(data)
    return kinode_json(path)


KINODE_FILE: str = ""
"""Where a manifest is written that is to be read."""
SMALL: Final = {"JSON": 256 * 1024, "MessagePack": MIB, "CBOR": MIB, "TOML": 32 * 1024}
"""Bytes of what is not given whole, so that this takes seconds."""
EXTENSION_BYTES: Final = 16 * MIB
"""More than `connections.message_bytes` is by default."""

DOORS: Final[dict[str, Door]] = {
    "link": Door(
        "MessagePack",
        MAX_FRAME,
        of_link,
        (LinkError,),
        (
            (b"", b""),
            (b"\x91", b""),
            (b"\x91\x95\x05\x01", b"\x00\xc4\x00"),
            (b"\x91\x95\x0c\x01\xa4host\xa4info", b""),
        ),
    ),
    "link_of_a_worker": Door("MessagePack", MAX_FRAME, to_worker, (LinkError,), ((b"", b""), (b"\x91", b""))),
    "handover": Door("MessagePack", MAX_RECORD, read_record, (BadHandover,)),
    "handshake": Door(
        "MessagePack",
        MAX_HANDSHAKE - 65,
        lambda data: read_hello(signed(HELLO, data, KEY)),
        (BadHandshake,),
        ((b"", b""), (b"\x99", b""), (b"\x98\x92\x03\x03\xc4\x00\xa1a\xa1b", b"")),
    ),
    "session_message": Door(
        "MessagePack",
        session_messages.MAX_CONTROL,
        session_messages.decode,
        (),
        ((b"", b""), (b"\x92\xa6credit", b""), (b"\x94\xa7goodbye\xa1a\xc2", b"")),
    ),
    "node_message": Door(
        "MessagePack",
        MAX_OF_SESSION,
        node_messages.decode,
        node_messages.UNREADABLE,
        (
            (b"", b""),
            (b"\x98\x01\x01\xa1a\xc4\x00", b"\xc0\xc0\x90"),
            (b"\x98\x01\x01\xa1a\xc4\x00\xc0\xc0\xc0", b""),
            (b"\x99\x01\x01\xa1a\xc4\x00\xc0\xc0\xc0\x90", b""),
        ),
    ),
    "gateway_message": Door(
        "MessagePack",
        MAX_MESSAGE,
        gateway_messages.decode,
        (BadGatewayMessage,),
        (
            (b"", b""),
            (b"\x91", b""),
            (b"\x92\x91\xcc\xc8\x92\xcc\xc9", b""),
            (b"\x91\x93\x22", b"\xc4\x01\x00"),
            (b"\x91\x93\x01\x01\xc6", b""),
        ),
    ),
    "administration": Door(
        "MessagePack",
        MAX_MESSAGE,
        lambda data: administration.decode(administration.decode_head(data), data),
        administration.UNREADABLE,
        (
            (b"", b""),
            (b"\x82\xa4kind\xa4list\xa4more", b""),
            (b"\x82\xa4kind\xa5offer\xa5files", b""),
            (b"\x84\xa5reply\xc3\xa4kind\xa9previewed\xa2id\x01\xa9asks_more", b""),
        ),
    ),
    "rows_of_nodes": Door(
        "JSON",
        MOST_ROWS_BYTES,
        lambda data: read_rows("ps", administration.Rows(rows=data)),
        (BadRows,),
        (
            (b"", b""),
            (b'[{"process":', b"}]"),
            (b'[{"process":"a","more":', b"}]"),
            (b'[{"process":""},', b"]"),
        ),
    ),
    "gateway_packet": Door("MessagePack", MOST_PACKET, read_packet, (BadGatewayPacket,)),
    "cluster_record": Door(
        "MessagePack", MOST_RECORD_BYTES, lambda data: read(Card, b"c" + bytes(64) + data[65:]), (BadRecord,)
    ),
    "member_message": Door("MessagePack", member_messages.MOST_MESSAGE_BYTES, member_messages.decode),
    "join_request": Door("MessagePack", MOST_REQUEST_BYTES, lambda data: read_request(bytes(32) + data[32:])),
    "welcome": Door(
        "MessagePack",
        MOST_WELCOME_BYTES,
        lambda data: read_welcome(
            hmac.digest(b"", b"guesthouse welcome 1\0" + data[32:], "sha256") + data[32:], b""
        ),
    ),
    "ticket": Door(
        "JSON", MOST_TICKET_BYTES, lambda data: read_ticket(data.decode("latin-1"), 0), (BadTicket,)
    ),
    "extension": Door(
        "MessagePack", EXTENSION_BYTES, extension.read, (), ((b"", b""), (b"\x83\xa2id\x01\xa4blob", b""))
    ),
    "extension_cbor": Door("CBOR", EXTENSION_BYTES, extension.read),
    "register": Door(
        "JSON",
        MOST_BYTES,
        lambda data: register.read_register(data, Tokens("home.os", b"x" * 32), 0.0),
        (),
        ((b"", b""), (b'{"auth_token":', b"}")),
    ),
    "session_control": Door(
        "JSON",
        MAX_CONTROL_MESSAGE - 1,
        lambda data: read_control(ESCAPE + data),
        (BadControl,),
        ((b"", b""), (b'{"type":"ack","received":', b"}"), (b'{"type":"open","more":', b"}")),
    ),
    "custom_claims": Door(
        "JSON", 16 * 1024, read_custom_claims, (BadClaims,), ((b"", b""), (b'{"a":', b"}"))
    ),
    "token": Door("JSON", 64 * 1024, token, (AuthError,)),
    "login": Door(
        "JSON", login_attempt.MAX_BODY, login_attempt._from_json, (), ((b"", b""), (b'{"token":', b"}"))
    ),
    "rpc": Door(
        "JSON",
        16 * MIB,
        lambda data: node_api._body_bytes(node_api._read(data).body),
        (RequestRefused, ValueError),
        ((b"", b""), (b'{"body":', b"}"), (b'{"process":', b"}"), (b'{"expects_response":', b"}")),
    ),
    "http_server_json": Door(
        "JSON", MOST_BYTES, json_api._named, (json_api.JsonError,), ((b"", b""), (b'{"Bind":', b"}"))
    ),
    "modules": Door("JSON", MOST_BYTES, json_forms.parse, (json_forms.BadRequest,)),
    "kv": Door(
        "JSON", kv.MAX_BODY, lambda data: json_forms.parse(data, kv.MAX_BODY), (json_forms.BadRequest,)
    ),
    "passwords": Door(
        "JSON",
        passwords.MAX_BODY,
        lambda data: json_forms.parse(data, passwords.MAX_BODY),
        (json_forms.BadRequest,),
    ),
    "http_response": Door(
        "JSON",
        MAX_HEAD,
        lambda data: answer_of(data, None, None),
        (),
        ((b"", b""), (b'{"status":', b"}"), (b'{"status":200,"headers":', b"}")),
    ),
    "control": Door(
        "JSON", REQUEST_BYTES, control_request, BAD_CONTROL_REQUEST, ((b"", b""), (b'{"a":', b"}"))
    ),
    "params": Door(
        "JSON", MAX_PARAMS, lambda data: canonical_params(data.decode(errors="replace")), (BadCapability,)
    ),
    "manifest": Door("TOML", 256 * 1024, parse_toml, (NotToml,)),
    "kinode_manifest": Door("JSON", 256 * 1024, manifest_of_kinode, (PackageError,)),
    "plan": Door("JSON", MAX_PLAN_BYTES, plan_from_json, (ValueError,), ((b"", b""), (b'{"types":', b"}"))),
    "shared_names": Door("JSON", MOST_BYTES, names_in, (ValueError,), ((b"", b""), (b'{"1":', b"}"))),
}


def inputs(door: Door, size: int) -> Hostile:
    """What stands first in each list are empty lists and objects: of those as much as the door lets in."""
    for before, behind in door.places:
        around = len(before) + len(behind)
        whole = itertools.islice(HOSTILE[door.form](door.most - around), 2)
        for name, value in itertools.chain(whole, HOSTILE[door.form](min(size, door.most) - around)):
            yield f"{name} behind {before!r}", before + value + behind


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.slow
def test_what_is_hostile_costs_memory_by_its_size_and_is_refused_as_anything_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "KINODE_FILE", str(tmp_path / "manifest.json"))
    door = DOORS[name]
    for what, data in inputs(door, SMALL[door.form]):
        tracemalloc.start()
        try:
            with contextlib.suppress(*door.raises):
                door.read(data)
            peak = tracemalloc.get_traced_memory()[1]
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}") from error
        finally:
            tracemalloc.stop()
        assert peak < 10 * len(data) + 40 * MIB, f"{what}: {peak} bytes of {len(data)}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "session_control",
        "http_server_json",
        "modules",
        "kv",
        "passwords",
        "params",
        "manifest",
        "plan",
        "shared_names",
        "link",
        "handshake",
    ],
)
def test_what_is_over_the_limit_of_a_door_is_not_read(name: str) -> None:
    """Those that read a socket or a file look at the size before; these are given bytes."""
    door = DOORS[name]
    with pytest.raises(door.raises):
        door.read(b"1" + b" " * door.most)


def test_the_page_lists_each_decoder() -> None:
    page = (ROOT / "docs/security.md").read_text()
    section = page.split("## Decoders", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"\| (\w+)(?: \(`[\w/.`, ]+`\))? \|$", section, re.MULTILINE)) - {
        "case",
        "elsewhere",
    }
    assert named == set(DOORS)


def measure() -> None:
    """Print how long each door takes for the worst of what it is given."""
    for name, door in DOORS.items():
        worst = 0.0, "", 0
        for what, data in inputs(door, door.most):
            began = time.process_time()
            with contextlib.suppress(*door.raises):
                door.read(data)
            worst = max(worst, (time.process_time() - began, what, len(data)))
        print(f"{name:20} {worst[0] * 1000:8.1f} ms  {worst[2]:>10} bytes  {worst[1]}")


if __name__ == "__main__":
    with tempfile.NamedTemporaryFile() as manifest:
        KINODE_FILE = manifest.name
        measure()

"""What a client's request says of itself: paths, origins, cookies, forwarded addresses, ranges, tokens."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.datastructures import Headers

from guesthouse.core.address import ProcessId
from guesthouse.http_server.auth.custom_claims import MOST_BYTES as MOST_CLAIMS
from guesthouse.http_server.auth.custom_claims import BadClaims, read_custom_claims
from guesthouse.http_server.auth.tokens import AuthError, Claims, Scope, Tokens, cookies, without_own_cookies
from guesthouse.http_server.channel.extension import read
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.http.login.tossed_cookies import names_in, removals
from guesthouse.http_server.http.ranges import UNSATISFIABLE, requested_range
from guesthouse.http_server.routing.hosts import Hosts
from guesthouse.http_server.routing.origin import (
    client_scheme,
    counted_as,
    forwarded_for,
    is_local,
    is_own_origin,
    normal_origin,
)
from guesthouse.http_server.routing.paths import BadPath, PathPattern, query_params, split, split_process_path
from guesthouse.http_server.sessions.control_messages import ESCAPE, MAX_COUNT, BadControl, read_control
from guesthouse.http_server.sessions.retained import BadCount, Retained
from guesthouse.http_server.sessions.session_keys import read_key
from guesthouse.http_server.websocket.register import Register, read_register

from .catalogue import in_a_line, target

NODE: Final = "fuzz-node.os"
SECRET: Final = b"the same secret in every run: 32"
NOW: Final = 1_800_000_000.0
TOKENS: Final = Tokens(NODE, SECRET)
TOKEN: Final = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
"""Where every token of this node begins."""
PATTERNS: Final = [
    PathPattern.parse(path) for path in ("/", "/a", "/a/:id", "/:x/b", "/files/:name/raw", "/b/*rest/c", "/*")
]
SIZE: Final = 1000


@target()
def path(data: bytes) -> None:
    """No segment of a path can be read as two, and none goes up; what is written again reads the same."""
    text = data.decode("latin-1")
    raw, _, query = text.partition("?")
    assert len(query_params(query)) <= 256
    try:
        segments, directory = split(raw)
    except BadPath:
        return
    for segment in segments:
        assert segment not in ("", ".", "..")
        assert not any(c in "/\\" or ord(c) < 32 for c in segment)
    again = "/" + "/".join(quote(segment, safe="") for segment in segments) + "/" * directory
    if len(again) <= 2048 and segments:
        assert split(again) == (segments, directory)
    for pattern in PATTERNS:
        params = pattern.match(segments)
        assert params is None or all(value in segments for _, value in params)
    try:
        asked = split_process_path(raw)
    except BadPath:
        return
    assert asked.path.count("/") == max(1, len(asked.segments))


@target()
def bound_path(data: bytes) -> None:
    """A path is refused for binding, or the one that is asked for by its own text."""
    try:
        pattern = PathPattern.parse(data.decode("utf-8", "surrogateescape"))
    except BadPath:
        return
    assert len(pattern.kinds) == len(pattern.segments)
    assert pattern.match(pattern.segments) is not None


@target()
def origin(data: bytes) -> None:
    """Nobody but the node's own host and those allowed pass, whatever the headers say."""
    lines = data.decode("latin-1").split("\n")
    origins, hosts = lines[:1], lines[1:2]
    if is_own_origin(origins, scheme="https", hosts=hosts, allowed=frozenset(("https://good.example",))):
        mine, theirs = normal_origin(f"https://{hosts[0]}"), normal_origin(origins[0])
        assert theirs == "https://good.example" or (theirs == mine != "")
    for line in lines:
        normal = normal_origin(line)
        assert normal_origin(normal) == normal
    if is_own_origin(["https://evil.example"], scheme="https", hosts=hosts, allowed=()):
        assert normal_origin(f"https://{hosts[0]}") == "https://evil.example"


@target()
def addresses_of_clients(data: bytes) -> None:
    """What proxies claim is bounded, and taken from trusted ones alone."""
    lines = data.decode("latin-1").split("\n")
    assert forwarded_for("9.9.9.9", lines, ("10.0.0.1",)) is None
    claimed = forwarded_for("10.0.0.1", lines, ("10.0.0.1",))
    assert claimed is None or (0 < len(claimed) <= 256 and "," not in claimed)
    assert client_scheme("http", "9.9.9.9", lines, ("10.0.0.1",)) == "http"
    assert client_scheme("http", "10.0.0.1", lines, ("10.0.0.1",)) in ("http", "https")
    assert counted_as(counted_as(lines[0])) == counted_as(lines[0])
    assert not is_local(lines[0], {"x-forwarded-for"}, ["localhost"])
    assert not is_local("8.8.8.8", set(), lines[:1])
    Hosts(("a",), "package").site(lines)


@target()
def cookie(data: bytes) -> None:
    """Only whole cookies of the very names are seen, at most 32 of each; what is taken out is out, and what
    removes them in a browser is one line each.
    """
    headers = data.decode("latin-1").split("\n")
    for name in TOKENS.cookie_names():
        found = list(cookies(headers, name))
        assert len(found) <= 32
        assert all(";" not in value for value in found)
    for header in headers:
        assert not list(TOKENS.in_cookies([without_own_cookies(header)]))
    claims = TOKENS.verify_cookies(headers, NOW)
    assert claims is None or _signed(claims)
    host, path = (*headers, "", "")[:2]
    for line in removals(names_in(data), host, f"/{path}"):
        assert line.startswith(tuple(name + "=x; Max-Age=0; Path=/" for name in names_in(data)))
    TOKENS.marks(headers, "@shared")


@target()
def content_range(data: bytes) -> None:
    """A range lies within the content, or is none."""
    given, _, condition = data.decode("latin-1").partition("\n")
    found = requested_range(Headers({"range": given, "if-range": condition or '"tag"'}), '"tag"', SIZE)
    assert found is None or found is UNSATISFIABLE or 0 <= found.start < found.stop <= SIZE


@target()
def token(data: bytes) -> None:
    """No token is believed whose signed part this node did not sign."""
    text = data.decode("latin-1")
    for subdomain in (None, "chat:chat:test.os"):
        try:
            claims = TOKENS.verify(text, NOW, subdomain)
        except AuthError:
            continue
        assert _signed(claims)
        assert claims.subdomain == subdomain
    TOKENS.revocable(text)


def _signed(claims: Claims) -> bool:
    """Whether it is one of those in the seeds, which are all that were ever issued."""
    return claims.username == NODE and claims.expiration in (2_000_000_000, 2_000_000_001)


@target()
def register(data: bytes) -> None:
    """A register message closes the channel by a documented code, or names a process and a token of this node."""
    result = read_register(data, TOKENS, NOW)
    if isinstance(result, CloseReason):
        assert 1000 <= result.code < 5000
        assert len(result.reason.encode()) <= 123
        return
    assert isinstance(result, Register)
    assert _signed(result.claims)
    assert ProcessId.parse(str(result.target)) == result.target
    assert json.loads(data)["auth_token"].startswith(TOKEN)


@target()
def control_message(data: bytes) -> None:
    """A control message of a client is refused in a line, or is what its JSON says."""
    try:
        control = read_control(ESCAPE + data)
    except BadControl as error:
        in_a_line(error)
        return
    assert data[:1] + data[-1:] == b"{}"
    # What is no UTF-8 does not come here from a socket; in what is passed over nobody looks.
    fields = json.loads(data.decode(errors="replace"), object_pairs_hook=_distinct)
    read = msgspec.to_builtins(control)
    assert all(fields.get(name, value) == value for name, value in read.items())
    counts = [value for name, value in read.items() if name in ("received", "count")]
    assert all(0 <= count <= MAX_COUNT for count in counts)


@target()
def custom_claims(data: bytes) -> None:
    """Claims of a service are refused in a line, or are an object that a token carries unchanged."""
    try:
        written = read_custom_claims(data)
    except BadClaims as error:
        in_a_line(error)
        return
    if written is None:
        assert data.strip() in (b"", b"null")
        return
    assert len(written.encode()) <= MOST_CLAIMS
    assert json.loads(written) == json.loads(data, object_pairs_hook=_distinct)
    token = TOKENS.issue(60, NOW, Scope(claims=written))
    assert TOKENS.verify(token, NOW).custom == written == read_custom_claims(written.encode())


def _distinct(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two fields of one name nobody knows which holds. (What is no UTF-8 looks alike here.)"""
    found = dict(fields)
    assert len(found) == len(fields) or any("\ufffd" in name for name, _ in fields)
    return found


@target()
def session(data: bytes) -> None:
    """Whatever counts a client names: only what was sent can be acknowledged, and what is kept is what it lacks."""
    kept, sent = Retained(), 0
    for byte in data[:4096]:
        step, count = byte >> 6, byte & 63
        with suppress(BadCount):
            if step == 0:
                (kept.add if kept.waits or count & 1 else kept.add_written)(1, b"%d" % sent)
                sent += 1
            elif step == 1:
                kept.acknowledge(count)
            elif step == 2:
                kept.cut()
                kept.resume(count)
            else:
                (kept.take, kept.drop_waiting, kept.forget_written)[count % 3]()
        assert 0 <= kept.acknowledged <= sent
        assert kept.first <= sent
        assert 0 <= kept.size <= sent
        assert kept.acknowledged <= kept.count <= sent


@target()
def session_key(data: bytes) -> None:
    """No key is genuine that this node did not make."""
    shown = read_key(data.decode("latin-1"), lambda body: TOKENS.mac(b"session", body))
    assert shown is None or not shown.genuine


@target()
def extension(data: bytes) -> None:
    """A message of an extension is nothing, or the same when it is packed and read again."""
    found = read(data)
    if found is not None:
        push, dialect = found
        assert push.kind in ("Request", "Response")
        assert 0 <= push.id < 2**64
        assert read(push.pack(dialect)) == (push, dialect)

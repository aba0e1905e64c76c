"""The node's endpoints for programs: `/encryptor:distro:sys` and `/rpc:distro:sys/message`."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import Annotated, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, MsgspecError, Raw, Struct
from msgspec.json import Decoder
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.errors import BadProcessId
from guesthouse.core.json_text import read_json
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.core.messages import Request as KernelRequest
from guesthouse.core.ports import Answer
from guesthouse.http_server import close_codes
from guesthouse.http_server.channel.encryption import BadKey, ChannelCipher, client_key, wrap
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.requests import RequestHeaders, RequestRefused, body_of, peer_of
from guesthouse.http_server.refusals import refused
from guesthouse.http_server.state.pending_responses import BodyBudget
from guesthouse.link.schema import Text

_MAX_KEY_BODY: Final = 4096
_MAX_ERROR: Final = 200
_NO_STORE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_REFUSALS: Final = {
    "no-such-process": close_codes.ENDED,  # it existed when the request was made
    "offline": close_codes.NOT_FOUND,
    "timeout": close_codes.NO_ANSWER,
    "mailbox-full": close_codes.MAILBOX_FULL,
    "not-authorised": close_codes.NOT_AUTHORISED,
}


class NodeApi(Struct, frozen=True):
    """The endpoints."""

    context: Context
    bodies: BodyBudget
    node_key: Ed25519PrivateKey

    async def node_public_key(self, request: Request) -> Response:
        """`GET /encryptor:distro:sys`: the node's public key."""
        raw = self.node_key.public_key().public_bytes_raw()
        return JSONResponse(
            {"node": self.context.router.node, "public_key_hex": raw.hex()}, headers=_NO_STORE
        )

    async def exchange_keys(self, request: Request) -> Response:
        """`POST /encryptor:distro:sys`: the client of an encrypted channel posts its public key, once, and receives the
        secret.
        """
        peer = peer_of(request)
        if not self.context.access.from_own_page(RequestHeaders(request), peer):
            return refused(close_codes.WRONG_ORIGIN)
        fields = await self._json(request, _MAX_KEY_BODY)
        channel_id, modulus = fields.get("channel_id"), fields.get("public_key_hex")
        if type(channel_id) is not int or not isinstance(modulus, str):
            return refused(close_codes.BAD_REQUEST)
        try:
            key = client_key(modulus)
        except BadKey:
            return refused(close_codes.BAD_REQUEST)
        connection = self.context.awaiting_key.get(channel_id)
        cipher = ChannelCipher(self.context.settings.connections.encrypted_messages)
        if (
            connection is None
            or connection.peer.address != peer.address
            or not connection.open_encrypted(cipher)
        ):
            return refused(close_codes.NO_CHANNEL)
        answer = {
            "encrypted_secret": wrap(cipher.secret, key).hex(),
            "signed_public_key": self.node_key.sign(bytes.fromhex(modulus)).hex(),
        }
        return JSONResponse(answer, 201, headers=_NO_STORE)

    async def send_message(self, request: Request) -> Response:
        """`POST /rpc:distro:sys/message`: a local program sends a request to a process.

        Not available to pages, which could otherwise message processes without a capability.
        """
        peer, headers = peer_of(request), RequestHeaders(request)
        refusal = self.context.access.local.refusal_of_program(peer.address, headers)
        if refusal is not None:
            return refused(refusal)
        if not _is_json(request):
            return refused(close_codes.NOT_JSON)
        limits = self.context.settings
        seconds = limits.connections.handshake_seconds
        async with body_of(request, limits.connections.http_body_bytes, self.bodies, seconds) as body:
            target, message, blob = self._message(_read(body))
        if self.context.router.find(target) is None:
            return refused(close_codes.NOT_FOUND)
        answer = await self.context.router.ask(target, message, blob)
        if isinstance(answer, str):
            refusal = _REFUSALS[answer]
            return refused(
                refusal, retry_after=1 if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE else None
            )
        return Response(headers=_NO_STORE) if answer is None else _as_json(answer)

    def _message(self, message: _Message) -> tuple[ProcessId, KernelRequest, LazyLoadBlob | None]:
        """Target, request and blob.

        Raises:
            RequestRefused: a field is invalid or too big.
        """
        longest = int(self.context.settings.connections.http_longest_response_seconds)
        try:
            target = canonical(ProcessId.parse(message.process))
            body = _body_bytes(message.body)
            payload = None if message.data is None else base64.b64decode(message.data, validate=True)
            if bytes(message.context) != b"null":
                raise ValueError("context is only for requests of processes: leave it out")
        except (BadProcessId, binascii.Error, ValueError) as error:
            raise RequestRefused(close_codes.BAD_REQUEST.because(str(error))) from None
        if message.node not in (None, self.context.router.node):
            raise RequestRefused(close_codes.NOT_FOUND)
        if max(len(body), len(payload or b"")) > self.context.settings.process.message_bytes:
            raise RequestRefused(close_codes.BODY_TOO_BIG)
        seconds = None if message.expects_response is None else min(message.expects_response, longest)
        request = KernelRequest(
            body, inherit=message.inherit is True, expects_response=seconds, metadata=message.metadata
        )
        return target, request, None if payload is None else LazyLoadBlob(message.mime, payload)

    async def _json(self, request: Request, limit: int) -> dict[str, Any]:
        seconds = self.context.settings.connections.handshake_seconds
        async with body_of(request, limit, self.bodies, seconds) as body:
            try:
                fields = read_json(body, limit)
            except ValueError:
                raise RequestRefused(close_codes.BAD_REQUEST) from None
        if not isinstance(fields, dict):
            raise RequestRefused(close_codes.BAD_REQUEST)
        return fields


class _Message(Struct):
    """Body of an RPC request. Unknown fields are ignored; `body` is not parsed."""

    process: str = ""
    body: Raw = Raw(b"null")
    data: str | None = None
    """Base64."""
    mime: Text | None = None
    metadata: str | None = None
    expects_response: Annotated[int, Meta(ge=0)] | None = None
    inherit: bool | None = None
    context: Raw = Raw(b"null")
    node: str | None = None


_decode_message: Final = Decoder(_Message).decode
_decode_str: Final = Decoder(str).decode


def _read(body: bytes) -> _Message:
    try:
        return _decode_message(body)
    except (MsgspecError, ValueError, RecursionError) as error:
        raise RequestRefused(close_codes.BAD_REQUEST.because(ascii(str(error))[1:-1][:_MAX_ERROR])) from None


def _body_bytes(body: Raw) -> bytes:
    """A string's value in UTF-8; for any other value, its JSON."""
    raw = bytes(body)
    if raw == b"null":
        return b""
    if not raw.startswith(b'"'):
        raw.decode()  # must be UTF-8
        return raw
    try:
        return _decode_str(raw).encode()
    except MsgspecError as error:
        raise ValueError(str(error)) from None


def _is_json(request: Request) -> bool:
    """Whether the content type is JSON, which pages cannot send to another origin without a preflight."""
    mime = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return mime == "application/json" or mime.endswith("+json")


def _as_json(answer: Answer) -> Response:
    blob = answer.blob
    shown = None if blob is None else {"mime": blob.mime, "bytes": base64.b64encode(blob.bytes).decode()}
    return JSONResponse({"body": list(answer.body), "lazy_load_blob": shown}, headers=_NO_STORE)

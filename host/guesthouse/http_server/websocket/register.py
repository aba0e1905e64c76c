"""The register form: the first message of a WebSocket opened on `/` names its process. Pure."""

from __future__ import annotations

from msgspec import Struct

from guesthouse.core.address import ForeignProcess, ProcessId, read_target
from guesthouse.core.errors import BadAddress, BadProcessId
from guesthouse.core.json_text import read_json
from guesthouse.http_server.auth.tokens import AuthError, Claims, Tokens, claimed_node
from guesthouse.http_server.close_codes import BAD_PROCESS_ID, BAD_TOKEN, NOT_A_REGISTER, CloseReason


class Register(Struct, frozen=True):
    """A valid register message."""

    target: ProcessId
    claims: Claims
    encrypted: bool


class ForeignRegister(Struct, frozen=True):
    """A register message whose token its process's node has to verify, which claims to have issued it."""

    target: ForeignProcess
    token: str
    encrypted: bool
    otherwise: CloseReason
    """How to refuse it if there is no such node."""


def read_register(message: bytes, tokens: Tokens, now: float) -> Register | ForeignRegister | CloseReason:
    """Check a client's first message, text or binary; returns a `CloseReason` if it is not valid.

    The token is checked first, so that clients without one learn nothing about the target.
    """
    try:
        fields = read_json(message)
    except ValueError:
        return NOT_A_REGISTER.because("it is not JSON")
    if not isinstance(fields, dict):
        return NOT_A_REGISTER.because("it is not a JSON object")
    return check_register(
        fields.get("auth_token"),
        fields.get("target_process"),
        fields.get("encrypted", False),
        tokens,
        now,
    )


def check_register(
    token: object, target: object, encrypted: object, tokens: Tokens, now: float
) -> Register | ForeignRegister | CloseReason:
    """Check the fields of a register message, as `read_register` does."""
    if not isinstance(token, str) or not isinstance(target, str) or not isinstance(encrypted, bool | None):
        return NOT_A_REGISTER.because("auth_token and target_process are strings, encrypted is a boolean")
    try:
        claims = tokens.verify(token, now)
    except AuthError as error:
        refusal = BAD_TOKEN.because(str(error))
        home = _home_of(token, target)
        return refusal if home is None else ForeignRegister(home, token, bool(encrypted), refusal)
    try:
        target_id = read_target(target, tokens.node)
    except (BadProcessId, BadAddress):
        return BAD_PROCESS_ID.because("write process:package:publisher")
    if not claims.opens(target_id):
        return BAD_TOKEN.because(f"it is for {claims.process}")
    return Register(target_id, claims, bool(encrypted))


def _home_of(token: str, target: str) -> ForeignProcess | None:
    """The target, if it is a process of the node that has issued the token, by what that says; else None."""
    try:
        process = read_target(target, "")
    except (BadProcessId, BadAddress):
        return None
    issued_there = isinstance(process, ForeignProcess) and claimed_node(token) == process.node
    return process if isinstance(process, ForeignProcess) and issued_there else None


def is_register(message: bytes) -> bool:
    """Whether this is a register message; its token is not checked."""
    if b"auth_token" not in message or b"target_process" not in message:
        return False
    try:
        fields = read_json(message)
    except ValueError:
        return False
    wanted = ("auth_token", "target_process")
    return isinstance(fields, dict) and all(isinstance(fields.get(name), str) for name in wanted)


def registered(channel_id: int) -> bytes:
    """Encode the response to a register message."""
    return b'{"channel_id": %d}' % channel_id

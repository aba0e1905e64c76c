"""Other nodes: what processes here send there, and what comes from there, over a transport that nobody believes.

Everything leaves in envelopes that this node signs (`kernel/envelopes.py`). Capabilities that go with a message are
sealed by the node that issued them, for the process that gets them (`kernel/sealed_capabilities.py`): a process of
another node can hold one of this node's, show it here, and hand it to nobody else.

A message between nodes is one of

- `[REQUEST, id, source process, target process, body, inherit, expects_response, metadata, mime, blob, handed, shown]`
- `[RESPONSE, id, process, body, metadata, mime, blob, handed]`
- `[FAILURE, id, kind, missing | None]`

where `handed` are seals that the sender hands over, and `shown` those that its node shows for it: what it holds of the
target, and of channels. Id 0 wants no answer.

What a process of another node may do here:

- message a process that holds the capability `"network"` and is public, or whose `"messaging"` it shows;
- push to a channel whose process issued it `{"channel": ID}`, by a `WebSocketPush` to `http-server:distro:sys`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guesthouse.address import HTTP_SERVER, Address, ProcessId, canonical
from guesthouse.capabilities import MOST_IN_MESSAGE, BadCapability, Capability, of_node
from guesthouse.errors import BadAddress, BadProcessId
from guesthouse.json_text import read_json
from guesthouse.kernel.envelopes import BadEnvelope, Envelopes
from guesthouse.kernel.kept_capabilities import as_pair, read_all
from guesthouse.kernel.process import Process
from guesthouse.kernel.sealed_capabilities import LONGEST_SECONDS, BadSeal, Sealed, seal, unsealed
from guesthouse.kernel.sending import Sender
from guesthouse.link.to_node import Send
from guesthouse.message import LazyLoadBlob, Request, SendErrorKind
from guesthouse.ports import Answer, LogPort, Transport

if TYPE_CHECKING:
    from guesthouse.kernel.router import Router

REQUEST: Final = 0
RESPONSE: Final = 1
FAILURE: Final = 2
SOURCE: Final = "remote"
"""What lines in the log about other nodes are by."""

_U64: Final = 2**64
_KINDS: Final = ("offline", "timeout", "no-such-process", "mailbox-full", "not-authorised")
_NOT_FOUND: Final = b'{"Err": "WsChannelNotFound"}'
"""To the letter what the HTTP server answers for a channel that is not there: the two cannot be told apart."""
KeyOf: TypeAlias = Callable[[str], Ed25519PublicKey | None]


class Remote:
    """The nodes that a transport reaches. `incoming` takes what comes from them; nothing in it raises or blocks.

    Args:
        router: of this node.
        key: of this node.
        key_of: the public key of another node by its name; None for a node that is not known.
        transport: what carries frames.
        log: where what is dropped goes.
        clock: Unix seconds.
    """

    def __init__(
        self,
        router: Router,
        key: Ed25519PrivateKey,
        key_of: KeyOf,
        transport: Transport,
        log: LogPort,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._router = router
        self._node = router.node
        self._key = key
        self._key_of = key_of
        self._envelopes = Envelopes(router.node, key, key_of)
        self._transport = transport
        self._log = log
        self._clock = clock
        self._handlers: dict[int, Callable[[str, list[Any]], None]] = {
            REQUEST: self._request,
            RESPONSE: self._response,
            FAILURE: self._failure,
        }

    # --- what leaves

    def send(self, sender: Sender, sent: Send, target: Address, request_id: int) -> bool:
        """Send a request of a process of this node. Returns False when the node cannot be reached."""
        attached = self._router.rights.handed_on(sender, None, sent.capabilities)
        handed = self._handed(sender, target, read_all(attached))
        shown = [_wire(each) for each in _shown(sender, target)]
        process = str(canonical(target.process))
        fields: list[Any] = [sent.body, sent.inherit, sent.expects_response, sent.metadata]
        fields += [sent.mime, sent.blob, handed, shown]
        return self._tell(target.node, [REQUEST, request_id, str(sender.id), process, *fields])

    def _handed(self, sender: object, target: Address, capabilities: Iterable[Capability]) -> list[list[Any]]:
        """Seals of what a process here hands to one there; what nobody could verify is left out."""
        found: list[list[Any]] = []
        for capability in capabilities:
            issuing_node = Address.parse(capability.issuer).node
            shown = sender.holdings.seals.get(capability) if isinstance(sender, Process) else None
            if issuing_node == self._node:
                expires = self._clock() + LONGEST_SECONDS
                found.append(_wire(seal(self._key, capability, str(target), expires)))
            elif issuing_node == target.node and isinstance(shown, Sealed):
                found.append(_wire(shown))
            else:
                text = f"{capability} is not handed to {target}: it was given to one process alone"
                self._log.write(SOURCE, "warning", text)
        return found

    def _tell(self, node: str, message: list[Any]) -> bool:
        try:
            envelope = self._envelopes.close(message, node, self._clock())
        except BadEnvelope as error:
            self._log.write(SOURCE, "warning", f"a message for {node} is not sent: {error}")
            return False
        return self._transport.send(node, envelope) is None

    # --- what comes

    def incoming(self, frame: bytes) -> None:
        """A frame of the transport, from whomever. What is not as a node sends it is dropped and logged."""
        try:
            node, message = self._envelopes.open(frame, self._clock())
            handler = self._handlers.get(message[0]) if message and type(message[0]) is int else None
            if handler is None or not _fits(message):
                raise BadEnvelope(f"{node} sent a message of no known form")
            handler(node, message)
        except (BadEnvelope, BadAddress, BadProcessId) as error:
            self._log.write(SOURCE, "warning", f"a message of another node was dropped: {error}")

    def _request(self, node: str, message: list[Any]) -> None:
        _, request_id, source, process, body, inherit, expects, metadata, mime, blob, handed, shown = message
        self._check_size(node, body, metadata, mime, blob)
        sender, target = Address(node, ProcessId.parse(source)), canonical(ProcessId.parse(process))
        payload = None if blob is None else LazyLoadBlob(mime, blob)
        held = self._taken(shown, str(sender), "shown by")
        answered = partial(self._answer, sender, request_id)
        if target == HTTP_SERVER:
            body = self._push(body, payload, [*held, *self._taken(handed, str(sender), "shown by")])
            answered(Answer(body, source=f"{self._node}@{HTTP_SERVER}"))
            return
        refusal = self._refusal(target, held)
        if refusal is None:
            request = Request(body, inherit, expects if request_id else None, metadata)
            given = self._given(handed, sender, target)
            refusal = self._router.deliver(target, request, payload, answered, source=sender, rights=given)
        if refusal is not None:
            self._refuse(sender, request_id, target, refusal)

    def _refusal(self, target: ProcessId, held: Iterable[Capability]) -> SendErrorKind | None:
        """Why a process of another node that shows these may not message one of this node."""
        receiver = self._router.find(target)
        if receiver is None:
            return "no-such-process"
        if not receiver.holdings.holds(self._router.rights.network):
            return "not-authorised"
        allowed = receiver.public or of_node(self._node, target) in held
        return None if allowed else "not-authorised"

    def _refuse(self, sender: Address, request_id: int, target: ProcessId, kind: SendErrorKind) -> None:
        self._log.write(SOURCE, "warning", f"a request of {sender} to {target} was refused: {kind}")
        if request_id:
            missing = as_pair(of_node(self._node, target)) if kind == "not-authorised" else None
            self._tell(sender.node, [FAILURE, request_id, kind, missing])

    def _answer(self, asker: Address, request_id: int, outcome: Answer | SendErrorKind) -> None:
        """What became of a request of another node's process."""
        if not request_id:
            return
        if not isinstance(outcome, Answer):
            self._tell(asker.node, [FAILURE, request_id, outcome, None])
            return
        source = Address.parse(outcome.source)
        handed = self._handed(self._router.find(source.process), asker, outcome.capabilities)
        mime, blob = (None, None) if outcome.blob is None else (outcome.blob.mime, outcome.blob.bytes)
        fields = [outcome.body, outcome.metadata, mime, blob, handed]
        self._tell(asker.node, [RESPONSE, request_id, str(source.process), *fields])

    def _push(self, body: bytes, blob: LazyLoadBlob | None, held: Iterable[Capability]) -> bytes:
        """A push to a channel of this node, in the name of the process that gave the right to it."""
        try:
            ((name, fields),) = read_json(body).items()
            right = json.dumps({"channel": fields["channel_id"]}, separators=(",", ":"))
        except (ValueError, TypeError, AttributeError, KeyError):
            return b'{"Err": "MalformedRequest"}'
        owners = [Address.parse(capability.issuer) for capability in held if capability.params == right]
        owner = next((owner for owner in owners if owner.node == self._node), None)
        if name != "WebSocketPush" or owner is None:
            return _NOT_FOUND
        return self._router.http.request(owner, body, blob, lambda: 0) or _NOT_FOUND

    def _response(self, node: str, message: list[Any]) -> None:
        _, request_id, process, body, metadata, mime, blob, handed = message
        self._check_size(node, body, metadata, mime, blob)
        source = Address(node, ProcessId.parse(process))
        asker = self._router.asker_of(request_id)
        rights = self._given(handed, source, asker) if asker is not None else []
        payload = None if blob is None else LazyLoadBlob(mime, blob)
        answer = Answer(body, metadata, payload, str(source), tuple(rights))
        if not self._router.answered_by(node, request_id, answer):
            self._log.write(SOURCE, "debug", f"a response of {source} came too late, or was not asked for")

    def _check_size(self, node: str, *parts: str | bytes | None) -> None:
        """What a process of this node could not send, one of another node cannot either."""
        sizes = [len(part) for part in parts if part is not None]
        if max(sizes) > self._router.message_bytes or sum(sizes) > 3 * self._router.message_bytes:
            raise BadEnvelope(f"{node} sent more than process.message_bytes")

    def _failure(self, node: str, message: list[Any]) -> None:
        _, request_id, kind, missing = message
        try:
            refusal = Capability.read(*missing) if missing is not None and kind == "not-authorised" else kind
        except BadCapability:
            refusal = kind
        if not self._router.answered_by(node, request_id, refusal):
            self._log.write(SOURCE, "debug", f"a failure that {node} reports came too late")

    # --- capabilities that come

    def _given(self, wires: list[list[Any]], sender: Address, process: ProcessId) -> list[Capability]:
        """Capabilities that a process there hands to one here: those of its own node sealed for the receiver, which can
        show them there; those of this node that the sender may show.
        """
        receiver = self._router.find(process)
        here = f"{self._node}@{process}"
        found = []
        for wire in wires:
            own = Address.parse(wire[0]).node == self._node if _is_address(wire[0]) else False
            taken = self._taken([wire], str(sender) if own else here, "handed over by")
            found += taken
            if taken and not own and receiver is not None:
                receiver.holdings.keep_seal(taken[0], Sealed(*wire))
        return found

    def _taken(self, wires: list[list[Any]], holder: str, how: str) -> list[Capability]:
        found = []
        for wire in wires:
            try:
                found.append(unsealed(Sealed(*wire), holder, self._seal_key, self._clock()))
            except BadSeal as error:
                self._log.write(SOURCE, "warning", f"a capability {how} {holder} was dropped: {error}")
        return found

    def _seal_key(self, node: str) -> Ed25519PublicKey | None:
        return self._key.public_key() if node == self._node else self._key_of(node)


def at_node(node: str) -> ProcessId:
    """Who holds a request that waits for an answer of another node; no process has such an id."""
    return ProcessId("net", "distro", f"@{node}")


def _shown(sender: Sender, target: Address) -> list[Sealed]:
    """What a process's node shows for it: the right to message the target; for an HTTP server, all of that node."""
    if not isinstance(sender, Process):
        return []
    process = canonical(target.process)
    seals = sender.holdings.seals.items()
    if process == HTTP_SERVER:
        found = [seal for capability, seal in seals if Address.parse(capability.issuer).node == target.node]
    else:
        found = [seal for capability, seal in seals if capability == of_node(target.node, process)]
    return [seal for seal in found[-MOST_IN_MESSAGE:] if isinstance(seal, Sealed)]


def _wire(sealed: Sealed) -> list[Any]:
    return list(asdict(sealed).values())


def _is_address(text: str) -> bool:
    try:
        Address.parse(text)
    except BadAddress:
        return False
    return True


def _number(value: Any) -> bool:
    return type(value) is int and 0 <= value < _U64


def _of(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds


def _seals(value: Any) -> bool:
    return (
        type(value) is list
        and len(value) <= MOST_IN_MESSAGE
        and all(type(each) is list and tuple(map(type, each)) == _SEAL for each in value)
    )


_SEAL: Final = (str, str, str, float, bytes)
_NONE: Final = type(None)
_text, _bytes, _bool = _of(str), _of(bytes), _of(bool)
_maybe_text, _maybe_bytes = _of(str, _NONE), _of(bytes, _NONE)
_FIELDS: Final[dict[int, tuple[Callable[[Any], bool], ...]]] = {
    REQUEST: (
        *(_number, _text, _text, _bytes, _bool, lambda value: value is None or _number(value)),
        *(_maybe_text, _maybe_text, _maybe_bytes, _seals, _seals),
    ),
    RESPONSE: (_number, _text, _bytes, _maybe_text, _maybe_text, _maybe_bytes, _seals),
    FAILURE: (
        _number,
        lambda value: value in _KINDS,
        lambda value: value is None or (type(value) is list and tuple(map(type, value)) == (str, str)),
    ),
}


def _fits(message: list[Any]) -> bool:
    fields = _FIELDS[message[0]]
    return len(message) == len(fields) + 1 and all(
        fits(value) for fits, value in zip(fields, message[1:], strict=True)
    )

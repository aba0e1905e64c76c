"""Messages to and from processes of other nodes.

Messages (`kernel/cluster/node_messages.py`) are sent in sessions (`kernel/cluster/peers.py`). Capabilities in them are
signed by their issuing node for one holder (`kernel/capabilities/signed.py`): a process of another node can hold one of
this node and present it here, but cannot pass it on.

A process of another node may

- message a process that holds `"network"` and is public, or whose `"messaging"` capability it presents;
- push to a channel whose process gave it `{"channel": ID}`, by a `WebSocketPush` to `http-server:distro:sys`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guesthouse.core.address import HTTP_SERVER, Address, ProcessId, canonical
from guesthouse.core.capabilities import MOST_IN_MESSAGE, BadCapability, Capability, of_node
from guesthouse.core.errors import BadAddress, BadProcessId, GuesthouseError
from guesthouse.core.json_text import read_json
from guesthouse.core.messages import LazyLoadBlob, Request, SendErrorKind
from guesthouse.core.ports import Answer, LogPort
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.capabilities.signed import (
    LONGEST_SECONDS,
    BadSignature,
    OwnSignatures,
    SignedCapability,
    sign,
    verify,
)
from guesthouse.kernel.cluster import node_messages
from guesthouse.kernel.cluster.greeter import KeyOf
from guesthouse.kernel.cluster.node_messages import UNREADABLE, Failure, NodeMessage, Response
from guesthouse.kernel.cluster.services import MAX_MESSAGE, PROCESSES, PeersPort
from guesthouse.kernel.messaging.sender import Sender, Unsent
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import as_pair, read_all
from guesthouse.link.frames import UNENCODABLE
from guesthouse.link.to_node import Send

if TYPE_CHECKING:
    from guesthouse.kernel.messaging.router import Router

SOURCE: Final = "remote"
"""Source of log lines about other nodes."""

_NOT_FOUND: Final = b'{"Err": "WsChannelNotFound"}'
"""Exactly the HTTP server's response for an unknown channel, so that the two cannot be told apart."""
_MOST_TRIED: Final = 2
"""Signatures of one capability that are verified in a message; a correct node sends one."""


class _Unacceptable(GuesthouseError):
    """A message of another node is dropped. Variable parts of the reason follow a colon, except node names."""


class Remote:
    """Sends and receives the messages of processes. Implements `services.PeerService`. Nothing in it raises or blocks.

    Args:
        router: this node's.
        key: this node's.
        key_of: returns another node's public key by name; None for an unknown node.
        peers: the other nodes.
        log: for dropped messages.
        clock: returns Unix seconds.
    """

    def __init__(
        self,
        router: Router,
        key: Ed25519PrivateKey,
        key_of: KeyOf,
        peers: PeersPort,
        log: LogPort,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._router = router
        self._node = router.node
        self._key = key
        self._key_of = key_of
        self._peers = peers
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._clock = clock
        self._own = OwnSignatures()
        peers.register(PROCESSES, self)

    # --- outgoing

    def send(self, sender: Sender, sent: Send, target: Address, request_id: int) -> Unsent | None:
        """Send a request of a process of this node; returns None or an error."""
        attached = self._router.rights.handed_on(sender, None, sent.capabilities)
        message = node_messages.Request(
            request_id,
            str(sender.id),
            str(canonical(target.process)),
            sent.body,
            sent.inherit,
            sent.expects_response,
            sent.metadata,
            sent.mime,
            sent.blob,
            self._handed(sender, target, read_all(attached)),
            _shown(sender, target),
        )
        return self._send(target.node, message)

    def _handed(
        self, sender: object, target: Address, capabilities: Iterable[Capability]
    ) -> tuple[SignedCapability, ...]:
        """Sign capabilities for a process of another node; those it could not verify are dropped."""
        found: list[SignedCapability] = []
        for capability in capabilities:
            issuing_node = Address.parse(capability.issuer).node
            shown = sender.holdings.signed.get(capability) if isinstance(sender, Process) else None
            if issuing_node == self._node:
                expires = self._clock() + LONGEST_SECONDS
                found.append(sign(self._key, capability, str(target), expires))
            elif issuing_node == target.node and isinstance(shown, SignedCapability):
                found.append(shown)
            else:
                text = f"{capability} was not passed to {target}: only its holder may use it"
                self._log.write(SOURCE, "warning", text)
        return tuple(found)

    def _send(self, node: str, message: NodeMessage) -> Unsent | None:
        try:
            body = node_messages.encode(message)
        except UNENCODABLE as error:
            self._log.write(
                SOURCE, "warning", f"a message to {node} was not sent: it cannot be encoded: {error}"
            )
            return "mailbox-full"
        if len(body) > MAX_MESSAGE:
            text = f"a message to {node} was not sent: it is over the limit of {MAX_MESSAGE} bytes"
            self._log.write(SOURCE, "warning", f"{text}: {len(body)} bytes")
            return "mailbox-full"
        # A failure tells that a request has no answer: without it, its sender would wait for its time-out.
        refusal = self._peers.send(node, PROCESSES, body, must=isinstance(message, Failure))
        return "mailbox-full" if refusal == "full" else refusal

    # --- incoming

    def up(self, node: str) -> None:
        """See `PeerService`."""

    def lost(self, node: str) -> None:
        """See `PeerService`. Requests that the node has not answered fail."""
        self._router.node_lost(node)

    def room(self, node: str) -> None:
        """See `PeerService`. Whoever was refused has been told."""

    def receive(self, node: str, body: bytes) -> None:
        """See `PeerService`. Invalid messages are dropped and logged."""
        try:
            message = node_messages.decode(body)
            if isinstance(message, node_messages.Request):
                self._request(node, message)
            elif isinstance(message, Response):
                self._response(node, message)
            else:
                self._failure(node, message)
        except UNREADABLE as error:
            self._dropped("a message of another node was dropped", f"{node} sent an invalid one: {error}")
        except _Unacceptable as error:
            self._dropped("a message of another node was dropped", str(error))
        except (BadAddress, BadProcessId) as error:
            self._dropped(f"a message of {node} with an invalid address was dropped", f": {error}")

    def _dropped(self, what: str, why: str) -> None:
        """Log a dropped message, throttled by the text before the first colon, which the sender cannot vary."""
        self._throttled_log.say(
            SOURCE, f"{what} {why.partition(':')[0]}", f"{what}: {why.removeprefix(': ')}"
        )

    def _request(self, node: str, message: node_messages.Request) -> None:
        self._check_size(node, message)
        sender, target = (
            Address(node, ProcessId.parse(message.source)),
            canonical(ProcessId.parse(message.target)),
        )
        payload = None if message.blob is None else LazyLoadBlob(message.mime, message.blob)
        answered = partial(self._answer, sender, message.id)
        if target == HTTP_SERVER:
            body = self._push(message, payload, sender)
            answered(Answer(body, source=f"{self._node}@{HTTP_SERVER}"))
            return
        refusal = self._refusal(target, message.shown, sender)
        if refusal is None:
            expects = message.expects_response if message.id else None
            request = Request(message.body, message.inherit, expects, message.metadata)
            given = self._given(message.handed, sender, target)
            refusal = self._router.deliver(target, request, payload, answered, source=sender, rights=given)
        if refusal is not None:
            self._refuse(sender, message.id, target, refusal)

    def _refusal(
        self, target: ProcessId, shown: Iterable[SignedCapability], sender: Address
    ) -> SendErrorKind | None:
        """Why a process of another node may not message one of this node; None if it may."""
        receiver = self._router.find(target)
        if receiver is None:
            return "no-such-process"
        if not receiver.holdings.holds(self._router.rights.network):
            return "not-authorised"
        if receiver.public:
            return None
        right = of_node(self._node, target)
        of_target = [each for each in shown if (each.issuer, each.params) == as_pair(right)]
        held = self._taken(of_target[:_MOST_TRIED], str(sender), "presented by")
        return None if right in held else "not-authorised"

    def _refuse(self, sender: Address, request_id: int, target: ProcessId, kind: SendErrorKind) -> None:
        text = f"a request of {sender} to {target} was refused: {kind}"
        self._throttled_log.say(SOURCE, f"a request of {sender.node} was refused: {kind}", text)
        if request_id:
            missing = as_pair(of_node(self._node, target)) if kind == "not-authorised" else None
            self._send(sender.node, Failure(request_id, kind, missing))

    def _answer(self, asker: Address, request_id: int, outcome: Answer | SendErrorKind) -> None:
        """Send the outcome of a request of another node's process."""
        if not request_id:
            return
        if not isinstance(outcome, Answer):
            self._send(asker.node, Failure(request_id, outcome, None))
            return
        source = Address.parse(outcome.source)
        handed = self._handed(self._router.find(source.process), asker, outcome.capabilities)
        mime, blob = (None, None) if outcome.blob is None else (outcome.blob.mime, outcome.blob.bytes)
        response = Response(
            request_id, str(source.process), outcome.body, outcome.metadata, mime, blob, handed
        )
        if self._send(asker.node, response) == "mailbox-full":
            self._send(asker.node, Failure(request_id, "mailbox-full", None))

    def _push(self, message: node_messages.Request, blob: LazyLoadBlob | None, sender: Address) -> bytes:
        """Push to a channel of this node, on behalf of the process that issued the capability for it."""
        try:
            ((name, fields),) = read_json(message.body).items()
            right = json.dumps({"channel": fields["channel_id"]}, separators=(",", ":"))
        except (ValueError, TypeError, AttributeError, KeyError):
            return b'{"Err": "MalformedRequest"}'
        ours = f"{self._node}@"
        signed = (*message.shown, *message.handed)
        of_channel = [each for each in signed if each.params == right and each.issuer.startswith(ours)]
        held = self._taken(of_channel[:_MOST_TRIED], str(sender), "presented by")
        if name != "WebSocketPush" or not held:
            return _NOT_FOUND
        owner = Address.parse(held[0].issuer)
        return self._router.http.request(owner, message.body, blob, lambda: 0) or _NOT_FOUND

    def _response(self, node: str, response: Response) -> None:
        self._check_size(node, response)
        source = Address(node, ProcessId.parse(response.source))
        asker = self._router.asker_of(node, response.id)
        if asker is None:
            self._late(node)
            return
        rights = self._given(response.handed, source, asker)
        payload = None if response.blob is None else LazyLoadBlob(response.mime, response.blob)
        answer = Answer(response.body, response.metadata, payload, str(source), tuple(rights))
        self._router.answered_by(node, response.id, answer)

    def _check_size(self, node: str, message: node_messages.Request | Response) -> None:
        """Apply the limits of local processes' messages."""
        parts = (message.body, message.metadata, message.mime, message.blob)
        sizes = [len(part) for part in parts if part is not None]
        if max(sizes) > self._router.message_bytes or sum(sizes) > 3 * self._router.message_bytes:
            raise _Unacceptable(f"{node} sent more than process.message_bytes")

    def _failure(self, node: str, failure: Failure) -> None:
        refusal: SendErrorKind | Capability = failure.kind
        if failure.missing is not None and failure.kind == "not-authorised":
            with suppress(BadCapability):
                refusal = Capability.read(*failure.missing)
        if not self._router.answered_by(node, failure.id, refusal):
            self._late(node)

    def _late(self, node: str) -> None:
        """Log a response to no pending request. Its capabilities are ignored."""
        text = f"a response of {node} came too late, or was not asked for"
        self._throttled_log.say(SOURCE, text, text)

    # --- incoming capabilities

    def _given(
        self, handed: Iterable[SignedCapability], sender: Address, process: ProcessId
    ) -> list[Capability]:
        """Valid capabilities that a remote process passes to a local one: those of its own node, signed for the
        receiver, and those of this node, signed for the sender.
        """
        receiver = self._router.find(process)
        here = f"{self._node}@{process}"
        found = []
        for each in handed:
            own = each.issuer.startswith(f"{self._node}@")
            taken = self._taken([each], str(sender) if own else here, "passed by")
            found += taken
            if taken and not own and receiver is not None:
                receiver.holdings.keep_signed(taken[0], each)
        return found

    def _taken(self, signed: Iterable[SignedCapability], holder: str, how: str) -> list[Capability]:
        found = []
        for each in signed:
            try:
                found.append(self._verified(each, holder))
            except BadSignature as error:
                node = holder.partition("@")[0]
                text = f"a capability {how} {holder} was dropped: {error}"
                self._throttled_log.say(SOURCE, f"{how} {node} {str(error).partition(':')[0]}", text)
        return found

    def _verified(self, signed: SignedCapability, holder: str) -> Capability:
        capability = self._own.known(signed, holder, self._clock())
        own = capability is not None
        if capability is None:
            capability = verify(signed, holder, self._issuer_key, self._clock())
            own = Address.parse(capability.issuer).node == self._node
            if own:
                self._own.add(signed, capability)
        if own and self._router.rights.is_void(capability, signed.expires - LONGEST_SECONDS):
            raise BadSignature("its issuer was uninstalled since then")
        return capability

    def _issuer_key(self, node: str) -> Ed25519PublicKey | None:
        return self._key.public_key() if node == self._node else self._key_of(node)


def _shown(sender: Sender, target: Address) -> tuple[SignedCapability, ...]:
    """Capabilities to present: the one to message the target; for an HTTP server, all of its node."""
    if not isinstance(sender, Process):
        return ()
    process, signed = canonical(target.process), sender.holdings.signed.items()
    if process == HTTP_SERVER:
        found = [each for capability, each in signed if Address.parse(capability.issuer).node == target.node]
    else:
        found = [each for capability, each in signed if capability == of_node(target.node, process)]
    return tuple(each for each in found[-MOST_IN_MESSAGE:] if isinstance(each, SignedCapability))

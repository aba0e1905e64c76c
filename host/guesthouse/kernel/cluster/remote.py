"""Other nodes: what processes here send there, and what comes from there, over a transport that nobody believes.

Everything leaves in envelopes that this node signs (`kernel/cluster/envelopes.py`). Capabilities that go with a message
are signed by the node that issued them, for the process that gets them (`kernel/capabilities/signed.py`): a process of
another node can hold one of this node's, show it here, and hand it to nobody else.

What the messages are stands in `kernel/cluster/node_messages.py`.

What a process of another node may do here:

- message a process that holds the capability `"network"` and is public, or whose `"messaging"` it shows;
- push to a channel whose process issued it `{"channel": ID}`, by a `WebSocketPush` to `http-server:distro:sys`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guesthouse.core.address import HTTP_SERVER, Address, ProcessId, canonical
from guesthouse.core.capabilities import MOST_IN_MESSAGE, BadCapability, Capability, of_node
from guesthouse.core.errors import BadAddress, BadProcessId
from guesthouse.core.json_text import read_json
from guesthouse.core.messages import LazyLoadBlob, Request, SendErrorKind
from guesthouse.core.ports import Answer, LogPort, Transport
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.capabilities.signed import (
    LONGEST_SECONDS,
    BadSignature,
    SignedCapability,
    sign,
    verify,
)
from guesthouse.kernel.cluster import node_messages
from guesthouse.kernel.cluster.arrivals import Arrivals
from guesthouse.kernel.cluster.envelopes import BadEnvelope, Envelopes
from guesthouse.kernel.cluster.node_messages import Failure, NodeMessage, Response
from guesthouse.kernel.messaging.sender import Sender, Unsent
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import as_pair, read_all
from guesthouse.link.to_node import Send

if TYPE_CHECKING:
    from guesthouse.kernel.messaging.router import Router

SOURCE: Final = "remote"
"""What lines in the log about other nodes are by."""

_NOT_FOUND: Final = b'{"Err": "WsChannelNotFound"}'
"""To the letter what the HTTP server answers for a channel that is not there: the two cannot be told apart."""
_MOST_TRIED: Final = 2
"""Signatures of one capability that are looked at in one message: a node shows one, and each costs a signature."""
KeyOf: TypeAlias = Callable[[str], Ed25519PublicKey | None]


class Remote:
    """The nodes that a transport reaches. `incoming` takes what comes from them; nothing in it raises or blocks.
    Needs a running event loop.

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
        self._envelopes = Envelopes(router.node, key, key_of, clock())
        self._transport = transport
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._clock = clock
        self._arrivals = Arrivals(self._hear)

    # --- what leaves

    def send(self, sender: Sender, sent: Send, target: Address, request_id: int) -> Unsent | None:
        """Send a request of a process of this node. Returns why it is not sent."""
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
        return self._tell(target.node, message)

    def _handed(
        self, sender: object, target: Address, capabilities: Iterable[Capability]
    ) -> tuple[SignedCapability, ...]:
        """What a process here hands to one there, signed; what nobody could verify is left out."""
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
                text = f"{capability} is not handed to {target}: it was given to one process alone"
                self._log.write(SOURCE, "warning", text)
        return tuple(found)

    def _tell(self, node: str, message: NodeMessage) -> Unsent | None:
        try:
            envelope = self._envelopes.close(message, node, self._clock())
        except BadEnvelope as error:
            self._log.write(SOURCE, "warning", f"a message for {node} is not sent: {error}")
            return "mailbox-full"
        return self._transport.send(node, envelope)

    # --- what comes

    def incoming(self, frame: bytes) -> Literal["full"] | None:
        """A frame of the transport, from whomever. What is not as a node sends it is dropped and logged.

        Returns "full" when too much waits already; whoever can holds this frame back, and it is dropped otherwise.
        """
        refusal = self._arrivals.add(frame)
        if refusal is not None:
            self._throttled_log.say(
                SOURCE, refusal, "messages of other nodes are not taken: too much of them waits"
            )
        return refusal

    def _hear(self, frame: bytes) -> None:
        try:
            node, message = self._envelopes.open(frame, self._clock())
            if isinstance(message, node_messages.Request):
                self._request(node, message)
            elif isinstance(message, Response):
                self._response(node, message)
            else:
                self._failure(node, message)
        except BadEnvelope as error:
            self._dropped("a message of another node was dropped", str(error))
        except (BadAddress, BadProcessId) as error:
            self._dropped(f"a message of {node} was dropped, which names nobody", f": {error}")

    def _dropped(self, what: str, why: str) -> None:
        """What a node sends without end is logged once a minute, whatever it puts into it."""
        self._throttled_log.say(
            SOURCE, f"{what} {why.partition(':')[0]}", f"{what}: {why.removeprefix(': ')}"
        )

    def _request(self, node: str, asked: node_messages.Request) -> None:
        self._check_size(node, asked)
        sender, target = (
            Address(node, ProcessId.parse(asked.source)),
            canonical(ProcessId.parse(asked.target)),
        )
        payload = None if asked.blob is None else LazyLoadBlob(asked.mime, asked.blob)
        answered = partial(self._answer, sender, asked.id)
        if target == HTTP_SERVER:
            body = self._push(asked, payload, sender)
            answered(Answer(body, source=f"{self._node}@{HTTP_SERVER}"))
            return
        refusal = self._refusal(target, asked.shown, sender)
        if refusal is None:
            expects = asked.expects_response if asked.id else None
            request = Request(asked.body, asked.inherit, expects, asked.metadata)
            given = self._given(asked.handed, sender, target)
            refusal = self._router.deliver(target, request, payload, answered, source=sender, rights=given)
        if refusal is not None:
            self._refuse(sender, asked.id, target, refusal)

    def _refusal(
        self, target: ProcessId, shown: Iterable[SignedCapability], sender: Address
    ) -> SendErrorKind | None:
        """Why a process of another node that shows these may not message one of this node."""
        receiver = self._router.find(target)
        if receiver is None:
            return "no-such-process"
        if not receiver.holdings.holds(self._router.rights.network):
            return "not-authorised"
        if receiver.public:
            return None
        right = of_node(self._node, target)
        of_target = [each for each in shown if (each.issuer, each.params) == as_pair(right)]
        held = self._taken(of_target[:_MOST_TRIED], str(sender), "shown by")
        return None if right in held else "not-authorised"

    def _refuse(self, sender: Address, request_id: int, target: ProcessId, kind: SendErrorKind) -> None:
        text = f"a request of {sender} to {target} was refused: {kind}"
        self._throttled_log.say(SOURCE, f"a request of {sender.node} was refused: {kind}", text)
        if request_id:
            missing = as_pair(of_node(self._node, target)) if kind == "not-authorised" else None
            self._tell(sender.node, Failure(request_id, kind, missing))

    def _answer(self, asker: Address, request_id: int, outcome: Answer | SendErrorKind) -> None:
        """What became of a request of another node's process."""
        if not request_id:
            return
        if not isinstance(outcome, Answer):
            self._tell(asker.node, Failure(request_id, outcome, None))
            return
        source = Address.parse(outcome.source)
        handed = self._handed(self._router.find(source.process), asker, outcome.capabilities)
        mime, blob = (None, None) if outcome.blob is None else (outcome.blob.mime, outcome.blob.bytes)
        response = Response(
            request_id, str(source.process), outcome.body, outcome.metadata, mime, blob, handed
        )
        if self._tell(asker.node, response) == "mailbox-full":
            self._tell(asker.node, Failure(request_id, "mailbox-full", None))

    def _push(self, asked: node_messages.Request, blob: LazyLoadBlob | None, sender: Address) -> bytes:
        """A push to a channel of this node, in the name of the process that gave the right to it."""
        try:
            ((name, fields),) = read_json(asked.body).items()
            right = json.dumps({"channel": fields["channel_id"]}, separators=(",", ":"))
        except (ValueError, TypeError, AttributeError, KeyError):
            return b'{"Err": "MalformedRequest"}'
        ours = f"{self._node}@"
        signed = (*asked.shown, *asked.handed)
        of_channel = [each for each in signed if each.params == right and each.issuer.startswith(ours)]
        held = self._taken(of_channel[:_MOST_TRIED], str(sender), "shown by")
        if name != "WebSocketPush" or not held:
            return _NOT_FOUND
        owner = Address.parse(held[0].issuer)
        return self._router.http.request(owner, asked.body, blob, lambda: 0) or _NOT_FOUND

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

    def _check_size(self, node: str, said: node_messages.Request | Response) -> None:
        """What a process of this node could not send, one of another node cannot either."""
        parts = (said.body, said.metadata, said.mime, said.blob)
        sizes = [len(part) for part in parts if part is not None]
        if max(sizes) > self._router.message_bytes or sum(sizes) > 3 * self._router.message_bytes:
            raise BadEnvelope(f"{node} sent more than process.message_bytes")

    def _failure(self, node: str, failure: Failure) -> None:
        refusal: SendErrorKind | Capability = failure.kind
        if failure.missing is not None and failure.kind == "not-authorised":
            with suppress(BadCapability):
                refusal = Capability.read(*failure.missing)
        if not self._router.answered_by(node, failure.id, refusal):
            self._late(node)

    def _late(self, node: str) -> None:
        """It answers what it was not asked, or was asked too long ago. What it hands over with it is not looked at."""
        text = f"an answer of {node} came too late, or was not asked for"
        self._throttled_log.say(SOURCE, text, text)

    # --- capabilities that come

    def _given(
        self, handed: Iterable[SignedCapability], sender: Address, process: ProcessId
    ) -> list[Capability]:
        """Capabilities that a process there hands to one here: those of its own node signed for the receiver, which can
        show them there; those of this node that the sender may show.
        """
        receiver = self._router.find(process)
        here = f"{self._node}@{process}"
        found = []
        for each in handed:
            own = each.issuer.startswith(f"{self._node}@")
            taken = self._taken([each], str(sender) if own else here, "handed over by")
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
        capability = verify(signed, holder, self._issuer_key, self._clock())
        own = Address.parse(capability.issuer).node == self._node
        if own and self._router.rights.is_void(capability, signed.expires - LONGEST_SECONDS):
            raise BadSignature("the package that gave it was uninstalled since")
        return capability

    def _issuer_key(self, node: str) -> Ed25519PublicKey | None:
        return self._key.public_key() if node == self._node else self._key_of(node)


def _shown(sender: Sender, target: Address) -> tuple[SignedCapability, ...]:
    """What a process's node shows for it: the right to message the target; for an HTTP server, all of that node."""
    if not isinstance(sender, Process):
        return ()
    process, signed = canonical(target.process), sender.holdings.signed.items()
    if process == HTTP_SERVER:
        found = [each for capability, each in signed if Address.parse(capability.issuer).node == target.node]
    else:
        found = [each for capability, each in signed if capability == of_node(target.node, process)]
    return tuple(each for each in found[-MOST_IN_MESSAGE:] if isinstance(each, SignedCapability))

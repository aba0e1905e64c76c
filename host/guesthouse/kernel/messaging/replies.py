"""What comes back to a sender: the response to what it sent, or what it sent itself, with the reason."""

from __future__ import annotations

from typing import TypeAlias

from guesthouse.core.capabilities import Capability
from guesthouse.core.messages import LazyLoadBlob, SendErrorKind
from guesthouse.core.messages import Response as Answer
from guesthouse.core.ports import LogPort
from guesthouse.kernel.messaging.sender import Sender, size_of
from guesthouse.kernel.storage.capability_store import as_pair
from guesthouse.link.schema import Rights
from guesthouse.link.to_node import Send
from guesthouse.link.to_worker import Response, SendFailure

Refusal: TypeAlias = SendErrorKind | Capability
"""Why a message does not reach anybody: a `send-error-kind`, or the capability that was missing."""


class Replies:
    """Hands back to senders. What has no room is logged."""

    def __init__(self, log: LogPort) -> None:
        self._log = log

    def answer(
        self,
        sender: Sender,
        sent: Send,
        source: str,
        answer: Answer,
        blob: LazyLoadBlob | None,
        rights: Rights = (),
    ) -> None:
        """Hand over the answer of a source to what was sent."""
        mime, payload = (None, None) if blob is None else (blob.mime, blob.bytes)
        size = len(answer.body) + len(payload or b"") + len(sent.context or b"") + len(answer.metadata or "")
        response = Response(
            0,
            source,
            answer.body,
            answer.inherit,
            answer.metadata,
            sent.context,
            mime,
            payload,
            sent.await_id,
            rights,
        )
        self._hand_back(sender, sent, response, size)

    def give_back(self, sender: Sender, sent: Send, refusal: Refusal) -> None:
        """Return what was sent, with the reason: a kind of failure, or the capability that was missing."""
        failure = SendFailure(
            0,
            "not-authorised" if isinstance(refusal, Capability) else refusal,
            sent.target,
            sent.body,
            sent.inherit,
            sent.expects_response,
            sent.metadata,
            sent.context,
            sent.mime,
            sent.blob,
            sent.await_id,
            sent.capabilities,
            as_pair(refusal) if isinstance(refusal, Capability) else None,
        )
        self._hand_back(sender, sent, failure, size_of(sent))

    def _hand_back(self, sender: Sender, sent: Send, message: Response | SendFailure, size: int) -> None:
        if sent.await_id:
            sender.answer_await(sent.handle, message, size)
        elif isinstance(message, SendFailure) and not sender.is_run(sent.handle):
            return  # another run knows nothing of what this one sent
        elif not sender.post_answer(message, size):
            what = "response" if isinstance(message, Response) else "send failure"
            self._log.write(
                str(sender.id),
                "error",
                f"a {what} for it is lost: its mailbox is twice over its limit, it sends and does not receive",
            )

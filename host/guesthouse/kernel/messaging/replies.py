"""Returns responses and send failures to senders."""

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
"""Why a message is not delivered: a `send-error-kind`, or the missing capability."""


class Replies:
    """Returns responses and send failures to senders; those without room are dropped and logged."""

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
        """Return the response of `source` to `sent`."""
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
        """Return a failed message to its sender, with the reason."""
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
            return  # sent by an earlier run
        elif not sender.post_answer(message, size):
            what = "response" if isinstance(message, Response) else "send failure"
            self._log.write(
                str(sender.id),
                "error",
                f"a {what} was dropped: its mailbox is twice over its limit, since it sends but does not receive",
            )

"""What comes back to a sender: the response to what it sent, or what it sent itself, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from guesthouse.capabilities import Capability
from guesthouse.kernel.kept_capabilities import as_pair
from guesthouse.kernel.mailbox import Operation
from guesthouse.kernel.sending import Sender, size_of
from guesthouse.link.ops import ToWorker
from guesthouse.message import SendErrorKind
from guesthouse.ports import LogPort

Refusal: TypeAlias = SendErrorKind | Capability
"""Why a message does not reach anybody: a `send-error-kind`, or the capability that was missing."""


class Returns:
    """Hands back to senders. What has no room is logged."""

    def __init__(self, log: LogPort) -> None:
        self._log = log

    def answer(
        self,
        sender: Sender,
        sent: Operation,
        source: str,
        response: list[Any],
        mime: str | None,
        blob: bytes | None,
        rights: Sequence[Any] = (),
    ) -> None:
        """Hand over the response `[body, inherit, metadata]` of a source to what was sent."""
        context, await_id = sent[7], sent[10]
        size = len(response[0]) + len(blob or b"") + len(context or b"") + len(response[2] or "")
        operation = [int(ToWorker.RESPONSE), 0, source, *response, context, mime, blob, await_id, *rights]
        self._hand_back(sender, sent, operation, size)

    def give_back(self, sender: Sender, sent: Operation, refusal: Refusal) -> None:
        """Return what was sent, with the reason: a kind of failure, or the capability that was missing."""
        operation = [int(ToWorker.SEND_FAILURE), 0, refusal, *sent[2:11], *sent[12:]]
        if isinstance(refusal, Capability):
            operation[2:] = ["not-authorised", *sent[2:11], *(sent[12:] or [[]]), as_pair(refusal)]
        self._hand_back(sender, sent, operation, size_of(sent))

    def _hand_back(self, sender: Sender, sent: Operation, operation: Operation, size: int) -> None:
        failed = operation[0] == ToWorker.SEND_FAILURE
        if sent[10]:
            sender.answer_await(sent[1], operation, size)
        elif failed and not sender.is_run(sent[1]):
            return  # another run knows nothing of what this one sent
        elif not sender.post_answer(operation, size):
            what = ToWorker(operation[0]).name.lower().replace("_", " ")
            self._log.write(
                str(sender.id),
                "error",
                f"a {what} for it is lost: its mailbox is twice over its limit, it sends and does not receive",
            )

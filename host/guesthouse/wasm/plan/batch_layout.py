"""The layout of a batch in the memory of its module (`batch_module.py`): offsets of little-endian 32-bit numbers.

The worker writes the first group anew for each batch, and the second once for each guest. Then come the messages,
each a head and its payload, and then what the guest sends. All begin at multiples of 4.
"""

from __future__ import annotations

from typing import Final

TABLE: Final = "answers"
"""The gate's table, and the module's import: a function for each call of `plan.ANSWERED`."""
MEMORY: Final = "batch"
"""The module's memory, of one page."""

UNREAD: Final = 0
"""How many messages the guest has not received."""
NEXT: Final = 4
"""The first of them."""
CURRENT: Final = 8
"""The message in hand; 0 if the batch does not have it."""
SENT_END: Final = 12
"""Where the next message that it sends goes."""
SENT_LIMIT: Final = 16
"""Where the room for those ends."""
CALLS: Final = 20
"""How many calls were answered."""
TAKEN: Final = 24
"""How many messages the guest has received."""
ALLOCATING: Final = 28
"""1 while the guest's allocator runs for an answer, which may be longer than the batch lives."""

MOST: Final = 32
"""Bytes of the longest payload that is noted here."""
COST: Final = 36
"""Credit that a message costs besides its payload."""
NODE_BYTES: Final = 40
NODE: Final = 44
"""The name of the node, of `NODE_BYTES` bytes."""
MESSAGES: Final = 304
"""Where the messages begin."""
MOST_NODE: Final = MESSAGES - NODE

CHANNEL: Final = 0
"""Of a message's head: its channel."""
KIND: Final = 4
"""0 for text, 1 for binary."""
SIZE: Final = 8
"""Bytes of its payload."""
CREDIT_AT: Final = 12
"""Where the credit of its channel is: in the head of the batch's first message of that channel."""
IS_TEXT: Final = 16
"""Whether its payload is UTF-8."""
CREDIT: Final = 20
"""The credit of its channel in bytes, if `CREDIT_AT` points here; negative for a channel that is gone."""
PAYLOAD: Final = 24
"""Where the payload begins."""

SENT: Final = 16
"""Of a message that the guest sends: bytes of its head, which are channel, kind, size, and `TAKEN` when it was sent."""

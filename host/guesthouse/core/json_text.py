"""Untrusted JSON, of clients, processes and other nodes. Pure.

Decoded JSON can take thirty times its size (empty lists), so each decoder has a limit
(the table of decoders in `docs/security.md`). Keys are strings, whose hashes are randomised, and Python refuses
integers of thousands of digits.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

MOST_BYTES: Final = 256 * 1024
"""Of a request to the node itself: fits twenty thousand channel ids."""
MOST_COMMAS: Final = 65_536
"""Anywhere in the text: bounds the number of elements, nesting aside."""


def is_text(text: str) -> bool:
    """Whether it can be encoded as UTF-8, which lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_json(text: bytes, most_bytes: int = MOST_BYTES, most_commas: int = MOST_COMMAS) -> Any:
    r"""Decode JSON in UTF-8, strictly by RFC 8259.

    Python's decoder also accepts NaN, UTF-16 and lone surrogates (`"\ud800"`), which cannot be encoded as
    UTF-8 again.

    Raises:
        ValueError: it is not, exceeds a limit, is nested too deeply, or has a number out of range.
    """
    if len(text) > most_bytes:
        raise ValueError(f"it is over {most_bytes} bytes")
    if text.count(b",") > most_commas:
        raise ValueError(f"it has more than {most_commas} parts")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

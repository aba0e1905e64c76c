"""JSON that comes from outside: clients, processes, other nodes. Pure.

Of a text of JSON thirty times its size can become in memory (empty lists), so each door says how much it reads
(the table of decoders in `docs/security.md`). Keys are texts, whose hashes nobody can choose, and Python refuses
integers of thousands of digits.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

MOST_BYTES: Final = 256 * 1024
"""Of a request to the node itself: it holds twenty thousand channel ids."""
MOST_COMMAS: Final = 65_536
"""In a text, wherever they stand: a value has as many parts at the most, beside those that nest."""


def is_text(text: str) -> bool:
    """Whether it has a UTF-8 form. Half a surrogate pair has none, as Python makes it of bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_json(text: bytes, most_bytes: int = MOST_BYTES, most_commas: int = MOST_COMMAS) -> Any:
    r"""Read JSON in UTF-8 to the letter of RFC 8259.

    Python's own reader also takes NaN, UTF-16 and half a surrogate pair (`"\ud800"`), which is a text that has no
    UTF-8 form: it could be neither sent on nor written down.

    Raises:
        ValueError: it is something else, over a limit, nested too deeply, or has a number that is out of range.
    """
    if len(text) > most_bytes:
        raise ValueError(f"it is over {most_bytes} bytes")
    if text.count(b",") > most_commas:
        raise ValueError(f"it has more than {most_commas} parts")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

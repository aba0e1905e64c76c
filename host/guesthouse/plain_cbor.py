"""CBOR of which nothing but plain values is taken: no tags, and so no large integers, dates or regular expressions."""

from __future__ import annotations

from typing import Any, Final

import cbor2

_MAX_TAG: Final = 0x110
FAULTS: Final = (ValueError, RecursionError, OverflowError, cbor2.CBORDecodeError)
"""What `loads` raises."""


def loads(data: bytes, max_depth: int) -> Any:
    """The value of CBOR that nests no deeper.

    Raises:
        ValueError: and the others of `FAULTS`: it is not CBOR, has a tag or is too deep.
    """
    return cbor2.loads(
        data,
        max_depth=max_depth,
        semantic_decoders=dict.fromkeys(range(_MAX_TAG), _refuse_tag),
        tag_hook=_refuse_tag,
        strict_hashable_types=True,
        allow_duplicate_keys=False,
    )


def _refuse_tag(*_: object) -> Any:
    raise ValueError("there are to be no tags")

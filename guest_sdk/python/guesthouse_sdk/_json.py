"""JSON as the SDK reads and writes it."""

from __future__ import annotations

import json
from typing import Any

from guesthouse_sdk.errors import BadJson
from guesthouse_sdk.typed import encodable, parsed


def written(value: object) -> str:
    """JSON without spaces. A dataclass becomes an object with its tag in the field `type`, as `typed.Decoder`
    reads it.

    Raises:
        TypeError: JSON cannot express the value.
        ValueError: it has NaN, an infinity or itself in it.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=encodable)


def read(text: str | bytes, error: type[BadJson] = BadJson) -> Any:
    """What JSON says.

    Raises:
        BadJson: it is none, has NaN or a number that is too large, or is nested too deeply.
    """
    try:
        return parsed(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"that is not JSON: {problem}") from None

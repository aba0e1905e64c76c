"""Keeps deeply nested JSON from ending the process.

In a component the JSON parser's recursion overflows the WebAssembly stack, a trap, long before Python
would raise RecursionError: a client could end any process with `[[[[…`. So the depth is checked first.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 500
"""Nested arrays and objects. A stack of 512 KiB fits more than 1000."""

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)
_parse = json.JSONDecoder.raw_decode


def install() -> None:
    """Check the depth before all parsing by `json`."""
    json.JSONDecoder.raw_decode = _guarded  # type: ignore[method-assign]


def check_depth(text: str) -> None:
    """Check the depth of JSON text.

    Raises:
        RecursionError: it is nested deeper than `MAX_DEPTH`.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise RecursionError(f"JSON is nested deeper than {MAX_DEPTH}")
        elif match[0] in "]}":
            depth -= 1


def _guarded(self: json.JSONDecoder, s: str, idx: int = 0) -> tuple[Any, int]:
    check_depth(s)
    return _parse(self, s, idx)

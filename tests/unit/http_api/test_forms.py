"""The forms that the OpenAPI document is made of are as strict as the node."""

from __future__ import annotations

from contextlib import suppress

import pytest
from msgspec import ValidationError, convert

from guesthouse.core.address import ProcessId
from guesthouse.core.errors import BadProcessId
from guesthouse.http_api.forms import ProcessName


@pytest.mark.parametrize(
    "part", ["a", "a.b", "a-", "a_", "a~", "9", "a.", ".a", "-a", "", "a b", "ä", "a" * 128, "a" * 129, "a/b"]
)
@pytest.mark.parametrize("place", range(3))
def test_a_name_that_the_document_allows_is_one_for_the_node(part: str, place: int) -> None:
    name = ":".join(part if number == place else "x" for number in range(3))
    allowed = known = False
    with suppress(ValidationError):
        allowed = bool(convert(name, ProcessName))
    with suppress(BadProcessId):
        known = bool(ProcessId.parse(name))
    assert allowed == known

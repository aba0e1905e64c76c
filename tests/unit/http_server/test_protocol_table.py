"""The table of the protocol is whole: it is held against the code, the contract, the documentation and the tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.wit import Composite, read_wit

from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_server.api.json_api import _ACTIONS, _BIND_ERRORS, _Asked
from guesthouse.http_server.api.port import PushProblem

from .conftest import CHAT, House
from .protocol_table import ACTIONS, ANSWERS, CLIENTS, EVENTS, REFUSALS, Action

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/protocol.md").read_text()
HTTP_SERVER = "guesthouse:process/http-server@0.1.0"
WIT = read_wit(ROOT / "wit").interfaces[HTTP_SERVER]
ERROR_TYPES = ("push-error", "bind-error", "close-error")
NO_REQUESTS = {"send-http-response", "channel-claims", "http-request-claims"}
"""Calls for what is in JSON a response, or in an event."""
OF_JSON_ALONE = {"MalformedRequest", "NoBlob", "InvalidSourceProcess"}

CONTENT = {
    "channel_id": 7,
    "channel_ids": [7],
    "message_type": "Text",
    "desired_reply_type": "Request",
    "path": "/x",
    "policy": "wait",
}
"""What is enough for any action."""


class Noting(dict[str, Any]):
    """Notes which of its fields were asked for."""

    def __init__(self) -> None:
        super().__init__(CONTENT)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def named_tests() -> Iterator[str]:
    """All tests that the table names."""
    for row in (*ACTIONS, *EVENTS, *REFUSALS):
        yield from row.typed
        yield from row.json
    for line in (*ANSWERS, *CLIENTS):
        yield from line.tests


def cases_of(name: str) -> list[str]:
    """The cases of an error of the contract."""
    error = WIT.types[name]
    assert isinstance(error, Composite)
    return [case for case, _ in error.parts]


def test_every_action_of_the_code_is_listed_and_no_other() -> None:
    assert [action.name for action in ACTIONS] == list(dict.fromkeys(action.name for action in ACTIONS))
    assert {action.name for action in ACTIONS} == set(_ACTIONS)


@pytest.mark.parametrize("action", ACTIONS, ids=[action.name for action in ACTIONS])
async def test_an_action_reads_the_fields_that_are_listed_and_no_others(house: House, action: Action) -> None:
    content = Noting()
    value: Any = content if action.fields else 7
    try:
        _ACTIONS[action.name](_Asked(house.server, CHAT, value, LazyLoadBlob(None, b"x"), lambda: 0))
    except Exception as error:
        assert str(error) in {"WsChannelNotFound", "NoUi"}  # noqa: PT017 - what else stops it is the test's fault
    assert content.asked == set(action.fields)


def test_every_call_and_every_refusal_of_the_contract_is_listed_and_no_other() -> None:
    functions = {function for action in ACTIONS for function in action.wit} | NO_REQUESTS
    assert functions == set(WIT.functions)
    cases = {f"{name}.{case}" for name in ERROR_TYPES for case in cases_of(name)}
    assert {refusal.wit for refusal in REFUSALS} - {None} == cases


def test_every_error_in_json_is_listed_and_no_other() -> None:
    known = {*PushProblem, *_BIND_ERRORS.values(), *OF_JSON_ALONE}
    assert {refusal.json_name for refusal in REFUSALS} - {None} == known


def test_every_line_has_a_test_in_both_forms_or_says_why_one_cannot_be() -> None:
    for row in (*ACTIONS, *EVENTS):
        assert row.typed, row.name
        assert row.json, row.name
    for refusal in REFUSALS:
        assert refusal.typed or (refusal.wit is None and refusal.alone), refusal
        assert refusal.json or (refusal.json_name is None and refusal.alone), refusal
    assert all(line.tests for line in (*ANSWERS, *CLIENTS))


@pytest.mark.slow
def test_every_test_that_is_named_is_there(request: pytest.FixtureRequest) -> None:
    named = set(named_tests())
    there: set[str] = set()
    for file in {test.partition("::")[0] for test in named}:
        module: pytest.Module = pytest.Module.from_parent(request.session, path=ROOT / file)
        there |= {f"{file}::{test.name}" for test in module.collect()}
    there |= {test.partition("[")[0] for test in there}
    assert named - there == set()


@pytest.mark.parametrize("action", ACTIONS, ids=[action.name for action in ACTIONS])
def test_the_documentation_has_every_action_with_its_fields_and_calls(action: Action) -> None:
    (row,) = re.findall(rf'^\| `{{"{action.name}": .*$', _sent(), re.MULTILINE)
    assert [field for field in action.fields if f'"{field}"' not in row and field not in _ELSEWHERE] == []
    calls = " ".join(f"`{call}`" for call in action.wit)
    assert f"| `{action.name}` | {calls} |" in DOCUMENT


def test_the_documentation_has_every_refusal_in_both_forms() -> None:
    assert [
        refusal for refusal in REFUSALS if refusal.json_name and f"`{refusal.json_name}`" not in DOCUMENT
    ] == []
    for refusal in REFUSALS:
        in_json, typed = _cell(refusal.json_name), _cell(refusal.wit)
        assert f"| {in_json} | {typed} |" in DOCUMENT, refusal


_ELSEWHERE = {"encrypted", "authenticated", "local_only"}
"""Fields that are said of all actions that have them, below the table, or that older guests alone give."""


def _sent() -> str:
    """The part of the documentation that has what a process sends."""
    return DOCUMENT.partition("## What the process sends")[2].partition("\n## ")[0]


def _cell(name: str | None) -> str:
    return "" if name is None else f"`{name}`"

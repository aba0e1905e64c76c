"""schemathesis asks a real node what its OpenAPI document allows, and what not, with keys of each role and without."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeAlias

import hypothesis
import pytest
import schemathesis
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth
from tests.examples import examples

from guesthouse.http_api.api_keys import Role
from guesthouse.http_api.catalogue import OPERATIONS

from .api import SERVED, api_url, key, service
from .conftest import StartNode

pytestmark = pytest.mark.asyncio(loop_scope="module")

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
ROLES: Final = {operation.name: operation.role for operation in OPERATIONS}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("role", [None, *Role])
async def test_each_operation_does_what_the_document_says(
    shared: StartNode, role: Role | None, mode: GenerationMode
) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await api_url(daemon)
    headers = {}
    if role is not None:
        headers["Authorization"] = f"Bearer {await key(daemon, role, name=f'{role}-{mode.value}')}"
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    seen = await asyncio.to_thread(_ask_all, schema, role, headers, mode)
    assert seen == set(ROLES)


def _ask_all(
    schema: schemathesis.BaseSchema, role: Role | None, headers: dict[str, str], mode: GenerationMode
) -> set[str]:
    """Ask for each operation; returns their names."""
    seen = set()
    for found in schema.get_all_operations():
        operation: Operation = found.ok()  # type: ignore[union-attr] # it is valid
        name = operation.definition.raw["operationId"]
        seen.add(name)
        nothing = not (operation.path_parameters or operation.query or operation.body)
        if mode is GenerationMode.POSITIVE or not nothing:
            _ask(operation, _refusal(role, ROLES[name]), headers, mode)
    return seen


def _refusal(role: Role | None, needed: Role) -> int | None:
    """The status for who has no key, or one that may not."""
    if role is None:
        return 401
    return None if role.covers(needed) else 403


def _ask(
    operation: APIOperation[Any, Any, Any, Any],
    refusal: int | None,
    headers: dict[str, str],
    mode: GenerationMode,
) -> None:
    @hypothesis.seed(1)
    @hypothesis.settings(
        max_examples=examples(5),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        if isinstance(case.body, dict):
            case.body = {name: _plain(value) for name, value in case.body.items()}
        # Without keys this test asks itself; who shows wrong ones again and again gets 429.
        response = case.call_and_validate(headers=headers, excluded_checks=[ignored_auth])
        keyless = (401, 429) if refusal == 401 else (401,) if mode is GenerationMode.NEGATIVE else ()
        if response.status_code not in keyless:  # some that are not valid come without the key
            assert refusal is None or response.status_code in (refusal, 404, 405)
            assert refusal is not None or response.status_code not in (401, 403)

    ask()


def _plain(value: Any) -> Any:
    """1.0 is an integer to JSON Schema, and none to most programs."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def test_the_document_is_for_all_and_names_every_operation(shared: StartNode) -> None:
    async with service(await api_url(await shared("echo-c", settings=SERVED))) as api:
        answer = await api.get("/openapi.json")
        document: dict[str, Any] = answer.json()
        assert (answer.status_code, document["openapi"]) == (200, "3.1.0")
        named = {item["operationId"] for path in document["paths"].values() for item in path.values()}
        assert named == set(ROLES)
        assert (await api.post("/openapi.json")).headers["allow"] == "GET, HEAD"

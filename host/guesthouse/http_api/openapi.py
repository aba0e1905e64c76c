"""The API's OpenAPI 3.1 document, generated from the table of operations and their types. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from msgspec import Struct
from msgspec.json import encode, schema_components

from guesthouse import __version__
from guesthouse.http_api.catalogue import OPERATIONS, PREFIX, Operation
from guesthouse.http_api.problems import PROBLEM_TYPE, Problem

DOCUMENT_PATH: Final = f"{PREFIX}/openapi.json"
_REFERENCE: Final = "#/components/schemas/"
_PROBLEMS: Final = {
    "400": "The request is not valid",
    "401": "No valid key was sent",
    "403": "The key does not allow it, or a page in a browser asked",
    "404": "There is no such process, channel or token",
    "429": "Too many keys of this address were refused",
}


@cache
def document() -> bytes:
    """The document as JSON."""
    types = {kind for operation in OPERATIONS for kind in _types(operation)} | {Problem}
    in_order = sorted(types, key=lambda kind: kind.__name__)
    _, components = schema_components(in_order, ref_template=_REFERENCE + "{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        item = paths.setdefault(PREFIX + operation.path, {})
        item[operation.method.lower()] = _described(operation, components)
    asked = {
        kind.__name__ for operation in OPERATIONS if not operation.has_body for kind in (operation.rest,)
    }
    asked |= {operation.at.__name__ for operation in OPERATIONS}
    schemas = {name: schema for name, schema in components.items() if name not in asked}
    return encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Guesthouse",
                "version": __version__,
                "description": "A node's API for services. Errors are problem details (RFC 9457).",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A key of `guesthouse api-key create`",
                    }
                },
            },
        }
    )


def _types(operation: Operation) -> list[type[Struct]]:
    given = [] if operation.gives is None else [operation.gives]
    return [operation.at, operation.rest, *given]


def _described(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    in_path = _parameters(operation.at, components, "path")
    query = [] if operation.method == "POST" else _parameters(operation.rest, components, "query")
    answer: dict[str, Any] = {"description": "Done"}
    if operation.gives is not None:
        answer["content"] = {"application/json": {"schema": _reference(operation.gives)}}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Takes a key with the role `{operation.role}` or a higher one.",
        "parameters": [*in_path, *query],
        "responses": {
            str(operation.status): answer,
            **{
                status: _problem(text)
                for status, text in _PROBLEMS.items()
                if status != "404" or "{" in operation.path
            },
            "default": _problem("Anything else"),
        },
    }
    if operation.has_body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(operation.rest)}},
        }
    return described


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {PROBLEM_TYPE: {"schema": _reference(Problem)}}}


def _parameters(kind: type[Struct], components: dict[str, Any], place: str) -> list[dict[str, Any]]:
    schema = components.get(kind.__name__, {})
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": place, "required": name in required or place == "path", "schema": inner}
        for name, inner in schema.get("properties", {}).items()
    ]


def _reference(kind: type[Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE + kind.__name__}

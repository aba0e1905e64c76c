"""A JSON schema of `guesthouse.toml`, for editors, made from the settings and their descriptions."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from guesthouse.core import config
from guesthouse.core.settings.setting_values import ANY_TEXT, CHOICES, FORMS, bounds

_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""What editors of TOML read."""


def schema() -> dict[str, Any]:
    """The schema."""
    described = dict(_descriptions())
    defaults = config.Settings()
    top: dict[str, Any] = {}
    for name, kind in config.setting_kinds().items():
        if name == "home":
            continue
        section, _, last = name.rpartition(".")
        default = getattr(getattr(defaults, section) if section else defaults, last)
        where = top
        if section:
            title = type(getattr(defaults, section)).__name__
            made = {"type": "object", "additionalProperties": False, "properties": {}}
            where = top.setdefault(section, {**made, "description": described.get(title, "")})["properties"]
        owner = type(getattr(defaults, section)).__name__ if section else "Settings"
        where[last] = _property(name, kind, default, described.get(f"{owner}.{last}", ""))
    return {
        "$schema": _DIALECT,
        "title": "Settings of a Guesthouse node",
        "type": "object",
        "additionalProperties": False,
        "properties": top,
    }


def plain(value: Any) -> Any:
    """A setting's value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _property(name: str, kind: Any, default: Any, description: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if kind is bool:
        made["type"] = "boolean"
    elif kind in (int, float):
        least, most = bounds(name, kind)
        made |= {"type": "integer" if kind is int else "number", "minimum": least, "maximum": most}
    elif kind is str:
        made |= {"type": "string", "minLength": 1}
    else:
        form, words = FORMS.get(name, ANY_TEXT)
        items = {"type": "string"} if form == ANY_TEXT[0] else {"type": "string", "pattern": f"^({form})$"}
        made |= {"type": "array", "items": {**items, "description": words}}
    if name in CHOICES:
        made["enum"] = list(CHOICES[name])
    if description:
        made["description"] = description
    if default is not None:
        made["default"] = plain(default)
    return made


def _descriptions() -> Iterator[tuple[str, str]]:
    """Docstrings of the classes of settings, and those below their fields, as `Class.field`."""
    for node in ast.parse(inspect.getsource(config)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        kind = vars(config)[node.name]
        if not issubclass(kind, Struct):
            continue
        yield node.name, " ".join((ast.get_docstring(node) or "").split())
        for field, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _text(after)
                if text:
                    yield f"{node.name}.{field.target.id}", text


def _text(node: ast.stmt) -> str:
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return " ".join(node.value.value.split())
    return ""


def flat(settings: config.Settings) -> Mapping[str, Any]:
    """The values of all settings by name, such as `http.port`; without the home."""
    values: dict[str, Any] = {}
    for name in config.setting_kinds():
        section, _, last = name.rpartition(".")
        values[name] = getattr(getattr(settings, section) if section else settings, last)
    values.pop("home")
    return values

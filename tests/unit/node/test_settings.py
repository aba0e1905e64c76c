"""The JSON schema of settings says what `load_settings` takes; `guesthouse config` says what holds, and why."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from guesthouse.core.config import Settings, faults_in, given_settings, load_settings, setting_kinds
from guesthouse.core.errors import BadNodeName, BadSetting
from guesthouse.core.settings.setting_values import CHOICES, FORMS
from guesthouse.node.settings.settings_listing import listed_settings
from guesthouse.node.settings.settings_schema import flat, schema

SCHEMA = schema()
NAMES = sorted(set(setting_kinds()) - {"home"})


def property_of(name: str) -> Any:
    section, _, last = name.rpartition(".")
    where = SCHEMA["properties"][section] if section else SCHEMA
    assert where["additionalProperties"] is False
    return where["properties"][last]


def toml(name: str, value: Any) -> str:
    section, _, last = name.rpartition(".")
    return (f"[{section}]\n" if section else "") + f"{last} = {json.dumps(value)}\n"


def taken(tmp_path: Path, name: str, value: Any) -> bool:
    (tmp_path / "guesthouse.toml").write_text(toml(name, value))
    try:
        load_settings(str(tmp_path), environment={})
    except (BadSetting, BadNodeName):
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_schema_has_each_setting_and_its_bounds(tmp_path: Path, name: str) -> None:
    of = property_of(name)
    if of["type"] in ("integer", "number"):
        step = 1 if of["type"] == "integer" else 0.0005
        for value, fits in ((of["minimum"], True), (of["minimum"] - step, False), (of["maximum"], True)):
            assert taken(tmp_path, name, value) is fits, value
        assert not taken(tmp_path, name, of["maximum"] * 2 + 1)
        assert not taken(tmp_path, name, "1")
    elif of["type"] == "boolean":
        assert taken(tmp_path, name, False)
        assert not taken(tmp_path, name, 1)
    elif of["type"] == "string":
        assert of["minLength"] == 1
        assert not taken(tmp_path, name, "")
        assert all(
            taken(tmp_path, name, value) for value in of.get("enum", ["a"] if name != "node" else ["a.os"])
        )
        assert ("enum" in of) == (name in CHOICES)
    else:
        assert ("pattern" in of["items"]) == (name in FORMS)
        assert taken(tmp_path, name, [])


def test_the_schema_has_no_other_and_each_default_and_description_is_that_of_the_code() -> None:
    sections = {name for name, of in SCHEMA["properties"].items() if of["type"] == "object"}
    listed = [name for name in SCHEMA["properties"] if name not in sections]
    listed += [
        f"{section}.{name}" for section in sections for name in SCHEMA["properties"][section]["properties"]
    ]
    assert sorted(listed) == NAMES
    defaults = flat(Settings())
    for name in NAMES:
        default = defaults[name]
        assert property_of(name).get("default") == (list(default) if isinstance(default, tuple) else default)
    assert property_of("workers")["description"].startswith("Worker subprocesses; 0 means")
    assert SCHEMA["properties"]["http"]["description"].startswith("`[http]`")


def test_a_pattern_takes_what_the_node_takes(tmp_path: Path) -> None:
    for name, values in (
        ("http.hosts", ["*", "a.example", "a b"]),
        ("http.page_sources", ["https://a.example", "a"]),
    ):
        pattern = property_of(name)["items"]["pattern"]
        for value in values:
            assert (re.search(pattern, value) is not None) == taken(tmp_path, name, [value])


def test_each_setting_is_listed_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "guesthouse.toml").write_text("workers = 2\n[http]\nport = 1\nhost = 'a.example'\n")
    environment = {"GUESTHOUSE_HTTP_PORT": "2", "GUESTHOUSE_NODE": "n.os"}
    given = given_settings(str(tmp_path), {"http.port": 3, "dev": None}, environment)
    settings = load_settings(str(tmp_path), {"http.port": 3, "dev": None}, environment)
    items = {item["setting"]: item for item in listed_settings(settings, given)}
    assert sorted(items) == NAMES
    file = str(tmp_path / "guesthouse.toml")
    for name, value, source, place in (
        ("http.port", 3, "flag", "--port"),
        ("node", "n.os", "environment", "GUESTHOUSE_NODE"),
        ("http.host", "a.example", "file", file),
        ("dev", False, "default", ""),
        ("http.hosts", [], "default", ""),
    ):
        assert items[name] == {"setting": name, "value": value, "source": source, "place": place}


def test_a_value_that_was_not_taken_up_is_listed_beside_the_one_that_holds(tmp_path: Path) -> None:
    settings = load_settings(str(tmp_path), environment={})
    (tmp_path / "guesthouse.toml").write_text("workers = 2\n")
    items = {
        item["setting"]: item for item in listed_settings(settings, given_settings(str(tmp_path), {}, {}))
    }
    assert (items["workers"]["value"], items["workers"]["next"]) == (0, 2)
    assert "next" not in items["node"]


def test_all_faults_of_a_file_are_found(tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text("nod = 'a.os'\nworkers = -1\nnode = 'no name!'\n[http]\nport = 'x'\nhost = 'fine'\n")
    faults = faults_in(path)
    assert len(faults) == 4
    for fault, words in zip(
        faults, ("did you mean node", "workers must be from", "node", "http.port"), strict=True
    ):
        assert words in fault
    path.write_text("workers = 1")
    assert faults_in(path) == []
    with pytest.raises(BadSetting, match="is not there"):
        faults_in(tmp_path / "none")

"""Manifests request and grant capabilities, in either form, and nothing that names none."""

from __future__ import annotations

import pytest

from guesthouse.core.address import ProcessId
from guesthouse.package.errors import PackageError
from guesthouse.package.format.manifest import MAX_RIGHTS, ProcessEntry, parse_manifest

HEAD = """
[package]
name = "p"
publisher = "a.os"
version = "1"
[[process]]
name = "p"
wasm = "p.wasm"
"""


def entry(lines: str) -> ProcessEntry:
    (process,) = parse_manifest((HEAD + lines).encode(), "package.toml").processes
    return process


def test_a_plain_name_means_messaging_and_older_names_of_modules_the_same() -> None:
    read = entry('request-capabilities = ["vfs:sys:nectar", "x:y:z.os"]\ngrant-capabilities = ["g:h:i.os"]')
    assert read.requests == (
        (ProcessId("vfs", "distro", "sys"), '"messaging"'),
        (ProcessId("x", "y", "z.os"), '"messaging"'),
    )
    assert read.grants == ((ProcessId("g", "h", "i.os"), '"messaging"'),)


def test_params_are_any_json_in_one_form() -> None:
    read = entry('request-capabilities = [{ process = "state:distro:sys", params = { b = 1, a = [true] } }]')
    assert read.requests == ((ProcessId("state", "distro", "sys"), '{"a":[true],"b":1}'),)


def test_without_a_word_of_them_there_are_none() -> None:
    assert (entry("").requests, entry("").grants) == ((), ())


@pytest.mark.parametrize(
    "value",
    [
        '"kv:distro:sys"',
        '["kv"]',
        "[5]",
        "[[]]",
        '[{ process = "kv:distro:sys" }]',
        '[{ process = "kv:distro:sys", params = 1, more = 2 }]',
        "[{ process = 5, params = 1 }]",
        '[{ process = "kv:distro:sys", params = 1979-05-27 }]',
        '[{ process = "kv:distro:sys", params = nan }]',
        f'[{{ process = "kv:distro:sys", params = "{"x" * 2000}" }}]',
        "[" + "'k:d:s'," * (MAX_RIGHTS + 1) + "]",
    ],
)
def test_what_names_no_capability_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(
        PackageError, match=r"'request-capabilities' in \[\[process\]\] number 1 is not a list"
    ):
        entry(f"request-capabilities = {value}")

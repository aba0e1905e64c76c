from __future__ import annotations

import string
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.core.address import (
    HTTP_SERVER,
    MAX_NAME_LENGTH,
    Address,
    ProcessId,
    canonical,
    parse_node_name,
)
from guesthouse.core.errors import BadAddress, BadNodeName, BadProcessId

_FIRST: Final = string.ascii_letters + string.digits
_INNER: Final = _FIRST + "._~-"
_LAST: Final = _FIRST + "_~-"

names: Final = st.builds(
    lambda first, inner, last: first + inner + last,
    st.sampled_from(_FIRST),
    st.text(_INNER, max_size=MAX_NAME_LENGTH - 2),
    st.sampled_from(["", *_LAST]),
).filter(lambda name: not name.endswith("."))
process_ids: Final = st.builds(ProcessId, names, names, names)
addresses: Final = st.builds(Address, names, process_ids)


@pytest.mark.slow
@given(process_ids)
def test_a_process_id_reads_back_as_it_is_written(process: ProcessId) -> None:
    assert ProcessId.parse(str(process)) == process
    assert str(process).startswith(process.process_name + ":")
    assert str(process).endswith(":" + process.package_id)


@given(addresses)
def test_an_address_reads_back_as_it_is_written(address: Address) -> None:
    assert Address.parse(str(address)) == address


@given(names)
def test_a_name_is_safe_wherever_it_is_put(name: str) -> None:
    assert parse_node_name(name) == name
    assert quote(name, safe="") == name
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/\\ :@;,\"'%&?#=<>\0")
    assert not name.startswith((".", "-"))
    assert name not in (".", "..")


def assert_one_line_for_people(message: str) -> None:
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 800


@pytest.mark.slow
@given(st.text(max_size=60))
def test_any_text_is_a_process_id_or_one_line_that_says_why_not(text: str) -> None:
    try:
        assert str(ProcessId.parse(text)) == text
    except BadProcessId as refusal:
        assert_one_line_for_people(str(refusal))


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_one_line_that_says_why_not(text: str) -> None:
    try:
        assert str(Address.parse(text)) == text
    except BadAddress as refusal:
        assert_one_line_for_people(str(refusal))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "::",
        "a:b",
        "a:b:",
        ":b:c",
        "a::c",
        "a:b:c:d",
        "a:b:c\n",
        " a:b:c",
        "a:b:c ",
        "a/b:c:d",
        "../a:b:c",
        "..:b:c",
        ".:b:c",
        ".a:b:c",
        "a.:b:c",
        "-a:b:c",
        "_a:b:c",
        "a:b:c\0",
        "a:b%20:c",
        "a:b:ç",
        "a:b:c\u202e",
        "n@a:b:c",
        "\N{FULLWIDTH LATIN SMALL LETTER A}:b:c",
        "\N{ARABIC-INDIC DIGIT ONE}:b:c",
        "a" * (MAX_NAME_LENGTH + 1) + ":b:c",
        "a:b:" + "c" * 100_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_text_that_names_no_process_is_refused(text: str) -> None:
    with pytest.raises(BadProcessId):
        ProcessId.parse(text)
    with pytest.raises(BadAddress):
        Address.parse(f"n.os@{text}")


def test_a_name_may_have_so_many_characters_and_no_more() -> None:
    for length in (1, 2, MAX_NAME_LENGTH - 1, MAX_NAME_LENGTH):
        assert parse_node_name("a" * length) == "a" * length
    with pytest.raises(BadNodeName, match=f"at most {MAX_NAME_LENGTH} characters"):
        parse_node_name("a" * (MAX_NAME_LENGTH + 1))


@pytest.mark.parametrize(
    "text", ["a:b:c", "", "@", "n@", "@a:b:c", "n@@a:b:c", "n@a:b", "n m@a:b:c", "n@n@a:b:c"]
)
def test_text_without_a_node_or_a_process_is_no_address(text: str) -> None:
    with pytest.raises(BadAddress):
        Address.parse(text)


def test_a_bad_address_says_what_an_address_is() -> None:
    with pytest.raises(BadAddress, match="write node@process:package:publisher"):
        Address.parse("chat")


def test_older_names_of_the_http_server_mean_it() -> None:
    for older in ("http_server:distro:sys", "http-server:distro:sys", "http_server:sys:nectar"):
        assert canonical(ProcessId.parse(older)) == HTTP_SERVER
    chat = ProcessId.parse("chat:chat:guesthouse.os")
    assert canonical(chat) is chat


@pytest.mark.parametrize(
    "module", ["vfs", "timer", "state", "kernel", "net", "terminal", "kv", "http-client"]
)
def test_older_names_of_the_other_runtime_modules_mean_them(module: str) -> None:
    written = ProcessId(module, "distro", "sys")
    for older in (f"{module}:sys:nectar", f"{module.replace('-', '_')}:distro:sys"):
        assert canonical(ProcessId.parse(older)) == written
    for other in (f"{module}:distro:nectar", f"{module}:sys:sys", f"{module}:distro:sys.os"):
        assert canonical(ProcessId.parse(other)) == ProcessId.parse(other)

"""What a program on the machine may say of the request that it sends a process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import CHAT, House

RPC = "/rpc:distro:sys/message"
WHOLE: dict[str, Any] = {
    "process": str(CHAT),
    "node": None,
    "body": "text",
    "data": "eA==",
    "mime": "text/plain",
    "metadata": "{}",
    "inherit": False,
    "expects_response": None,
    "context": None,
}
"""Each field that there is."""


async def status_of(house: House, content: bytes) -> int:
    headers = {**house.local, "content-type": "application/json"}
    async with house.http() as client:
        return (await client.post(RPC, content=content, headers=headers)).status_code


def with_escape(name: str, escape: str) -> bytes:
    """All fields as JSON, with this in one."""
    return json.dumps({**WHOLE, name: "HERE"}).replace("HERE", escape).encode()


@pytest.mark.slow
@pytest.mark.parametrize("half", [r"\ud800", r"\udfff", r"\ud83d", r"x\udc00\ud800y"])
@pytest.mark.parametrize("name", WHOLE)
async def test_half_a_surrogate_pair_is_a_bad_request_in_any_field(
    house: House, name: str, half: str
) -> None:
    assert await status_of(house, with_escape(name, half)) == 400
    assert house.router.requests.empty()


@pytest.mark.parametrize(
    "content",
    [rb'{"\ud800": 1}', rb'["\ud800"]', rb'{"body": [{"a": "\udc00"}]}', b'{"body": "\xed\xa0\x80"}'],
)
async def test_half_a_surrogate_pair_is_one_wherever_it_stands(house: House, content: bytes) -> None:
    assert await status_of(house, content) == 400
    assert house.router.requests.empty()


@pytest.mark.parametrize("name", ["body", "mime", "metadata"])
async def test_both_halves_are_a_character(house: House, name: str) -> None:
    assert await status_of(house, with_escape(name, r"\ud83d\ude00")) == 200
    target, request, blob, *_ = house.router.requests.get_nowait()
    said = {"body": request.body.decode(), "metadata": request.metadata, "mime": blob and blob.mime}
    assert (target, said[name]) == (CHAT, "😀")


async def test_a_media_type_is_no_longer_than_the_node_tells_processes_of(house: House) -> None:
    assert await status_of(house, with_escape("mime", "x" * 65_536)) == 200
    assert await status_of(house, with_escape("mime", "x" * 65_537)) == 400

"""A component that another tool chain made for the Kinode OS, with all that such a one imports besides."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY

from .clients import SECONDS
from .conftest import StartNode
from .kinode_guests import ERAS, build_python

pytestmark = pytest.mark.thorough

APP = Path(__file__).parent / "guests/kinode-python/app.py"


async def test_a_component_of_another_tool_chain_runs_as_it_is(start: StartNode, tmp_path: Path) -> None:
    built = build_python(ERAS[0], APP, tmp_path / "app.wasm")
    node = await start(f"visits:visits:test.os={built}")
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, trust_env=False, timeout=SECONDS, base_url=node.url
    ) as client:
        first = (await client.get("/visits:visits:test.os/visits")).json()
        second = (await client.post("/visits:visits:test.os/visits", content="hello")).json()
    assert (first["visits"], first["body"]) == (1, "")
    assert (second["visits"], second["body"]) == (2, "hello")
    assert second["seconds"] > first["seconds"] > 1_700_000_000

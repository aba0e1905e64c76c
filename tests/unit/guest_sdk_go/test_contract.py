"""The generated part of the Go SDK is that of the contract."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

SDK = Path(__file__).parents[3] / "guest_sdk/go"


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="Go is not installed")
def test_the_generated_file_is_of_the_contract_as_it_stands() -> None:
    generator = runpy.run_path(str(SDK / "generate.py"))
    assert generator["generated"]() == (SDK / "contract.go").read_text()


def test_every_call_of_the_contract_is_used() -> None:
    calls = {
        line.split("(")[0].removeprefix("func ")
        for line in _lines("contract.go")
        if line.startswith("func call")
    }
    used = "\n".join(
        line for path in SDK.glob("*.go") if path.name != "contract.go" for line in _lines(path.name)
    )
    assert len(calls) >= 40
    assert {call for call in calls if f"{call}(" not in used} == {"callSystemOur"}  # `run` is given it


def _lines(name: str) -> list[str]:
    return (SDK / name).read_text().splitlines()

"""The types that imports are compared with are those of `wit/`, and every call of the host's has some."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from guesthouse.wasm.types import (
    BOOL,
    STRING,
    U8,
    U32,
    EnumOf,
    FunctionType,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.worker.calls import (
    capabilities,
    http_server,
    kinode,
    messaging,
    spawning,
    system,
    tracing,
    wasi,
)
from guesthouse.worker.served import contract
from guesthouse.worker.served.kinode_types import BY_VERSION
from guesthouse.worker.served.matching import difference, shown
from guesthouse.worker.served.wasi_types import FUNCTIONS as WASI

ROOT: Final = Path(__file__).parents[4]


def test_the_types_are_those_of_the_contract() -> None:
    """Else: run what the first line of `contract.py` names, and `ruff format` it."""
    command = [sys.executable, "-m", "tests.contract_types", str(ROOT / "wit")]
    text = subprocess.run(command, capture_output=True, cwd=ROOT, check=True, timeout=60).stdout
    ruff = (sys.executable, "-m", "ruff")
    for how in (("check", "--fix", "-q", "--select", "I"), ("format",)):
        done = subprocess.run(
            [*ruff, *how, "-"], input=text, capture_output=True, cwd=ROOT, check=True, timeout=60
        )
        text = done.stdout
    assert text == (ROOT / "host/guesthouse/worker/served/contract.py").read_bytes()


def test_every_call_of_the_host_has_a_type() -> None:
    for module in (messaging, http_server, system, capabilities, spawning, tracing):
        assert set(vars(module)["CALLS"]) == set(contract.FUNCTIONS[vars(module)["INTERFACE"]])
    for version in {version for versions in kinode.VERSIONS.values() for version in versions}:
        assert set(kinode.CALLS) == set(BY_VERSION[version])
    calls = {interface: set(functions) for interface, functions in vars(wasi)["_PLAIN"].items()}
    assert calls == {interface: set(functions) for interface, functions in WASI.items()}


PAYLOAD: Final = RecordOf((("issuer", STRING),))
RECORD: Final = RecordOf((("path", STRING), ("secure", BOOL)))
CASES: Final = VariantOf((("too-big", PAYLOAD), ("storage", None)))
KINDS: Final = EnumOf(("text", "binary"))


def passed(type_: WitType) -> FunctionType:
    return FunctionType((("it", type_),), None)


def given(type_: WitType) -> FunctionType:
    return FunctionType((), type_)


BOTH: Final = (passed, given)


@pytest.mark.parametrize(
    ("has", "known", "ways"),
    [
        (RECORD, RECORD, BOTH),
        (RecordOf((("secure", BOOL), ("path", STRING))), RECORD, BOTH),
        (RecordOf((("path", STRING),)), RECORD, BOTH),
        (EnumOf(("binary",)), KINDS, BOTH),
        (ListOf(OptionOf(TupleOf((EnumOf(("text",)),)))), ListOf(OptionOf(TupleOf((KINDS,)))), BOTH),
        (VariantOf((("storage", None),)), CASES, BOTH),
        (EnumOf(("storage", "too-big")), CASES, (given,)),
        (VariantOf((("too-big", None),)), CASES, (given,)),
        (ResultOf(None, EnumOf(("too-big",))), ResultOf(None, CASES), (given,)),
    ],
)
def test_what_versions_differ_in_is_allowed(
    has: WitType, known: WitType, ways: tuple[Callable[[WitType], FunctionType], ...]
) -> None:
    for way in BOTH:
        assert (difference(way(has), way(known)) is None) == (way in ways)


@pytest.mark.parametrize(
    ("has", "known"),
    [
        (ListOf(U8), STRING),
        (ListOf(ResultOf(None, None)), STRING),
        (U8, U32),
        (OptionOf(U32), U32),
        (STRING, KINDS),
        (ListOf(STRING), ListOf(U8)),
        (TupleOf((U8,)), TupleOf((U8, U8))),
        (RecordOf((("secure", BOOL),)), RECORD),
        (RecordOf((*RECORD.fields, ("more", OptionOf(U8)))), RECORD),
        (RecordOf((("path", STRING), ("secure", U8))), RECORD),
        (EnumOf((*KINDS.names, "other")), KINDS),
        (EnumOf(("other",)), KINDS),
        (VariantOf((("storage", U8),)), CASES),
        (VariantOf((("too-big", U8),)), CASES),
        (ResultOf(U8, None), ResultOf(None, None)),
        (ResultOf(None, None), ResultOf(None, CASES)),
    ],
)
def test_another_kind_is_not(has: WitType, known: WitType) -> None:
    for way in BOTH:
        assert difference(way(has), way(known)) is not None


def test_parameters_and_results_are_counted() -> None:
    assert difference(FunctionType((), None), passed(U8)) == ("its parameters", "0", "1")
    assert difference(given(U8), FunctionType((), None)) == ("its result", "u8", "nothing")


def test_a_type_is_shown_in_few_words() -> None:
    name = "n" * 90_000
    assert len(shown(RecordOf(tuple((f"{name}{number}", U8) for number in range(100))))) < 100
    assert shown(ListOf(ResultOf(None, KINDS))) == "list<result<_, enum {text, binary}>>"

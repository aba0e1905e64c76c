"""`docs/protocol.md` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from guesthouse.core.config import Settings
from guesthouse.http_server import close_codes
from guesthouse.http_server.api.port import PushProblem
from guesthouse.http_server.close_codes import CloseReason, Refusal
from guesthouse.link.credit import PUSH_OVERHEAD

DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in DOCUMENT.splitlines()
    if line[:1] == "|"
]


LIMIT = r"`\w+(\.\w+)?`"


def unit_of(name: str) -> str:
    if name.endswith("_per_second"):
        return f"{name.split('_')[1]} a second"
    if name.endswith("_share"):
        return "share"
    if name.endswith("_bytes"):
        return "bytes"
    return "seconds" if "seconds" in name or name.endswith(("_delay", "_after", "_pause")) else "count"


def test_every_limit_is_listed_with_its_default_and_unit_and_no_other() -> None:
    listed = {row[0].strip("`"): row[1:3] for row in ROWS if len(row) == 4 and re.fullmatch(LIMIT, row[0])}
    settings = Settings()
    real = {
        name: (f"{getattr(settings, name):.15g}", unit_of(name))
        for name in settings.__struct_fields__
        if type(getattr(settings, name)) in (int, float) and name not in ("workers", "gateways")
    } | {
        f"{section}.{name}": (f"{getattr(getattr(settings, section), name):.15g}", unit_of(name))
        for section in ("connections", "process", "package", "restart")
        for name in getattr(settings, section).__struct_fields__
    }
    assert listed == real


def test_every_limit_says_what_happens_at_its_end() -> None:
    limits = [row for row in ROWS if len(row) == 4 and re.fullmatch(LIMIT, row[0])]
    ends = re.compile(r"\b(Over it|After it|Full|The most)\b")
    assert [row[0] for row in limits if not ends.search(row[3])] == []


def test_every_close_code_and_status_is_listed_with_its_reason_and_no_other() -> None:
    listed = {(int(row[0]), row[1]) for row in ROWS if row[0].isdigit()}
    known = [
        each for name, each in vars(close_codes).items() if name != "TOO_LONG_A_LENGTH"
    ]  # of PROTOCOL_ERROR
    closes = {(each.code, each.reason) for each in known if isinstance(each, CloseReason)}
    refusals = {(each.status, each.reason) for each in known if isinstance(each, Refusal)}
    assert listed == closes | refusals
    assert all(row[2] for row in ROWS if row[0].isdigit())


def test_every_error_of_a_push_is_listed() -> None:
    assert [problem for problem in PushProblem if f"`{problem}`" not in DOCUMENT] == []


def test_the_cost_of_a_message_is_documented() -> None:
    assert f"each message counts {PUSH_OVERHEAD} bytes" in DOCUMENT

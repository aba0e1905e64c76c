"""The suite itself: good servers pass it, and each fault of a server shows where it should."""

from __future__ import annotations

import functools
import logging
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.tiers import thorough_but
from websockets.asyncio.server import ServerConnection, serve
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.typing import ExtensionParameter

from .case import Case, Grade
from .faulty import Fault, faulty_server
from .groups import TITLES, all_cases
from .opening import Target
from .runner import Result, run_cases

_FAULTS = {
    Fault.ANY_REQUEST: {8},
    Fault.UNMASKED: {1, 10},
    Fault.LONG_LENGTHS: {1},
    Fault.WRONG_PONG: {2, 3, 5, 6, 7, 9},
    Fault.RESERVED_BITS: {3, 10},
    Fault.RESERVED_OPCODES: {4, 10},
    Fault.ANY_ORDER: {5, 10},
    Fault.ANY_TEXT: {6, 10},
    Fault.ANY_CODE: {7},
    Fault.NO_LIMIT: {9},
    Fault.MASKS: set(range(1, 11)),
    Fault.LOSES: {1, 2, 9, 10},
}
"""Groups with failed cases, by fault. Those of ten come from what a server does after a fault of the client."""

_LIBRARY_FAULTS = ("8.3.15", "8.4.", "10.4.23", "12.9.", "12.13.11", "12.13.12")
"""What `websockets` does otherwise: no Host, no list of versions, late checks of text, final blocks."""

_QUIET = logging.getLogger("conformance.websockets")
_QUIET.setLevel(logging.CRITICAL + 1)


@functools.cache
def cases() -> list[Case]:
    return all_cases(Target("127.0.0.1", 0))


def graded(results: Sequence[Result], grade: Grade) -> set[str]:
    return {result.case.id for result in results if result.verdict.grade is grade}


def groups_of(ids: set[str]) -> set[int]:
    return {int(case_id.partition(".")[0]) for case_id in ids}


def test_there_are_hundreds_of_cases_with_ids_of_their_own() -> None:
    assert len({case.id for case in cases()}) == len(cases()) > 300
    assert {case.group for case in cases()} == set(TITLES)
    assert all("\n" not in case.title and case.section.startswith("RFC ") for case in cases())


def test_the_documentation_lists_each_group_with_its_cases() -> None:
    documentation = (Path(__file__).parents[2] / "docs/conformance.md").read_text()
    counts = Counter(case.group for case in cases())
    rows = re.findall(r"^\| (\d+) (.*?) \| (\d+) \|", documentation, re.MULTILINE)
    assert {int(number): (title, int(count)) for number, title, count in rows} == {
        number: (title, counts[number]) for number, title in TITLES.items()
    }


async def test_a_server_without_faults_passes() -> None:
    async with faulty_server(Fault(0)) as target:
        results = await run_cases(cases(), target)
    assert not graded(results, Grade.FAILED)
    assert groups_of(graded(results, Grade.NON_STRICT)) <= {13}
    assert groups_of(graded(results, Grade.DECLINED)) == {12, 13}


@pytest.mark.parametrize("fault", thorough_but(_FAULTS, Fault.UNMASKED), ids=lambda fault: fault.name)
async def test_a_fault_shows_in_its_groups_and_no_others(fault: Fault) -> None:
    chosen = [case for case in cases() if case.group <= 10]
    async with faulty_server(fault) as target:
        results = await run_cases(chosen, target, at_once=64, seconds=5)
    assert groups_of(graded(results, Grade.FAILED)) == _FAULTS[fault]


async def test_text_that_is_checked_late_is_not_strict() -> None:
    async with faulty_server(Fault.LATE_TEXT) as target:
        results = await run_cases([case for case in cases() if case.group == 6], target)
    assert not graded(results, Grade.FAILED)
    assert {case_id.rpartition(".")[0] for case_id in graded(results, Grade.NON_STRICT)} == {"6.9"}


@pytest.mark.thorough
async def test_a_server_that_leaves_tcp_open_is_not_strict() -> None:
    chosen = [case for case in cases() if case.id.startswith(("3.1.", "7.2."))]
    async with faulty_server(Fault.STAYS) as target:
        results = await run_cases(chosen, target, at_once=64, seconds=2)
    assert graded(results, Grade.NON_STRICT) == {case.id for case in chosen}


async def test_no_server_is_an_error_and_no_verdict() -> None:
    async with faulty_server(Fault(0)) as target:
        pass
    with pytest.raises(ExceptionGroup) as caught:
        await run_cases(cases()[:1], target)
    assert caught.group_contains(OSError)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def run_websockets(chosen: Sequence[Case], factory: ServerPerMessageDeflateFactory) -> list[Result]:
    async with serve(
        echo,
        "127.0.0.1",
        0,
        compression=None,
        extensions=[factory],
        ping_interval=None,
        close_timeout=5,
        logger=_QUIET,
    ) as server:
        (socket,) = server.sockets
        return await run_cases(chosen, Target("127.0.0.1", socket.getsockname()[1]))


@pytest.mark.thorough
async def test_a_server_on_websockets_passes_but_for_what_is_known_of_it() -> None:
    results = await run_websockets(cases(), ServerPerMessageDeflateFactory())
    unknown = {
        case_id for case_id in graded(results, Grade.FAILED) if not case_id.startswith(_LIBRARY_FAULTS)
    }
    assert not unknown
    assert len(graded(results, Grade.OK)) > 900


class Sloppy(PerMessageDeflate):
    """Compresses in the largest window, and goes on in it, whatever was agreed; takes bombs and odd bits."""

    def __init__(self, agreed: PerMessageDeflate) -> None:
        super().__init__(
            agreed.remote_no_context_takeover,
            False,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
        )
        self.encoder = zlib.compressobj(wbits=-15)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return super().decode(frame)


class SloppyFactory(ServerPerMessageDeflateFactory):
    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        answer, agreed = super().process_request_params(params, accepted_extensions)
        return answer, Sloppy(agreed)


@pytest.mark.thorough
async def test_compression_otherwise_than_agreed_fails() -> None:
    results = await run_websockets([case for case in cases() if case.group > 10], SloppyFactory())
    sections = {case_id.rpartition(".")[0] for case_id in graded(results, Grade.FAILED)}
    assert sections >= {"12.2", "12.3", "12.13", "13.3", "13.4", "13.5", "13.10"}
    assert not sections & {"12.1", "12.4", "12.6", "12.7", "12.8", "12.10", "12.11", "13.6", "13.7"}

"""Whether a node is ready, and how many processes are told apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guesthouse.core.address import ProcessId
from guesthouse.http_server.state.traffic import Traffic
from guesthouse.kernel.process.process import ProcessState
from guesthouse.link.usage import Usage
from guesthouse.monitoring.exposition import Exposition
from guesthouse.monitoring.figures import MOST_PROCESSES, OTHERS, MeasuredNode, measure, unready_reasons


class _Mailbox:
    size = 5

    def __len__(self) -> int:
        return 1


def node(
    processes: int = 0,
    *,
    ready_workers: int = 1,
    started: bool = True,
    stopping: bool = False,
    draining: bool = False,
) -> MeasuredNode:
    """What is looked at of a node with so many processes, each of which has had one channel with one message."""
    ids = [ProcessId(f"process-{number}", "package", "publisher.os") for number in range(processes)]

    async def traffic() -> dict[ProcessId, Traffic]:
        return {each: Traffic(opened=1, messages_in=1) for each in ids}

    each = [
        SimpleNamespace(
            id=id_,
            state=ProcessState.RUNNING,
            runs=2,
            used=lambda: Usage(cpu_seconds=0.5),
            mailbox=_Mailbox(),
        )
        for id_ in ids
    ]
    parts: Any = SimpleNamespace(
        router=SimpleNamespace(node="test.os", processes=lambda: each),
        http=SimpleNamespace(
            traffic=traffic, connections=3, away_bytes=0, sessions_given_up={}, refusals=dict
        ),
        not_running=lambda: iter(()),
        tracing=None,
        cluster_figures=lambda: None,
        workers=SimpleNamespace(
            alive=lambda: [
                SimpleNamespace(ready=number < ready_workers, name="w", os_pid=1) for number in range(1)
            ],
            replaced=0,
        ),
        supervisor=SimpleNamespace(run_ends={}),
        compiler=SimpleNamespace(compiles=0, compile_seconds=0.0),
        state=SimpleNamespace(commits=0, commit_seconds=0.0),
        local_gateways=None,
        started=started,
        stopping=stopping,
        draining=draining,
    )
    return cast(MeasuredNode, parts)


@pytest.mark.parametrize(
    ("looked_at", "reasons"),
    [
        (node(), []),
        (node(started=False), ["its packages are being started"]),
        (node(stopping=True), ["it is stopping"]),
        (node(draining=True), ["it is being drained"]),
        (node(stopping=True, draining=True), ["it is stopping"]),
        (node(ready_workers=0), ["no worker is ready"]),
        (node(ready_workers=0, started=False), ["its packages are being started", "no worker is ready"]),
    ],
)
def test_why_a_node_is_not_ready(looked_at: MeasuredNode, reasons: list[str]) -> None:
    assert unready_reasons(looked_at) == reasons


@pytest.mark.slow
@pytest.mark.parametrize("over", [-1, 0, 1, 2])
async def test_processes_beyond_the_limit_are_added_up(over: int) -> None:
    figures = await measure(node(MOST_PROCESSES + over))
    named = [each.name for each in figures.processes]
    assert len(named) == min(MOST_PROCESSES + over, MOST_PROCESSES + 1)
    assert (OTHERS in named) == (over > 0)
    assert sum(each.cpu_seconds for each in figures.processes) == 0.5 * (MOST_PROCESSES + over)
    assert sum(each.traffic.messages_in for each in figures.processes) == MOST_PROCESSES + over
    if over > 0:
        assert figures.processes[-1].mailbox_messages == over
        assert figures.processes[-1].restarts == over
    text, _ = Exposition("1").render(figures, "")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert len(families["guesthouse_process_mailbox_bytes"].samples) == len(named)

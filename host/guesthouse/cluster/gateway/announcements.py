"""What nodes tell each other of their processes: that they are there, and the paths that they bind. Pure.

Left out is what is for clients of the process's own machine or needs its own host: bindings that are local only, of
extensions, and on secure subdomains.
"""

from __future__ import annotations

from collections.abc import Iterator

from guesthouse.cluster.gateway.gateway_messages import MOST_BOUND, Announce, BoundHttp, BoundUi, BoundWs
from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.ports import RouterPort
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.bindings import Bindings
from guesthouse.http_server.routing.foreign_bindings import bind_foreign


def all_of(context: Context, router: RouterPort) -> Iterator[Announce]:
    """The announcements of all processes of this node."""
    for process in router.processes():
        if not process.gone:
            yield announcement(context, process.id)


def announcement(context: Context, process: ProcessId) -> Announce:
    """The announcement of a process of this node."""
    ws, http, ui = context.bindings.of(process)
    return Announce(
        str(process),
        tuple(
            BoundWs(each.pattern.text, each.authenticated, each.subprotocols)
            for each in ws[:MOST_BOUND]
            if not (each.secure or each.extension)
        ),
        tuple(
            BoundHttp(each.pattern.text, each.authenticated, each.static is not None, each.response_seconds)
            for each in http[:MOST_BOUND]
            if not (each.secure or each.local_only)
        ),
        tuple(
            BoundUi("/" + "/".join(each.segments), each.authenticated)
            for each in ui[:MOST_BOUND]
            if not (each.secure or each.local_only)
        ),
        process in context.ui_folders,
    )


def bind(bindings: Bindings, process: ForeignProcess, announced: Announce) -> list[str]:
    """Bind here what another node announced of a process of its own, in place of what it announced before. Returns the
    errors of what cannot be bound.
    """
    return bind_foreign(
        bindings, process, announced.ws, announced.http, announced.ui, has_files=announced.has_ui
    )

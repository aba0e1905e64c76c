"""The calls of `system` for the state of a process, which the node keeps."""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.core.capabilities import Capability
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import as_pair
from guesthouse.kernel.storage.database import TOO_BIG, State
from guesthouse.link.calls import CallDenied, CallHandlers, ClearState, GetState, Reply, SetState, Stored


def register(
    calls: CallHandlers, state: State, missing_to_keep: Callable[[Process, int], Capability | None]
) -> None:
    """Carry out the host calls for state.

    Args:
        calls: the table of the node.
        state: where it is kept.
        missing_to_keep: the capability that a process lacks to keep so many bytes.
    """

    def get_state(process: Process, call: GetState, reply: Reply) -> None:
        state.get(process.id, _outcome(reply))

    def set_state(process: Process, call: SetState, reply: Reply) -> None:
        missing = missing_to_keep(process, len(call.state))
        if missing is None:
            state.set(process.id, call.state, _outcome(reply), process.holdings.state_bytes())
        else:
            reply(CallDenied(TOO_BIG, as_pair(missing)))

    def clear_state(process: Process, call: ClearState, reply: Reply) -> None:
        state.clear(process.id, _outcome(reply))

    calls.later(GetState, get_state)
    calls.later(SetState, set_state)
    calls.later(ClearState, clear_state)


def _outcome(reply: Reply) -> Callable[[bytes | str | None], None]:
    """Replies what the store answers."""
    return lambda found: reply(Stored(found) if isinstance(found, bytes) else found)

"""Messages of traces and the same without. Pure."""

from __future__ import annotations

from typing import Any, Final, TypeVar, get_args

from msgspec.structs import astuple

from guesthouse.link import to_node, to_worker
from guesthouse.link.schema import Message

PLAIN: Final[dict[type[Message], type[Message]]] = {
    kind: kind.__bases__[0] for kind in (*get_args(to_worker.Traced), *get_args(to_node.Traced))
}
"""The kind that each kind of a trace is otherwise."""
TRACED: Final[dict[type[Message], Any]] = {plain: kind for kind, plain in PLAIN.items()}

M = TypeVar("M", bound=Message)


def plain(message: M) -> M:
    """The message without its trace."""
    kind: Any = PLAIN.get(type(message))
    return message if kind is None else kind(*astuple(message)[: len(kind.__struct_fields__)])


def of_trace(message: Message, *trace: Any) -> Any:
    """The message as one of a trace; `trace` are the fields that it has more. Unchanged if there is no such kind."""
    kind = TRACED.get(type(message))
    return message if kind is None else kind(*astuple(message), *trace)

"""The same component under stock `wasmtime.component`, with its imports implemented by plain Python functions.

Its `receive` cannot block. So all messages of a measurement are delivered in one call of `run`, which ends
when `receive` raises; the clock runs from the first `receive` to the end of the last message.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import thread_time
from typing import Any, Final

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker, LinkerInstance, Record, Variant

CHANNEL: Final = 7
_RUN: Final = ("guesthouse:process/guest@0.1.0", "run")
_INTERFACES: Final = ("messaging", "http-server", "system")


class _Enough(Exception):
    """All messages were handed out."""


class StockEcho:
    """A component that echoes, and the messages of one measurement."""

    def __init__(self, wasm: Path) -> None:
        self._engine = Engine()
        self._component = Component(self._engine, wasm.read_bytes())
        self._our = _record(
            node="bench.os",
            process=_record(process_name="echo", package_name="echo", publisher_node="bench.os"),
        )
        self._message: Any = None
        self._blob: Any = None
        self._text: str | None = None
        self._left = 0
        self._began = self._ended = 0.0
        self._returned = -1
        self._linker = Linker(self._engine)
        with self._linker.root() as root:
            for interface in _INTERFACES:
                with root.add_instance(f"guesthouse:process/{interface}@0.1.0") as instance:
                    self._define(interface, instance)
        self._linker.define_unknown_imports_as_traps(self._component)

    def seconds_of(self, payload: bytes, text: bool, count: int) -> float:
        """Send a message `count` times through a new instance; returns the CPU seconds."""
        event = _record(channel_id=CHANNEL, message_type="text" if text else "binary")
        self._message = Variant("http-server", Variant("web-socket-push", event))
        self._blob = _record(mime=None, bytes=payload)
        self._text = payload.decode() if text else None
        self._left, self._returned, self._began = count, -1, 0.0
        store = Store(self._engine)
        instance = self._linker.instantiate(store, self._component)
        outer = self._component.get_export_index(_RUN[0])
        assert outer is not None
        index = self._component.get_export_index(_RUN[1], outer)
        assert index is not None
        run = instance.get_func(store, index)
        assert run is not None
        with suppress(_Enough):
            run(store, self._our)
        if self._returned != len(payload):
            raise SystemExit(f"wasmtime.component returned {self._returned} of {len(payload)} bytes")
        return self._ended - self._began

    def _define(self, interface: str, instance: LinkerInstance) -> None:
        calls: dict[str, dict[str, Callable[..., Any]]] = {
            "messaging": {
                "receive": self._receive,
                "get-blob": lambda store: self._blob,
                "get-blob-text": lambda store: self._text,
            },
            "http-server": {
                "send-ws-text": lambda store, channel, text: self._sent(len(text)),
                "send-ws-push": lambda store, node, channel, kind, blob: self._sent(len(blob.bytes)),
                "bind-ws-path": lambda store, path, binding: None,
            },
            "system": {"print": lambda store, verbosity, text: None},
        }
        for name, call in calls[interface].items():
            instance.add_func(name, call)

    def _receive(self, store: object) -> Any:
        if not self._began:
            self._began = thread_time()
        if not self._left:
            self._ended = thread_time()
            raise _Enough
        self._left -= 1
        return self._message

    def _sent(self, size: int) -> None:
        self._returned = size


def _record(**fields: Any) -> Record:
    record = Record()
    for name, value in fields.items():
        setattr(record, name.replace("_", "-"), value)
    return record

"""Speaks the link like a worker, and runs no wasm: what a process does is in its component's name and messages.

A component named `bad` cannot be instantiated; `traps`, `returns` and `kills` never ask for a message; `idles`
neither, and lives; `stubborn` does not finish when it is to. Any other takes each push, and answers it with its
run's handle and the payload, except `trap`, `return`, `die`, `poison` (dies before it says so), `hang` and `garbage`.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from guesthouse.link.frames import FrameReader, encode
from guesthouse.link.ops import PROTOCOL_VERSION, ToNode, ToWorker

STUBBORN: set[int] = set()


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[-1]))
    if "--slow" in sys.argv:
        time.sleep(0.5)
    if "--dies" in sys.argv:
        print("this machine is too old", file=sys.stderr)
        sys.exit(3)
    reader = FrameReader()
    ended: set[int] = set()
    while data := link.recv(65536):
        for operation in reader.feed(data):
            if operation[0] != ToWorker.CONFIGURE and operation[1] in ended:
                continue
            for answer in answers(operation, link):
                link.sendall(encode([answer]))
                if answer[0] == ToNode.EXITED:
                    ended.add(answer[1])


def answers(operation: list[Any], link: socket.socket) -> list[list[Any]]:
    code, handle = operation[0], operation[1]
    if code == ToWorker.CONFIGURE:
        return [[ToNode.READY.value, PROTOCOL_VERSION, os.getpid()]]
    if code == ToWorker.START:
        if "bad" in Path(operation[2]["component"]).name:
            return [[ToNode.EXITED.value, handle, "not-started", "unknown import x:y/z"]]
        if "traps" in Path(operation[2]["component"]).name:
            return [[ToNode.EXITED.value, handle, "trap", "unreachable"]]
        if "returns" in Path(operation[2]["component"]).name:
            return [[ToNode.EXITED.value, handle, "returned", ""]]
        if "kills" in Path(operation[2]["component"]).name:
            os._exit(9)
        if "idles" in Path(operation[2]["component"]).name:
            return []
        if "stubborn" in Path(operation[2]["component"]).name:
            STUBBORN.add(handle)
        return [[ToNode.STARTED.value, handle]]
    if code == ToWorker.FINISH and handle in STUBBORN:
        return []
    if code in (ToWorker.STOP, ToWorker.FINISH):
        return [[ToNode.EXITED.value, handle, "stopped", operation[2]]]
    if code == ToWorker.OPEN:
        told = f"{handle} told of {operation[2]} resumed={operation[8]}"
        return [consumed(handle), push(handle, operation[2], told.encode())]
    if code == ToWorker.PUSH:
        return answer_push(operation, link)
    if code == ToWorker.REQUEST and b"handover" in operation[4]:
        asked = f"{handle} asked {operation[3]} {operation[4].decode()}"
        return [consumed(handle), push(handle, 7, asked.encode())]
    if code in (ToWorker.CLOSE, ToWorker.HTTP, ToWorker.REQUEST):
        return [consumed(handle)]
    return []


def answer_push(operation: list[Any], link: socket.socket) -> list[list[Any]]:
    _, handle, channel, _, payload = operation
    if payload in (b"trap", b"return"):
        cause = "trap" if payload == b"trap" else "returned"
        return [consumed(handle), [ToNode.EXITED.value, handle, cause, "the guest's own words"]]
    if payload == b"die":
        link.sendall(encode([consumed(handle)]))
        os._exit(9)
    if payload == b"garbage":
        link.sendall(encode([consumed(handle)]) + b"\x03\x00\x00\x00\xff\xff\xff")
        time.sleep(3600)
    if payload == b"poison":
        os._exit(9)
    if payload == b"hang":
        link.sendall(encode([consumed(handle)]))
        time.sleep(3600)
    return [consumed(handle), push(handle, channel, b"%d got %s" % (handle, payload))]


def consumed(handle: int) -> list[Any]:
    return [ToNode.CONSUMED.value, handle, 1]


def push(handle: int, channel: int, payload: bytes) -> list[Any]:
    return [ToNode.PUSH.value, handle, channel, 0, payload]


if __name__ == "__main__":
    main()

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

from guesthouse.link import to_worker
from guesthouse.link.frames import encode, from_node
from guesthouse.link.schema import PROTOCOL_VERSION
from guesthouse.link.to_node import Consumed, Exited, Push, Ready, Started, ToNode

STUBBORN: set[int] = set()


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[-1]))
    if "--slow" in sys.argv:
        time.sleep(3)  # longer than a process may take to its first message
    if "--dies" in sys.argv:
        print("this machine is too old", file=sys.stderr)
        sys.exit(3)
    reader = from_node()
    ended: set[int] = set()
    while data := link.recv(65536):
        for message in reader.feed(data):
            if getattr(message, "handle", 0) in ended:
                continue
            for answer in answers(message, link):
                link.sendall(encode([answer]))
                if isinstance(answer, Exited):
                    ended.add(answer.handle)


def answers(message: to_worker.ToWorker, link: socket.socket) -> list[ToNode]:
    match message:
        case to_worker.Configure():
            return [Ready(PROTOCOL_VERSION, os.getpid())]
        case to_worker.Start():
            return answer_start(message)
        case to_worker.Stop() | to_worker.Finish():
            if isinstance(message, to_worker.Finish) and message.handle in STUBBORN:
                return []
            return [Exited(message.handle, "stopped", message.reason)]
        case to_worker.Open(handle=handle, channel_id=channel):
            told = f"{handle} told of {channel} resumed={message.resumed}"
            return [consumed(handle), push(handle, channel, told.encode())]
        case to_worker.Push():
            return answer_push(message, link)
        case to_worker.Request(handle=handle, body=body) if b"handover" in body:
            asked = f"{handle} asked {message.source} {body.decode()}"
            return [consumed(handle), push(handle, 7, asked.encode())]
        case to_worker.Close() | to_worker.Http() | to_worker.Request():
            return [consumed(message.handle)]
    return []


def answer_start(start: to_worker.Start) -> list[ToNode]:
    name, handle = Path(os.fsdecode(start.component)).name, start.handle
    if "bad" in name:
        return [Exited(handle, "not-started", "unknown import x:y/z")]
    if "traps" in name:
        return [Exited(handle, "trap", "unreachable")]
    if "returns" in name:
        return [Exited(handle, "returned", "")]
    if "kills" in name:
        os._exit(9)
    if "idles" in name:
        return []
    if "stubborn" in name:
        STUBBORN.add(handle)
    return [Started(handle)]


def answer_push(message: to_worker.Push, link: socket.socket) -> list[ToNode]:
    handle, payload = message.handle, message.payload
    if payload in (b"trap", b"return"):
        cause = "trap" if payload == b"trap" else "returned"
        return [consumed(handle), Exited(handle, cause, "the guest's own words")]
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
    return [consumed(handle), push(handle, message.channel_id, b"%d got %s" % (handle, payload))]


def consumed(handle: int) -> Consumed:
    return Consumed(handle, 1)


def push(handle: int, channel: int, payload: bytes) -> Push:
    return Push(handle, channel, 0, payload)


if __name__ == "__main__":
    main()

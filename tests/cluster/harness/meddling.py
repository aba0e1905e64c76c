"""What an attacker in the place of NATS does to frames between nodes. Each says what of a frame arrives."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final

from .hostile_nats import Alter

NODE_SUBJECT: Final = ".node."
"""In the subjects on which frames for nodes go."""
_HEAD: Final = 18
"""Bytes at the beginning of a sealed frame that are not encrypted: kind, session, sequence, content."""


def repeating_and_forging(chance: Random) -> Alter:
    """Every frame arrives once as it is, in its turn; and beside it old ones, and forged ones in its name."""
    old = deque[bytes](maxlen=200)

    def alter(subject: str, frame: bytes) -> list[bytes]:
        if NODE_SUBJECT not in subject:
            return [frame]
        old.append(frame)
        before = [forged(frame, chance) for _ in range(chance.randrange(3))]
        after = [chance.choice(old) for _ in range(chance.randrange(3))]
        return [*before, frame, *([frame] if chance.random() < 0.5 else []), *after]

    return alter


def forged(frame: bytes, chance: Random) -> bytes:
    """A frame that is not what the other node sent: never the same as the genuine one."""
    match chance.randrange(6):
        case 0:  # the head is right, and nothing else
            return frame[:_HEAD] + chance.randbytes(max(len(frame) - _HEAD, 17))
        case 1:  # a bit is another
            place = chance.randrange(len(frame))
            return frame[:place] + bytes([frame[place] ^ (1 << chance.randrange(8))]) + frame[place + 1 :]
        case 2:  # a later frame of the session
            ahead = int.from_bytes(frame[9:17], "big") + chance.choice((1, 2, 2**16, 2**40))
            return frame[:9] + (ahead % 2**64).to_bytes(8, "big") + frame[17:]
        case 3:
            return frame[: chance.randrange(len(frame))]
        case 4:
            return frame + chance.randbytes(chance.randrange(1, 100))
        case _:
            return chance.randbytes(chance.choice((0, 1, 40, 2000)))


def altering_dropping_and_reordering(chance: Random, part: float) -> Alter:
    """A part of the frames is lost, comes after the next, or is altered in the place of the genuine one."""
    held: list[bytes] = []

    def alter(subject: str, frame: bytes) -> list[bytes]:
        if NODE_SUBJECT not in subject:
            return [frame]
        late, held[:] = held[:], []
        if chance.random() >= part:
            return [frame, *late]
        match chance.randrange(3):
            case 0:
                return late
            case 1:
                held.append(frame)
                return late
            case _:
                return [forged(frame, chance), *late]

    return alter

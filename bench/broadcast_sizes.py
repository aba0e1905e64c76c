"""Broadcasts of several sizes to clients of which a share takes compressed messages, beside `websockets.broadcast`.

    python bench/broadcast_sizes.py [--channels N] [--bytes N …] [--compressed SHARE …] [--rounds N]

Not part of `make bench`. A node compresses a message once for all clients of one window; `websockets` once for each
client, since it keeps a context for each.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

from broadcast import CHANNELS, audience
from servers import guesthouse, peer

_PATH: Final = "/herald:herald:bench.os"
_WORDS: Final = "the quick brown fox jumps over the lazy dog; "


def text_of(size: int) -> str:
    """A text of that many bytes, which compresses as text does that is not all the same."""
    numbered = "".join(f"{number} {_WORDS}" for number in range(1 + size // len(_WORDS)))
    return numbered[:size]


def main() -> None:
    """Measure in turn, and print the medians."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--bytes", type=int, nargs="+", default=[128, 16_384])
    parser.add_argument("--compressed", type=float, nargs="+", default=[0.0, 0.1], metavar="SHARE")
    parser.add_argument("--rounds", type=int, default=5)
    options: Any = parser.parse_args()
    for share in options.compressed:
        with ExitStack() as stack:
            bare_server = stack.enter_context(peer("websockets_echo"))
            bare = audience(stack, bare_server, "/", options.channels, share)
            node_server = stack.enter_context(guesthouse("herald"))
            node = audience(stack, node_server, _PATH, options.channels, share)
            for size in options.bytes:
                text, speeds, costs = text_of(size), [], []
                for _ in range(options.rounds):
                    base, base_cpu = bare.tell(text, 1)
                    ours, ours_cpu = node.tell(text, 1)
                    speeds.append(base / ours)
                    costs.append(ours_cpu / base_cpu if base_cpu else 1.0)
                print(
                    f"{size:>7,} B, {share:.0%} compressed: {median(speeds):.2f}x as fast as websockets.broadcast "
                    f"({min(speeds):.2f}x…{max(speeds):.2f}x), {median(costs):.2f}x of its CPU; {1000 * ours:.0f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()

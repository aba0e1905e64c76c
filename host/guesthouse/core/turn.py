"""How long one part of the node computes in a turn of its event loop; what is left waits for the next turn."""

from __future__ import annotations

from typing import Final

TURN_SECONDS: Final = 0.001

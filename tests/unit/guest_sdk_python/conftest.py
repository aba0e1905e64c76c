"""The SDK is imported from the checkout, as a guest author has it installed."""

from __future__ import annotations

import sys
from pathlib import Path

SDK = Path(__file__).parents[3] / "guest_sdk" / "python"

if str(SDK) not in sys.path:
    sys.path.insert(0, str(SDK))

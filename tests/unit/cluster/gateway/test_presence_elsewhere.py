"""What `tests/unit/http_server/test_presence.py` says, with processes at another node than their clients."""

from . import scenarios

globals().update(scenarios.of_module("test_presence"))

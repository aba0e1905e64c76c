"""What `tests/unit/http_server/test_channels.py` says, with processes at another node than their clients."""

from . import scenarios

# The close is on its way to the gateway, which answers a ping meanwhile.
NOT_HERE = ("test_what_a_client_sends_after_the_process_closed_is_not_delivered",)
globals().update(scenarios.of_module("test_channels", NOT_HERE))

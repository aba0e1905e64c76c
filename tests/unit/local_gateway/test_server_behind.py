"""What `tests/unit/http_server/test_server.py` says, with clients' sockets at local gateways."""

from tests.unit.cluster.gateway import scenarios

# The socket that this looks at is the one to the gateway; see `test_gateway_loop.py`.
NOT_HERE = ("test_nagle_is_off",)
globals().update(scenarios.of_module("test_server", NOT_HERE))

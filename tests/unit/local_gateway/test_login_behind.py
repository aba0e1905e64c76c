"""What `tests/unit/http_server/test_login.py` says, with clients' sockets at local gateways."""

from tests.unit.cluster.gateway import scenarios

globals().update(scenarios.of_module("test_login"))

"""What `tests/unit/http_server/test_fair_queue.py` says, with clients' sockets at local gateways."""

from tests.unit.cluster.gateway import scenarios

globals().update(scenarios.again("test_fair_queue"))

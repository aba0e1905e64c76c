"""What `tests/unit/http_server/test_service_workers.py` says, with clients' sockets at local gateways."""

from tests.unit.cluster.gateway import scenarios

globals().update(scenarios.again("test_service_workers"))

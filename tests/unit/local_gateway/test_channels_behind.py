"""What `tests/unit/http_server/test_channels.py` says, with clients' sockets at local gateways."""

from tests.unit.cluster.gateway import scenarios

# A gateway knows the greatest limit that a client may have and not that of its channel: between the two, a
# compressed frame is refused once it has come.
NOT_HERE = ("test_a_frame_that_cannot_shrink_to_the_limit_is_refused_from_its_header",)
globals().update(scenarios.of_module("test_channels", NOT_HERE))

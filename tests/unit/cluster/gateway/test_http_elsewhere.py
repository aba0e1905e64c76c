"""What `tests/unit/http_server/test_http.py` says, with processes at another node than their clients."""

from . import scenarios

# Content is hashed at the home, in a thread. What is local only is for clients of the home: `test_gateways.py`.
NOT_HERE = (
    "test_content_is_hashed_when_it_is_first_asked_for_and_not_when_it_is_bound",
    "test_local_only_means_this_machine_and_no_proxy_and_no_rebound_name",
)
globals().update(scenarios.again("test_http", NOT_HERE))

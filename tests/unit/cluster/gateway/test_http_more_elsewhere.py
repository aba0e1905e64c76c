"""What `tests/unit/http_server/test_http_more.py` says, with processes at another node than their clients."""

from . import scenarios

# What is local only is for clients of the home: `test_gateways.py`.
NOT_HERE = (
    "test_a_client_that_leaves_ends_its_exchange",
    "test_the_rules_of_the_root_hold_for_what_falls_back_to_it",
)
globals().update(scenarios.again("test_http_more", NOT_HERE))

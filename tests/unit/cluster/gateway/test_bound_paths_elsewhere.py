"""What `tests/unit/http_server/test_bound_paths.py` says, with processes at another node than their clients."""

from . import scenarios

# The end is not told to the server there; and the channels at the gateway are looked at. See `test_gateways.py`.
NOT_HERE = (
    "test_a_process_that_ended_answers_404",
    "test_a_literal_binding_wins_over_a_parameter",
)
globals().update(scenarios.again("test_bound_paths", NOT_HERE))

"""What `tests/unit/http_server/test_register.py` says, with processes at another node than their clients."""

from . import scenarios

# The end is not told to the server there.
NOT_HERE = ("test_a_process_that_ended_is_refused_with_4004",)
globals().update(scenarios.of_module("test_register", NOT_HERE))

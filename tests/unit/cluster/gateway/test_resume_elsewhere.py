"""What `tests/unit/http_server/test_resume.py` says, with processes at another node than their clients."""

from . import scenarios

# What a gateway keeps, and when it finds out that a client is away, is for the same code there, with the same limits.
# Under `drop-oldest` a home drops what the gateway has no room for, and not what that keeps already.
NOT_HERE = (
    "test_what_the_process_said_before_it_closed_reaches_a_client_that_was_away",
    "test_under_drop_oldest_what_is_given_up_is_told_as_lost_with_its_number",
    "test_what_was_acknowledged_is_not_kept_and_gives_its_credit_back",
    "test_away_sessions_are_bounded_in_number_and_bytes",
    "test_a_client_that_was_silent_for_too_long_is_away_and_not_gone",
)
globals().update(scenarios.of_module("test_resume", NOT_HERE))

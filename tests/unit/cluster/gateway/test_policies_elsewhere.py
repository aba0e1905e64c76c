"""What `tests/unit/http_server/test_policies.py` says, with processes at another node than their clients."""

from . import scenarios

# A home may push more than its outbox by what a gateway has not credited: `test_slow_clients.py`.
NOT_HERE = (
    "test_drop_oldest_keeps_the_newest_in_order_and_within_the_window",
    "test_close_ends_the_channel_and_the_process_hears_of_it",
    "test_a_push_that_cannot_wait_is_refused",
    "test_a_push_that_waits_goes_on_when_the_client_reads",
    "test_a_push_in_json_waits_and_is_answered_once_it_is_queued",
    "test_a_push_in_json_whose_time_is_over_is_not_sent",
    "test_a_push_in_json_that_waits_in_vain_says_why",
    "test_no_more_waits_in_json_than_the_outbox_holds",
    "test_one_who_waits_learns_that_the_channel_is_gone",
)
globals().update(scenarios.of_module("test_policies", NOT_HERE))

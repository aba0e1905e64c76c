"""What `tests/unit/http_server/test_peer_liveness.py` says, with clients' sockets at local gateways."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.cluster.gateway import scenarios

from guesthouse.linux.tcp_info import has_hung_up

# These are not of a server with gateways.
NOT_HERE = (
    "test_a_client_that_is_not_read_is_given_up_only_when_it_has_left",
    "test_a_machine_that_vanishes_without_a_word_is_found_to_have_left",
    "test_nothing_is_known_of_a_socket_that_is_not_tcp_and_one_that_is_no_more_has_left",
)
globals().update(scenarios.of_module("test_peer_liveness", NOT_HERE))


@pytest.fixture(autouse=True)
def _the_way_to_the_gateway_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's socket is not the client's: it is gone once the gateway has closed the way to it."""

    def is_gone(transport: asyncio.BaseTransport, _silence: float) -> bool:
        return has_hung_up(transport)

    monkeypatch.setattr("tests.unit.http_server.test_peer_liveness.is_peer_gone", is_gone)

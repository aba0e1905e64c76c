from __future__ import annotations

import json
from pathlib import Path

from guesthouse_sdk.testing import FakeHost, load_main

main = load_main(Path(__file__).parents[1] / "app.py")


def test_without_a_side_car_a_client_is_told_so() -> None:
    with FakeHost() as host:
        host.run(main)
        client = host.open("/")
        client.send_text("disk")
        host.run()
        (answer,) = client.received
        assert json.loads(answer) == {"error": "the side-car is not connected"}

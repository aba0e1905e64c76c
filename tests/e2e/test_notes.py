"""The sample `notes` in a real node: routes, typed messages, `kv` and timers together."""

from __future__ import annotations

import httpx
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE

from .clients import registered
from .conftest import StartNode

NOTES = "notes:notes:guesthouse.os"


async def test_notes_are_kept_watched_and_vanish(start: StartNode) -> None:
    node = await start("notes")
    token = await node.token()
    headers = {"Cookie": f"{node.cookie_name}={token}"}
    url = f"{node.url}/{NOTES}/notes"
    async with (
        registered(node, NOTES, token) as client,
        httpx.AsyncClient(verify=TRUSTS_NOBODY, timeout=PATIENCE, headers=headers) as browser,
    ):
        await client.send('{"type": "watch", "name": "a"}')
        assert await client.json() == {"type": "changed", "name": "a", "text": None}
        assert (await browser.put(f"{url}/a", json={"text": "é"})).json() == {"text": "é"}
        assert await client.json() == {"type": "changed", "name": "a", "text": "é"}
        assert (await browser.get(url)).json() == ["a"]
        assert (await browser.put(f"{url}/a", json={"text": "short", "seconds": 1})).status_code == 200
        assert (await client.json())["text"] == "short"
        assert (await client.json())["text"] is None  # it vanished, a second later
        assert (await browser.get(f"{url}/a")).status_code == 404
        assert (await browser.put(f"{url}/a", json={"txt": 1})).json() == {
            "error": "txt: there is no such field"
        }
        answer = await browser.post(f"{url}/a")
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PUT")

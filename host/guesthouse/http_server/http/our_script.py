"""The script `our.js`, which tells a page its node and process."""

from __future__ import annotations

import json
from typing import Final

from starlette.responses import Response

from guesthouse.core.address import ProcessId
from guesthouse.http_server.auth.tokens import COOKIE_PREFIXES

_OUR_CALL: Final = """Object.defineProperty(window.our, "token", {value: async () => {
  await fetch(%s, {cache: "no-store"});
  const name = %s, pair = document.cookie.split("; ").find((pair) => pair.startsWith(name));
  return pair === undefined ? null : pair.slice(name.length);
}});
"""


def our_script(node: str, process: ProcessId | None) -> Response:
    """Answer with the script. `our.token()` refreshes the readable cookie and returns its value."""
    process_id = "" if process is None else str(process)
    our = json.dumps({"node": node, "process": process_id})
    script = f"window.our = {our};\n"
    if process is not None:
        script += _OUR_CALL % (
            json.dumps(f"/{process_id}/our.js"),
            json.dumps(f"{COOKIE_PREFIXES[0]}{node}="),
        )
    headers = {
        "Cache-Control": "no-store",
        "Vary": "Referer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Response(script, headers=headers, media_type="text/javascript")

"""Attacks on what is served from files and by static bindings: paths that should lead out of their place."""

from __future__ import annotations

from ...conformance.opening import Target
from .wire import Tally, dial, each


async def fetches(target: Target, count: int, paths: list[str], cookie: str) -> Tally:
    """Get each path as it is written; status and body, which is what tells a secret from a refusal."""

    async def one(path: str) -> str:
        head = [f"GET {path} HTTP/1.1", f"Host: {target.host}:{target.port}", f"Cookie: {cookie}"]
        async with dial(target) as wire:
            await wire.send("\r\n".join((*head, "Connection: close", "", "")).encode("latin-1"))
            answer, _, body = (await wire.all_bytes()).partition(b"\r\n\r\n")
            return f"{answer[9:12].decode()} {body.decode(errors='replace').strip()[:80]}"

    return await each(paths * count, one)

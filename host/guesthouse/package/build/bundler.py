"""Bundles apps in JavaScript for `guesthouse run --dev`, by one Node.js process that stays: to start one takes longer
than to bundle.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from guesthouse.package.build.javascript import link_sdk, node_program
from guesthouse.package.build.running import Report
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import BuildError
from guesthouse.package.format.manifest import Engine

BUNDLE_SECONDS: Final = 60.0


class Bundler:
    """One Node.js process, started when it is first needed. It ends when it is closed, and with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._node: subprocess.Popen[bytes] | None = None

    def bundle(self, source: Path, engine: Engine, report: Report) -> dict[str, bytes]:
        """An app's bundle, and the table of its lines. Blocks.

        Args:
            source: the file that begins it.
            engine: the engine that is to run it.
            report: called with esbuild's warnings.

        Raises:
            BuildError: the source is wrong, and the text says where; or a tool is missing.
        """
        with self._lock:
            link_sdk(source.parent, sdk_folder("javascript"))
            answer = self._ask(source, {"source": str(source.absolute()), "engine": engine})
        for line in answer["said"]:
            report(line)
        if "error" in answer:
            raise BuildError(answer["error"])
        return {"bundle.js": answer["text"].encode(), "lines.json": json.dumps(answer["lines"]).encode()}

    def close(self) -> None:
        """End the process."""
        node, self._node = self._node, None
        if node is not None:
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)  # and esbuild's with it
            with node:
                pass

    def _ask(self, source: Path, request: object) -> Any:
        node = self._node
        if node is None or node.poll() is not None:
            self.close()
            node = self._node = self._start(source)
        assert node.stdin is not None and node.stdout is not None  # noqa: S101, PT018 - they are pipes
        late = threading.Timer(BUNDLE_SECONDS, node.kill)
        late.start()
        try:
            node.stdin.write(json.dumps(request).encode() + b"\n")
            node.stdin.flush()
            line = node.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            late.cancel()
        if not line:
            self.close()
            raise BuildError(f"{source} cannot be bundled: Node.js ended, or took over {BUNDLE_SECONDS:g} s")
        return json.loads(line)

    def _start(self, source: Path) -> subprocess.Popen[bytes]:
        command = [node_program(source), str(sdk_folder("javascript") / "bundle_app.mjs")]
        return subprocess.Popen(  # noqa: S603 - the SDK's own script
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

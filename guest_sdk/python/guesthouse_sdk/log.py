"""The process's log: output of `logging` and uncaught exceptions."""

from __future__ import annotations

import linecache
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

from guesthouse_sdk._closing import closing
from guesthouse_sdk.errors import ChannelNotFound
from guesthouse_sdk.system import Verbosity, print_to_log

_SDK_FOLDER: Final = str(Path(__file__).parent)
_MOUNT: Final = re.compile(r'(?m)^(\s*File ")/\d+/')
"""Where componentize-py mounts the import path: `/0/app.py` is the author's `app.py`."""


class LogHandler(logging.Handler):
    """Passes records of `logging` to the host."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record to the process's log."""
        try:
            print_to_log(self.format(record), _verbosity(record.levelno))
        except Exception:  # a record that cannot be formatted must not end the process
            self.handleError(record)


def log_to_host() -> LogHandler:
    """Send everything that is logged by `logging`, from INFO up, to the process's log."""
    root = logging.getLogger()
    handler = LogHandler()
    root.addHandler(handler)
    if root.level in (logging.NOTSET, logging.WARNING):
        root.setLevel(logging.INFO)
    return handler


@contextmanager
def logging_to_host() -> Iterator[None]:
    """`log_to_host` for a while."""
    root = logging.getLogger()
    level = root.level
    handler = log_to_host()
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def log_exception(what: str, error: BaseException) -> None:
    """Log that `what` failed, with the traceback of the user's code; or in one line that a client has left, which is no
    fault of that code.
    """
    if isinstance(error, ChannelNotFound) and closing.keeper.has(error.channel_id):
        text = f"{what} stopped at a push to channel {error.channel_id}: its client has left"
        print_to_log(text, Verbosity.WARNING)
        return
    shown = traceback.format_exception(type(error), error, _author_frames(error.__traceback__))
    text = _MOUNT.sub(r"\1", "".join(shown)).rstrip()
    print_to_log(f"{what} failed\n{text}", Verbosity.ERROR)


def keep_sources() -> None:
    """Cache the source of the modules loaded so far, so that tracebacks in a component, which has
    no files, show lines of code; except the large standard library.
    """
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not path or not path.endswith(".py") or not _MOUNT.match(f'File "{path}'):
            continue
        lines = linecache.getlines(path)
        # A modification time of None keeps the entry without the file.
        linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


def _author_frames(frames: TracebackType | None) -> TracebackType | None:
    start = frames
    while start is not None and start.tb_frame.f_code.co_filename.startswith(_SDK_FOLDER):
        start = start.tb_next
    return start or frames


def _verbosity(level: int) -> Verbosity:
    if level >= logging.ERROR:
        return Verbosity.ERROR
    if level >= logging.WARNING:
        return Verbosity.WARNING
    return Verbosity.INFO if level >= logging.INFO else Verbosity.DEBUG

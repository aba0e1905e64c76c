"""Hands lines of the log to Python's `logging`, by a configuration that says where they go. Loaded only where it is
wanted.
"""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Callable, Mapping
from typing import Any, Final

from guesthouse.core.errors import BadSetting
from guesthouse.core.files.regular_file import read_regular
from guesthouse.core.messages import LogLine
from guesthouse.core.printable import printable
from guesthouse.core.toml import NotToml, parse_toml
from guesthouse.node.log import as_dict

_PROCESSES: Final = "guesthouse.process"
"""The logger of all processes; a part has one of its own name."""
_FIELDS: Final = ("source", "stream", "package", "worker", "channel", "trace_id")
"""Attributes of each record; those that a line does not have are empty. The process is `process_id`: `process` is
another thing in a record.
"""


def route(path: str) -> Callable[[LogLine], None]:
    """Configure `logging` by a file, and return what hands it lines. That may block.

    Args:
        path: a dictionary as `logging.config.dictConfig` takes it, in TOML or else in JSON.

    Raises:
        BadSetting: there is no such file, or it is none.
    """
    try:
        logging.config.dictConfig({"disable_existing_loggers": False, **_read(path)})
    except OSError as error:
        raise BadSetting(f"log_config: {path}: {error.strerror}: make it readable") from None
    except (NotToml, ValueError, TypeError, AttributeError, ImportError, RecursionError) as error:
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise BadSetting(f"log_config: {path} is no configuration of logging: {error}{cause}") from None
    return _hand_on


def _read(path: str) -> Mapping[str, Any]:
    content = read_regular(path)
    read: Any = parse_toml(content) if path.endswith(".toml") else json.loads(content)
    if not isinstance(read, dict):
        raise TypeError("it is no dictionary")
    return read


def _hand_on(line: LogLine) -> None:
    fields = as_dict(line)
    name = _PROCESSES if "process" in fields else f"guesthouse.{line.source}"
    logger, level = logging.getLogger(name), logging.getLevelNamesMapping()[line.level.upper()]
    if not logger.isEnabledFor(level):
        return
    text = "\n    ".join(map(printable, line.text.rstrip("\n").split("\n")))
    extra = {field: fields.get(field, "") for field in _FIELDS} | {"process_id": fields.get("process", "")}
    record = logger.makeRecord(name, level, "", 0, text, (), None, extra=extra)
    record.created, record.msecs = line.time, line.time % 1 * 1000
    logger.handle(record)

"""Lines of the log, routed by Python's `logging`."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guesthouse.core.errors import BadSetting
from guesthouse.node.log import Log
from guesthouse.node.log_routing import route

CHAT = "chat:chat:a.os"


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    yield
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("guesthouse")]:
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(logging.NOTSET)
        logger.filters.clear()


def configured(folder: Path, **more: Any) -> Path:
    """A configuration that writes what processes say of warning and above into a file."""
    fields = "name", "process_id", "package", "worker", "channel", "trace_id", "message"
    form = "%(levelname)s " + " ".join(f"%({field})s" for field in fields)
    file = folder / "logging.json"
    file.write_text(
        json.dumps(
            {
                "version": 1,
                "formatters": {"line": {"format": form}},
                "handlers": {
                    "file": {
                        "class": "logging.FileHandler",
                        "filename": str(folder / "routed"),
                        "formatter": "line",
                        "level": "WARNING",
                    }
                },
                "loggers": {"guesthouse.process": {"handlers": ["file"], "level": "DEBUG"}},
                **more,
            }
        )
    )
    return file


def test_lines_go_where_the_configuration_says_with_their_fields(tmp_path: Path) -> None:
    log = Log(tmp_path / "logs", None, route=route(str(configured(tmp_path))))
    log.worker_of = lambda source: "worker-1" if source == CHAT else None
    log.trace_id = lambda: "4bf9"
    log.write(CHAT, "warning", "one\x1b[2J\nforged line", stream="print", channel_id=7)
    log.write(CHAT, "info", "less severe")
    log.write("node", "error", "of a part")
    log.close()
    (first, second) = (tmp_path / "routed").read_text().splitlines()
    assert first == f"WARNING guesthouse.process {CHAT} chat:a.os worker-1 7 4bf9 one\\x1b[2J"
    assert second == "    forged line"


def test_a_configuration_may_be_in_toml(tmp_path: Path) -> None:
    (tmp_path / "logging.toml").write_text(
        f"""version = 1
        [handlers.file]
        class = "logging.FileHandler"
        filename = "{tmp_path / "routed"}"
        [loggers.guesthouse]
        handlers = ["file"]
        level = "INFO"
        """
    )
    log = Log(None, None, route=route(str(tmp_path / "logging.toml")))
    log.write("node", "info", "hello")
    log.write("node", "debug", "less severe")
    log.close()
    assert (tmp_path / "routed").read_text() == "hello\n"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.json", None, "make it readable"),
        ("a.json", "{", "no configuration of logging"),
        ("a.json", "[]", "no dictionary"),
        ("a.toml", "a = ", "no configuration of logging"),
        ("a.json", '{"version": 2}', "no configuration of logging: Unsupported version"),
        (
            "a.json",
            '{"version": 1, "handlers": {"a": {"class": "no.Such"}}}',
            "Unable to configure handler 'a'",
        ),
    ],
)
def test_what_is_no_configuration_is_refused(
    tmp_path: Path, name: str, content: str | None, why: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(BadSetting, match=f"log_config: {file}.*{why}"):
        route(str(file))


def test_a_filter_that_fails_ends_the_routing_and_not_the_log(tmp_path: Path) -> None:
    def fails(_: object) -> None:
        raise ZeroDivisionError("in the filter")

    terminal = io.StringIO()
    log = Log(tmp_path / "logs", terminal, route=fails)
    log.write("node", "info", "one")
    log.write("node", "info", "two")
    log.close()
    assert "one\n" in terminal.getvalue()
    assert terminal.getvalue().count("lines are not routed any more: ZeroDivisionError('in the filter')") == 1
    assert len((tmp_path / "logs/node.jsonl").read_text().splitlines()) == 2

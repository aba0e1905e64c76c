"""Values that settings may have, by the settings' names. Pure."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from guesthouse.core.address import parse_node_name
from guesthouse.core.errors import BadSetting

MIB = 1024 * 1024
_LONGEST_SHOWN: Final = 80
_MAY_BE_ZERO: Final = frozenset(("port", "workers", "gateways", "first_delay", "sample_ratio"))
_MOST: Final = {
    "port": 65_535,
    "message_bytes": 16 * MIB,
    "state_bytes": 16 * MIB,
    "workers": 1024,
    "gateways": 256,
    "cpu_share": 1,
    "sample_ratio": 1,
    "queue_spans": 1_000_000,
}
_YES_NO: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
CHOICES: Final = {
    "isolation": ("shared", "package"),
    "worker_confinement": ("best-effort", "required"),
    "log_format": ("text", "json"),
    "http.local_access": ("secret", "machine"),
    "http.origins": ("auto", "package", "shared"),
    "http.register_cookie": ("process", "readable"),
    "tracing.incoming": ("ignore", "link", "follow"),
}
ANY_TEXT: Final = (r"(?s:.*)", "text")
_PACKAGE_ID: Final = (r"[\w.~-]+:[\w.~-]+", "package:publisher")
FORMS: Final = {
    "http.hosts": (r"\*|[\w-][\w.-]*", "a host name without a port, or *"),
    "cluster.nats": (
        r"(nats|tls)://([^@/\s]+@)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?",
        "the URL of a NATS server, such as nats://127.0.0.1:4222",
    ),
    "cluster.serve": (
        r"[^@\s]+(@[\w.~-]+:[\w.~-]+)?",
        "a node, * for all, or NODE@PACKAGE:PUBLISHER",
    ),
    "http.page_sources": (
        r"(https?|wss?)://(\*\.)?[\w.\[\]-]+(:[0-9]+)?(/[\w.~/%-]*)?",
        "an origin such as https://fonts.example",
    ),
    "http.register_packages": _PACKAGE_ID,
    "http.readable_packages": _PACKAGE_ID,
    "http.service_workers": _PACKAGE_ID,
}
"""The syntax of each list's items, and its description in errors."""
_TEXT_FORMS: Final = {
    "cluster.name": (r"[A-Za-z0-9][\w .-]{0,62}", "a name of at most 63 letters, digits, spaces and . _ -")
}
"""The syntax of a text, likewise."""


def checked(name: str, kind: Any, value: Any, where: str) -> Any:
    """The value of a setting, in its type.

    Args:
        name: the setting's.
        kind: its type.
        value: as it is in a file, or parsed.
        where: for errors.

    Raises:
        BadSetting: it is of another type, or out of its bounds.
    """
    if kind == tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise BadSetting(f"{where} must be a list of strings, not {_shown(value)}")
        form, words = FORMS.get(name, ANY_TEXT)
        for item in value:
            if re.fullmatch(form, item, re.ASCII) is None:
                raise BadSetting(f"{where}: {_shown(item)} must be {words}")
        return tuple(value)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**1000 else math.inf
    if not isinstance(value, kind) or (kind is int and type(value) is bool):
        raise BadSetting(f"{where} must be {_kind_in_words(kind)}, not {_shown(value)}")
    if name in CHOICES and value not in CHOICES[name]:
        raise BadSetting(f"{where} must be one of {', '.join(CHOICES[name])}, not {_shown(value)}")
    if value == "":
        raise BadSetting(f"{where} must not be empty: give a value, or leave it out for the default")
    if name in _TEXT_FORMS and re.fullmatch(_TEXT_FORMS[name][0], value, re.ASCII) is None:
        raise BadSetting(f"{where}: {_shown(value)} must be {_TEXT_FORMS[name][1]}")
    if isinstance(value, int | float) and type(value) is not bool:
        least, most = bounds(name, kind)
        if not least <= value <= most:
            raise BadSetting(f"{where} must be from {least} to {most}, not {_shown(value)}")
    return parse_node_name(value) if name == "node" else value


def parsed(kind: Any, text: str, variable: str) -> Any:
    """A value as an environment variable has it.

    Raises:
        BadSetting: it cannot be read as that type.
    """
    if kind == tuple[str, ...]:
        return tuple(filter(None, text.split(",")))
    try:
        return _YES_NO[text.lower()] if kind is bool else kind(text) if kind in (int, float) else text
    except (KeyError, ValueError):
        raise BadSetting(f"{variable} must be {_kind_in_words(kind)}, not {_shown(text)}") from None


def _shown(value: Any) -> str:
    """A value for an error message, of bounded length."""
    try:
        text = ascii(value)
    except ValueError:  # a number of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _kind_in_words(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(kind, "text")


def bounds(name: str, kind: Any) -> tuple[float, float]:
    """The least and the greatest value of a setting that is a number."""
    last = name.rpartition(".")[2]
    return 0 if last in _MAY_BE_ZERO else 1 if kind is int else 0.001, _MOST.get(last, 2**53)

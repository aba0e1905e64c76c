"""Settings with where they come from, as `guesthouse config` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guesthouse.core.config import Given, Settings
from guesthouse.node.settings.settings_schema import flat, plain


def listed_settings(settings: Settings, given: Mapping[str, Given]) -> list[dict[str, Any]]:
    """Each setting: `setting`, `value`, `source` and `place`; and `next` if what is given now is another value.

    Args:
        settings: the effective ones.
        given: what is given by file, environment and flags.
    """
    now, defaults = flat(settings), flat(Settings())
    items = []
    for name, value in now.items():
        origin = given.get(name) or Given(defaults[name], "default", "")
        item = {"setting": name, "value": plain(value), "source": origin.source, "place": origin.place}
        if origin.value != value:
            item["next"] = plain(origin.value)
        items.append(item)
    return items

"""Matches paths with bound paths."""

from __future__ import annotations


def params_of(pattern: str, path: str) -> dict[str, str] | None:
    """The parameters of a path if it matches a bound path such as `/items/:id` or `/files/*path`, else None."""
    wanted, given = pattern.split("/"), path.split("/")
    if "" in given[1:] or len(given) < len(wanted):
        return None
    params: dict[str, str] = {}
    count = len(given)
    for part in wanted:
        taken = 1 + count - len(wanted) if part.startswith("*") else 1
        values, given = given[:taken], given[taken:]
        if part.startswith((":", "*")):
            params[part[1:]] = "/".join(values)
        elif values != [part]:
            return None
    params.pop("", None)  # a wildcard without a name
    return None if given else params

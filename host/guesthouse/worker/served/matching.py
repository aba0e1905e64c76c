"""Checks that the type that a component declares for an import matches the host call's.

Values are converted by the component's own type, so a host call gets what that says. It
may differ from the contract's only as versions do: newer fields may be missing, values from the guest may
lack cases, and values for it may lack cases and newer payloads. Kinds have to be equal, and
nothing may be added to the contract: the host would ignore it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from guesthouse.wasm.types import (
    EnumOf,
    FlagsOf,
    FunctionType,
    Handle,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

LATER_FIELDS: Final = frozenset(
    (
        *("secure", "extension", "subprotocols", "response-seconds"),  # of bindings
        *("capabilities", "missing", "target"),  # of messages and failed ones
        *("resumed", "subprotocol"),  # of opened channels
    )
)
"""Fields that components of older versions lack. For values from the guest, host calls have defaults."""

LATER_PAYLOADS: Final = frozenset(("not-authorised", "too-big"))
"""Cases with a payload since a later version (`capability_errors.py`)."""

_MOST: Final = 80
"""Characters of a type in an error."""
_NOTHING: Final = "nothing"

Difference = tuple[str, str, str]
"""The place, the component's type there, the contract's."""


def difference(has: FunctionType, contract: FunctionType) -> Difference | None:
    """The first difference that is not due to versions of the contract, or None."""
    if len(has.params) != len(contract.params):
        return "its parameters", str(len(has.params)), str(len(contract.params))
    for (_, passed), (name, expected) in zip(has.params, contract.params, strict=True):
        found = _differs(passed, expected, name, passed=True)
        if found is not None:
            return found
    return _optional(has.result, contract.result, "its result", passed=False)


def _differs(has: WitType, contract: WitType, where: str, *, passed: bool) -> Difference | None:
    """`passed`: the guest passes the value, as opposed to getting it."""
    if has == contract:  # the common case
        return None
    if type(has) is not type(contract):
        cases = None if passed else _cases_of(has), _cases_of(contract)
        if cases is not None and cases[0] is not None and cases[1] is not None:
            return _cases(cases[0], cases[1], where, (has, contract), passed=passed)
        return where, shown(has), shown(contract)
    match has, contract:
        case (ListOf(one), ListOf(other)) | (OptionOf(one), OptionOf(other)):
            return _differs(one, other, where, passed=passed)
        case RecordOf(fields), RecordOf(known):
            return _fields(dict(fields), dict(known), where, passed=passed)
        case TupleOf(elements), TupleOf(known) if len(elements) == len(known):
            pairs = zip(elements, known, strict=True)
            return _first(_differs(one, other, where, passed=passed) for one, other in pairs)
        case ResultOf(ok, err), ResultOf(known_ok, known_err):
            return _first(
                _optional(one, other, where, passed=passed)
                for one, other in ((ok, known_ok), (err, known_err))
            )
        case (VariantOf(_), VariantOf(_)) | (EnumOf(_), EnumOf(_)):
            has_cases, known_cases = _cases_of(has) or {}, _cases_of(contract) or {}
            return _cases(has_cases, known_cases, where, (has, contract), passed=passed)
        case Handle(owned, resource), Handle(known_owned, known_resource) if owned == known_owned:
            if resource is not None and known_resource is not None and resource[1] == known_resource[1]:
                return None
    return where, shown(has), shown(contract)


def _optional(
    has: WitType | None, contract: WitType | None, where: str, *, passed: bool
) -> Difference | None:
    if has is None or contract is None:
        return None if has is contract else (where, shown(has), shown(contract))
    return _differs(has, contract, where, passed=passed)


def _first(differences: Iterable[Difference | None]) -> Difference | None:
    return next((found for found in differences if found is not None), None)


def _fields(
    has: Mapping[str, WitType], contract: Mapping[str, WitType], where: str, *, passed: bool
) -> Difference | None:
    for name, expected in contract.items():
        if name in has:
            found = _differs(has[name], expected, name, passed=passed)
            if found is not None:
                return found
        elif name not in LATER_FIELDS:
            return f"the field {name!r} of {where}", _NOTHING, shown(expected)
    for name, type_ in has.items():
        if name not in contract:
            return f"the field {_cut(name)!r} of {where}", shown(type_), _NOTHING
    return None


def _cases_of(type_: WitType) -> Mapping[str, WitType | None] | None:
    match type_:
        case VariantOf(cases):
            return dict(cases)
        case EnumOf(names):
            return dict.fromkeys(names)
    return None


def _cases(
    has: Mapping[str, WitType | None],
    contract: Mapping[str, WitType | None],
    where: str,
    types: tuple[WitType, WitType],
    *,
    passed: bool,
) -> Difference | None:
    for name, payload in has.items():
        if name not in contract:
            return f"the case {_cut(name)!r} of {where}", shown(payload), "no such case"
        if payload is None and not passed and name in LATER_PAYLOADS:
            continue
        found = _optional(payload, contract[name], f"the case {name!r} of {where}", passed=passed)
        if found is not None:
            return found
    return None if has else (where, shown(types[0]), shown(types[1]))


def shown(type_: WitType | None) -> str:
    """A type in WIT syntax for errors, truncated."""
    return _cut(_spelled(type_, 4))


def _cut(text: str) -> str:
    plain = text[: _MOST + 1].encode("ascii", "replace").decode()
    return plain if len(plain) <= _MOST else f"{plain[:_MOST]}…"


def _spelled(type_: WitType | None, depth: int) -> str:
    if type_ is None:
        return _NOTHING
    if not depth:
        return "…"
    match type_:
        case Primitive(name):
            return name
        case ListOf(inner):
            return f"list<{_spelled(inner, depth - 1)}>"
        case OptionOf(inner):
            return f"option<{_spelled(inner, depth - 1)}>"
        case TupleOf(elements):
            return f"tuple<{', '.join(_spelled(each, depth - 1) for each in elements[:8])}>"
        case ResultOf(ok, err):
            sides = ("_" if side is None else _spelled(side, depth - 1) for side in (ok, err))
            return f"result<{', '.join(sides)}>"
        case Handle(owned, resource):
            name = "a resource" if resource is None else resource[1]
            return f"{'own' if owned else 'borrow'}<{name}>"
        case RecordOf(fields):
            return f"record {{{', '.join(name for name, _ in fields[:8])}}}"
        case VariantOf(cases):
            return f"variant {{{', '.join(name for name, _ in cases[:8])}}}"
        case EnumOf(names):
            return f"enum {{{', '.join(names[:8])}}}"
        case FlagsOf(names):
            return f"flags {{{', '.join(names[:8])}}}"

"""Messages as dataclasses, decoded from JSON strictly: `messages = Say | Rename` in a `Process`.

`msgspec` and `pydantic` have C or Rust code, which componentize-py does not build into a component; this is pure
Python.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from math import isinf
from typing import Any, Final, Literal, NoReturn

from guesthouse_sdk.errors import GuestError

__all__ = ["BadMessage", "Decoder", "encodable", "parsed", "tag_of"]

_SHOWN: Final = 20
"""Characters of a number that an error shows."""

TAG: Final = "type"
"""The field that says which dataclass of a union it is."""

_Decode = Callable[[Any, str], Any]
_KINDS: Final = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    types.NoneType: "null",
    list: "a list",
    dict: "an object",
}


class BadMessage(GuestError, ValueError):
    """A message is not what the type of messages says.

    Attributes:
        path: the field that is wrong, such as `items[3].name`; empty for the message as a whole.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path or 'the message'}: {reason}")
        self.path = path


class Decoder:
    """Decodes JSON into values of a type.

    The type is made of dataclasses, unions of them, `list[…]`, `dict[str, …]`, `… | None`, `Literal[…]`, enums,
    `str`, `int`, `float`, `bool` and `Any`. In a union of dataclasses the field `type` says which it is:
    `rename-room` for a class `RenameRoom`, or what the class has as `__tag__`.
    """

    def __init__(self, kind: Any, unknown_fields: Literal["refuse", "ignore"] = "refuse") -> None:
        """Make a decoder.

        Args:
            kind: the type.
            unknown_fields: what is done about fields that a dataclass does not have.

        Raises:
            TypeError: the type has a part that JSON does not become; the text names it.
        """
        self._ignores = unknown_fields == "ignore"
        self._of_classes: dict[type, _Decode] = {}
        self._decode = self._decoder(kind, "messages")

    def decode(self, message: str | bytes) -> Any:
        """Decode JSON text.

        Raises:
            BadMessage: it is not of the type.
        """
        if not isinstance(message, str):
            raise BadMessage("", "JSON in a text message is expected, not a binary message")
        try:
            return self._decode(parsed(message), "")
        except BadMessage:
            raise
        except RecursionError:
            raise BadMessage("", "it is nested too deeply") from None
        except ValueError as problem:
            raise BadMessage("", f"it is not JSON: {problem}") from None

    def value(self, value: Any) -> Any:
        """The same of what `json` has decoded.

        Raises:
            BadMessage: it is not of the type.
        """
        return self._decode(value, "")

    def _decoder(self, kind: Any, where: str) -> _Decode:
        kind = getattr(kind, "__value__", kind)  # of `type Name = …`
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind is Any:
            return lambda value, path: value
        if kind in (str, int, float, bool, None, types.NoneType):
            return _SCALARS[types.NoneType if kind is None else kind]
        if is_dataclass(kind) and isinstance(kind, type):
            return self._of_class(kind)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return _one_of([(member.value, member) for member in kind])
        if origin is Literal:
            return _one_of([(each, each) for each in arguments])
        if origin is list and len(arguments) == 1:
            return _list_of(self._decoder(arguments[0], where))
        if origin is dict and len(arguments) == 2 and arguments[0] is str:
            return _dict_of(self._decoder(arguments[1], where))
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments, where)
        raise TypeError(
            f"{where} has the type {kind}, which no JSON becomes: see guesthouse_sdk.typed.Decoder"
        )

    def _union(self, parts: tuple[Any, ...], where: str) -> _Decode:
        some = [part for part in parts if part is not types.NoneType]
        optional = len(some) < len(parts)
        if len(some) == 1:
            inner = self._decoder(some[0], where)
        elif all(is_dataclass(part) for part in some):
            inner = self._tagged(some)
        else:
            raise TypeError(
                f"{where} is a union of more than dataclasses: only | None may be added to one type"
            )
        return (lambda value, path: None if value is None else inner(value, path)) if optional else inner

    def _tagged(self, classes: list[type]) -> _Decode:
        by_tag: dict[str, _Decode] = {}
        for each in classes:
            if tag_of(each) in by_tag:
                raise TypeError(
                    f"two dataclasses of a union have the tag {tag_of(each)!r}: give one a __tag__"
                )
            if any(part.name == TAG for part in fields(each)):
                raise TypeError(
                    f"{each.__name__} is in a union and has a field {TAG}, which is the tag: rename it"
                )
            by_tag[tag_of(each)] = self._of_class(each)
        known = ", ".join(map(repr, by_tag))

        def decode(value: Any, path: str) -> Any:
            if type(value) is not dict:
                _expected("an object", value, path)
            tag = value.get(TAG)
            if not isinstance(tag, str) or tag not in by_tag:
                raise BadMessage(_at(path, TAG), f"one of {known} is expected")
            return by_tag[tag](value, path)

        return decode

    def _of_class(self, kind: type) -> _Decode:
        if kind not in self._of_classes:
            decode: list[_Decode] = []
            self._of_classes[kind] = lambda value, path: decode[0](value, path)  # a class may contain itself
            hints = typing.get_type_hints(kind)
            parts = {
                part.name: (self._decoder(hints[part.name], f"{kind.__name__}.{part.name}"), _is_needed(part))
                for part in fields(kind)
                if part.init
            }
            decode.append(_object(kind, parts, self._ignores))
        return self._of_classes[kind]


def tag_of(kind: type) -> str:
    """What says in the field `type` that an object is of a dataclass."""
    tag = getattr(kind, "__tag__", None)
    if tag is not None:
        return str(tag)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", kind.__name__).lower()


def encodable(value: object) -> object:
    """What `json` is to encode in the place of a dataclass, with its tag, or of an enum's member.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: getattr(value, part.name) for part in fields(value)}
        return parts if TAG in parts else {TAG: tag_of(type(value)), **parts}
    raise TypeError(f"JSON cannot express a {type(value).__name__}")


def _object(kind: type, parts: Mapping[str, tuple[_Decode, bool]], ignores: bool) -> _Decode:
    needed = [name for name, (_, is_needed) in parts.items() if is_needed]

    def decode(value: Any, path: str) -> Any:
        if type(value) is not dict:
            _expected("an object", value, path)
        given: dict[str, Any] = {}
        for name, part in value.items():
            if name in parts:
                given[name] = parts[name][0](part, _at(path, name))
            elif name == TAG and part != tag_of(kind):
                raise BadMessage(_at(path, TAG), f"{tag_of(kind)!r} is expected")
            elif name != TAG and not ignores:
                raise BadMessage(_at(path, name), "there is no such field")
        for name in needed:
            if name not in given:
                raise BadMessage(_at(path, name), "it is missing")
        try:
            return kind(**given)
        except ValueError as problem:  # of its __post_init__
            raise BadMessage(path, str(problem)) from None

    return decode


def _is_needed(part: Field[Any]) -> bool:
    return part.default is MISSING and part.default_factory is MISSING


def _list_of(inner: _Decode) -> _Decode:
    def decode(value: Any, path: str) -> Any:
        if type(value) is not list:
            _expected("a list", value, path)
        return [inner(each, f"{path}[{number}]") for number, each in enumerate(value)]

    return decode


def _dict_of(inner: _Decode) -> _Decode:
    def decode(value: Any, path: str) -> Any:
        if type(value) is not dict:
            _expected("an object", value, path)
        return {_text(name, path): inner(each, _at(path, name)) for name, each in value.items()}

    return decode


def _one_of(values: list[tuple[Any, Any]]) -> _Decode:
    known = ", ".join(json.dumps(each) for each, _ in values)

    def decode(value: Any, path: str) -> Any:
        for expected, member in values:
            if type(value) is type(expected) and value == expected:
                return member
        raise BadMessage(path, f"one of {known} is expected")

    return decode


def _scalar(kind: type) -> _Decode:
    def decode(value: Any, path: str) -> Any:
        return value if type(value) is kind else _expected(_KINDS[kind], value, path)

    return decode


def _text(value: Any, path: str) -> Any:
    if type(value) is not str:
        _expected(_KINDS[str], value, path)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadMessage(path, "it has half of a character, which UTF-8 cannot encode") from None
    return value


def _number(value: Any, path: str) -> Any:
    if type(value) not in (int, float):
        _expected(_KINDS[float], value, path)
    try:
        return float(value)
    except OverflowError:
        raise BadMessage(path, "the number is too large") from None


_SCALARS: Final[dict[type, _Decode]] = {
    str: _text,
    float: _number,
    int: _scalar(int),
    bool: _scalar(bool),
    types.NoneType: _scalar(types.NoneType),
}


def _expected(what: str, value: Any, path: str) -> NoReturn:
    raise BadMessage(path, f"{what} is expected, not {_KINDS[type(value)]}")


def _at(path: str, name: str) -> str:
    shown = name if name.isidentifier() else json.dumps(name[:40])
    return f"{path}.{shown}" if path else shown


def parsed(text: str | bytes) -> Any:
    """What JSON says, strictly: nothing that it cannot say comes of it, so the result can be written again.

    Raises:
        ValueError: it is none, or has a number that `float` cannot hold. Python itself takes NaN, and makes an infinity
            of 1e999.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_no_constant, parse_float=_finite)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise ValueError(f"the number {digits[:_SHOWN]} is too large")
    return number

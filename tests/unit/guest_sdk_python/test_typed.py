"""Typed messages: what is decoded, what is refused and by which words, and what a process is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, ClassVar, Literal

import pytest
from guesthouse_sdk import BadMessage, Channel, Process
from guesthouse_sdk.testing import FakeHost
from guesthouse_sdk.typed import Decoder, tag_of


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Say:
    text: str
    mood: Mood = Mood.GOOD

    def __post_init__(self) -> None:
        if len(self.text) > 10:
            raise ValueError("a text has at most 10 characters")


@dataclass
class RenameRoom:
    names: list[str]
    by: Person | None = None
    sizes: dict[str, float] = field(default_factory=dict)
    level: Level = Level.LOW
    kind: Literal["a", 1, True, None] = "a"
    whatever: Any = None
    count: int = field(default=0, init=False)


@dataclass
class Person:
    name: str
    friends: list[Person] = field(default_factory=list)
    admin: bool = False
    age: int = 0


@dataclass
class Special:
    __tag__: ClassVar[str] = "special!"


MESSAGES = Say | RenameRoom | Special


def test_messages_become_objects() -> None:
    decode = Decoder(MESSAGES).decode
    assert decode('{"type": "say", "text": "hi", "mood": "bad"}') == Say("hi", Mood.BAD)
    assert decode('{"type": "special!"}') == Special()
    friend = {"name": "Ben", "friends": [{"name": "Cy"}], "admin": True, "age": 7}
    fields = {
        "names": ["x"],
        "by": friend,
        "sizes": {"a": 1, "b": 1.5},
        "level": 2,
        "kind": 1,
        "whatever": [{}],
    }
    found = decode(json.dumps({"type": "rename-room", **fields}))
    expected = RenameRoom(
        ["x"], Person("Ben", [Person("Cy")], True, 7), {"a": 1.0, "b": 1.5}, Level.HIGH, 1, [{}]
    )
    assert found == expected
    assert type(found.sizes["a"]) is float
    assert decode('{"type": "rename-room", "names": [], "by": null, "kind": null}') == RenameRoom(
        [], kind=None
    )


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (MESSAGES, [], "the message: an object is expected, not a list"),
        (MESSAGES, {}, "type: one of 'say', 'rename-room', 'special!' is expected"),
        (MESSAGES, {"type": ["say"]}, "type: one of 'say', 'rename-room', 'special!' is expected"),
        (MESSAGES, {"type": "say"}, "text: it is missing"),
        (MESSAGES, {"type": "say", "text": 5}, "text: a string is expected, not a whole number"),
        (
            MESSAGES,
            {"type": "say", "text": "\ud800"},
            "text: it has half of a character, which UTF-8 cannot encode",
        ),
        (MESSAGES, {"type": "say", "text": "x" * 11}, "the message: a text has at most 10 characters"),
        (MESSAGES, {"type": "say", "text": "x", "mood": "odd"}, 'mood: one of "good", "bad" is expected'),
        (MESSAGES, {"type": "say", "text": "x", "x": 1}, "x: there is no such field"),
        (MESSAGES, {"type": "say", "text": "x", "a b": 1}, '"a b": there is no such field'),
        (MESSAGES, {"type": "rename-room", "names": ["a", None]}, "names[1]: a string is expected, not null"),
        (MESSAGES, {"type": "rename-room", "names": [], "count": 5}, "count: there is no such field"),
        (MESSAGES, {"type": "rename-room", "names": [], "level": 1.0}, "level: one of 1, 2 is expected"),
        (
            MESSAGES,
            {"type": "rename-room", "names": [], "kind": 2},
            'kind: one of "a", 1, true, null is expected',
        ),
        (
            MESSAGES,
            {
                "type": "rename-room",
                "names": [],
                "by": {"name": "A", "friends": [{"name": "B", "age": True}]},
            },
            "by.friends[0].age: a whole number is expected, not true or false",
        ),
        (
            MESSAGES,
            {"type": "rename-room", "names": [], "sizes": {"a b": "1"}},
            'sizes."a b": a number is expected, not a string',
        ),
        (
            MESSAGES,
            {"type": "rename-room", "names": [], "sizes": {"a": 10**400}},
            "sizes.a: the number is too large",
        ),
        (Person, {"name": "A", "type": "animal"}, "type: 'person' is expected"),
        (list[int], [1, "2"], "[1]: a whole number is expected, not a string"),
    ],
)
def test_what_is_of_another_type_is_refused_with_its_path(kind: Any, value: Any, text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        Decoder(kind).decode(json.dumps(value))
    assert str(caught.value) == text
    with pytest.raises(BadMessage):
        Decoder(kind).value(value)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"{}", "not a binary message"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"type": "rename-room", "names": [], "sizes": {"a": NaN}}', "NaN is no number of JSON"),
        ('{"type": "rename-room", "names": [], "sizes": {"a": -Infinity}}', "no number of JSON"),
        ('{"type": "rename-room", "names": [], "sizes": {"a": ' + "9" * 5000 + "}}", "it is not JSON"),
    ],
)
def test_what_is_no_json_is_refused(message: str | bytes, words: str) -> None:
    with pytest.raises(BadMessage, match=words):
        Decoder(MESSAGES).decode(message)


def test_objects_within_objects_are_refused_before_the_stack_is_used_up() -> None:
    text = '{"name": "a", "friends": [' * 400 + "]}" * 400
    with pytest.raises(BadMessage, match="nested too deeply"):
        Decoder(Person).decode(text)


def test_fields_that_are_not_known_are_ignored_if_wanted() -> None:
    decoder = Decoder(MESSAGES, unknown_fields="ignore")
    assert decoder.decode('{"type": "say", "text": "hi", "later": [1]}') == Say("hi")


@dataclass
class Tagged:
    type: str


@dataclass
class Strange:
    parts: set[int]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Strange, r"Strange\.parts has the type set\[int\]"),
        (Say | int, "messages is a union of more than dataclasses"),
        (Tagged | Say, "Tagged is in a union and has a field type"),
        (dict[int, str], "messages has the type"),
    ],
)
def test_a_type_that_json_does_not_become_is_an_error_of_the_class(kind: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        type("Talk", (Process,), {"messages": kind})


def test_two_classes_of_one_tag_are_an_error() -> None:
    @dataclass
    class Other:
        __tag__: ClassVar[str] = "say"

    with pytest.raises(TypeError, match="have the tag 'say'"):
        Decoder(Say | Other)


def test_tags_are_the_names_of_classes_with_hyphens() -> None:
    names = ("Say", "RenameRoom", "HTTPRequest", "V2Say")
    tags = [tag_of(type(name, (), {})) for name in names]
    assert tags == ["say", "rename-room", "http-request", "v2-say"]


class Talk(Process):
    messages = MESSAGES

    def on_message(self, channel: Channel, message: Say | RenameRoom | Special) -> None:
        channel.send_json({"got": message})


class Lenient(Talk):
    unknown_fields = "ignore"

    def on_bad_message(self, channel: Channel, error: BadMessage) -> None:
        channel.close(1008, error.path)


def said(main: type[Process], *messages: str | bytes) -> tuple[list[str | bytes], Any]:
    with FakeHost() as host:
        channel = host.open()
        for message in messages:
            channel.send_text(message) if isinstance(message, str) else channel.send_bytes(message)
        host.run(main)
        assert host.log == []
        return channel.received, channel.closed


def test_a_process_gets_objects_and_a_client_is_told_what_is_wrong() -> None:
    received, _ = said(Talk, '{"type": "say", "text": "hi"}', '{"type": "say", "x": 1}', b"\x00")
    assert received == [
        '{"got":{"type":"say","text":"hi","mood":"good"}}',
        '{"type":"error","error":"x: there is no such field"}',
        '{"type":"error","error":"the message: JSON in a text message is expected, not a binary message"}',
    ]


def test_a_process_may_do_something_else_about_a_bad_message() -> None:
    received, closed = said(Lenient, '{"type": "say", "text": "hi", "x": 1}', '{"type": "say"}')
    assert received == ['{"got":{"type":"say","text":"hi","mood":"good"}}']
    assert closed == (1008, "text")


def test_what_is_sent_is_what_is_read() -> None:
    for message in (Say("hi"), RenameRoom(["x"], Person("A", [Person("B")])), Special()):

        class Sender(Process):
            def on_open(self, channel: Channel, message: Any = message) -> None:
                channel.send_json(message)

        with FakeHost() as host:
            channel = host.open()
            host.run(Sender)
            (text,) = channel.received
        if isinstance(message, RenameRoom):
            fields = json.loads(text)
            assert fields.pop("count") == 0  # of no constructor: what is sent has it, and what is read not
            text = json.dumps(fields)
        assert Decoder(MESSAGES).decode(text) == message

"""The typed messages of a `Process`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from guesthouse_sdk.typed import BadMessage, Decoder

if TYPE_CHECKING:
    from guesthouse_sdk.channel import Channel


class ProcessMessages:
    """What a `Process` has of typed messages."""

    messages: ClassVar[Any] = None
    """The type of what clients send: a dataclass or a union of some, such as `Say | Rename`. `on_message` then
    gets objects of it; see `typed.Decoder`. By default it gets what was sent, as str or bytes.
    """
    unknown_fields: ClassVar[Literal["refuse", "ignore"]] = "refuse"
    """What is done about fields that the type of messages does not have."""
    _decoder: ClassVar[Decoder | None] = None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._decoder = None if cls.messages is None else Decoder(cls.messages, cls.unknown_fields)

    def on_bad_message(self, channel: Channel, error: BadMessage) -> None:
        """A client sent what `messages` does not allow. By default it is sent `{"type": "error", "error": TEXT}`,
        where the text names the field.
        """
        channel.send_json({"type": "error", "error": str(error)})

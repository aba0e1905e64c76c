"""Group 13: what an offer of compression says, what its answer may say, and that both keep to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

from ..case import Case, Grade, Message, Outcome, Refused, Say, Section, binary, echoed, text
from ..deflate import offer
from ..opening import Target
from .payloads import bytes_of, text_of

_SOME_BITS: Final = (None, 8, 9, 12, 15)
_ALL_BITS: Final = range(8, 16)
_FLAGS: Final = ((False, False), (False, True), (True, False), (True, True))
_PARAMETERS: Final = "RFC 7692, 7.1"
_REACH: Final = 262
"""zlib refers back at most to a window less this many bytes."""

_PROSE: Final = text(text_of(3000))
"""Large enough for a server that leaves small messages as they are."""


def cases(target: Target) -> Iterator[Case]:
    """Group 13."""
    yield from _combinations()
    yield from _windows()
    yield from _to_be_declined()
    yield from _several()
    yield from _takeover()


def _say(section: Section, title: str, offered: str, *messages: Message) -> Case:
    return section.case(title, [Say(message) for message in messages], echoed(*messages), offer=offered)


def _combinations() -> Iterator[Case]:
    """Every combination of parameters, with a message that comes again and again."""
    for number, (server_flag, client_flag) in enumerate(_FLAGS, 1):
        section = Section(f"13.{number}", _PARAMETERS)
        client: tuple[int | bool, ...] = (False, True, *(bits for bits in _SOME_BITS if bits))
        for server_bits, client_bits in product(_SOME_BITS, client):
            offered = offer(
                server_no_takeover=server_flag,
                client_no_takeover=client_flag,
                server_bits=server_bits,
                client_bits=client_bits,
            )
            yield _say(section, offered, offered, _PROSE, text("small"), _PROSE, binary(bytes(2000)), _PROSE)


def _windows() -> Iterator[Case]:
    """Content that comes again at the far end of each window, and of the next larger one."""
    server, client = Section("13.5", "RFC 7692, 7.1.2.1"), Section("13.6", "RFC 7692, 7.1.2.2")
    for bits in _ALL_BITS:
        near, far = max((1 << bits) - _REACH, 100), (1 << bits) + 50
        messages = [binary(bytes_of(distance)[:distance] * 2) for distance in (near, far, near)]
        offered = offer(server_bits=bits, client_bits=True)
        yield _say(server, f"the server keeps to a window of {bits} bits", offered, *messages)
        offered = offer(client_bits=bits)
        yield _say(client, f"the server keeps a window for the client's {bits} bits", offered, *messages)


def _to_be_declined() -> Iterator[Case]:
    """A server must decline what it does not understand, and may refuse what is not even in form."""
    section = Section("13.7", "RFC 7692, 7.1")
    name = "permessage-deflate"
    for parameters in (
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=0",
        "server_max_window_bits=-9",
        "server_max_window_bits=010",
        "server_max_window_bits=1000000000000",
        "server_max_window_bits=ten",
        "server_max_window_bits",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        "client_max_window_bits=ten",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "server_max_window_bits=10; server_max_window_bits=10",
        "an_unknown_parameter",
        "an_unknown_parameter=10",
    ):
        offered = f"{name}; {parameters}"
        yield _say(section, f"to be declined: {parameters}", offered, _PROSE)
    section = Section("13.8", "RFC 6455, 9.1")
    refused = Outcome(Refused((400,)))
    for offered in (
        f"{name};",
        f"{name};;",
        f"{name}; =10",
        ";",
        f"{name}; server_max_window_bits=",
        "deflate stream",
    ):
        yield section.case(
            f"not in form: {offered}",
            [Say(_PROSE)],
            refused,
            echoed(_PROSE, grade=Grade.NON_STRICT),
            offer=offered,
        )


def _several() -> Iterator[Case]:
    section = Section("13.9", "RFC 7692, 5")
    good, name = offer(client_bits=True), "permessage-deflate"
    lists = {
        "an unknown parameter, then a good offer": f"{name}; unknown, {good}",
        "a window of 99 bits, then a good offer": f"{name}; server_max_window_bits=99, {good}",
        "a good offer, then an unknown parameter": f"{good}, {name}; unknown",
        "the same offer twice": f"{good}, {good}",
        "another extension, then a good offer": f"x-unknown; a=1, {good}",
        "a good offer, then another extension": f"{good}, x-unknown",
        "ten offers that are not understood, then a good one": ", ".join([f"{name}; unknown"] * 10 + [good]),
        "a value in quotation marks": f'{name}; client_max_window_bits="10"',
        "white space everywhere": f"  {name} ;  client_max_window_bits  ,  x-unknown ",
        "from the smallest window to the largest": ", ".join(
            offer(server_bits=b, client_bits=b) for b in range(9, 16)
        ),
        "no takeover, or else with it": f"{offer(server_no_takeover=True, client_bits=True)}, {good}",
    }
    for title, offered in lists.items():
        yield _say(section, title, offered, _PROSE, _PROSE)


def _takeover() -> Iterator[Case]:
    section = Section("13.10", "RFC 7692, 7.1.1")
    noise = binary(bytes_of(4000))
    for server_flag, client_flag in _FLAGS:
        offered = offer(server_no_takeover=server_flag, client_no_takeover=client_flag, client_bits=True)
        for count in (2, 20):
            yield _say(section, f"the same noise {count} times, {offered}", offered, *[noise] * count)

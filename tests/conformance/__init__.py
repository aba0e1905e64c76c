"""A conformance suite for WebSocket servers that echo: RFC 6455 and RFC 7692, in raw frames.

`python -m tests.conformance ws://HOST:PORT/PATH` runs it; `docs/conformance.md` tells more. Pure parts:
`frames` and `deflate` (codecs), `opening` (the handshake), `case` (what a case is), `groups` (the cases),
`heard` (what a server sent) and `judge` (what to think of it). `connection` and `runner` do the I/O.
"""

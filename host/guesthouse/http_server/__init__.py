"""The HTTP server of a node, `http-server:distro:sys`: sockets, channels, bindings and who may use them.

What is decided is decided in modules without I/O (`paths`, `bindings`, `channels`, `outbox`, `framing`,
`register`, `upgrade`, `auth`, `origin`, ...); `connection`, `http_protocol`, `app` and `server` are the
shells that move bytes.
"""

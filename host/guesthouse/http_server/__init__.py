"""The HTTP server of a node, `http-server:distro:sys`: sockets, channels, bindings and who may use them.

Decisions are made in modules without I/O; `server`, `listener`, `http_connection`, `websocket.connection` and
`http.app` are the thin I/O layer around them.
"""

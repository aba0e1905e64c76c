"""Subprocesses between clients' sockets and the node: TLS and compression, on cores of their own."""

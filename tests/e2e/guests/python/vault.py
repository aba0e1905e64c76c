"""A page and an echoing WebSocket on the package's own sub-domain alone, and the same page on the node's host."""

from __future__ import annotations

from guesthouse_sdk import Channel, LazyLoadBlob, Process, bind_http_static_path, bind_ws_path

PAGE = (
    b"""<!doctype html><html lang="en"><title>Vault</title><link rel="icon" href="data:,"><h1>Inside</h1>"""
)


class Vault(Process):
    """Says back what it is told."""

    def on_start(self) -> None:
        bind_http_static_path("/page", LazyLoadBlob("text/html", PAGE), secure=True)
        bind_http_static_path("/outside", LazyLoadBlob("text/html", PAGE))
        bind_ws_path("/socket", secure=True)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        channel.send(message)


main = Vault

"""The names of the templates of `guesthouse new`. Imported by the command line, so it imports nothing."""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("python", "typescript", "javascript", "c", "cpp", "go", "rust")
KINDS: Final = ("echo", "chat", "http")
TEMPLATES: Final = tuple(
    language if kind == "echo" else f"{language}-{kind}" for language in LANGUAGES for kind in KINDS
)
"""`LANGUAGE`, `LANGUAGE-chat`, `LANGUAGE-http`."""

"""Recognises files that are not components by their first bytes. Pure."""

from __future__ import annotations

from typing import Final

HEADER_BYTES: Final = 4096
"""Bytes that `magic_fault` needs, or the whole file if it is shorter."""

_WASM: Final = b"\x00asm"
_COMPONENT: Final = b"\x0d\x00\x01\x00"
_CORE_MODULE: Final = b"\x01\x00\x00\x00"


def magic_fault(head: bytes) -> str | None:
    """Return what is wrong with a file that starts like this, and the remedy; None for a component.

    The text follows the file's name: "is empty: build it again".
    """
    if not head:
        return "is empty: build it again"
    if head.startswith(_WASM):
        return _wasm_fault(head[4:8])
    if _WASM.startswith(head):
        return "is truncated: copy or build it again"
    if head.startswith(b"PK"):
        return "is a zip archive, not a component: name it as a package"
    if _is_text(head):
        return "is text, not a component: build the component from it and name that"
    return "is not a WebAssembly component: name the .wasm that 'guesthouse build' makes"


def _wasm_fault(version: bytes) -> str | None:
    if version == _COMPONENT:
        return None
    if version == _CORE_MODULE:
        return "is a core module, not a component: build it with 'guesthouse build', or for wasm32-wasip2"
    if len(version) < 4:
        return "is truncated: copy or build it again"
    return f"is WebAssembly of the unknown version {version.hex()}: build it with a current tool chain"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # otherwise a character truncated at the end of the head
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)

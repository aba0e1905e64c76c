"""The host names of a TLS certificate."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from guesthouse.core.files.regular_file import read_regular

_ANY_LABEL: Final = "*."


class CertifiedNames(Struct, frozen=True):
    """The names of a certificate."""

    names: frozenset[str] = frozenset()
    wildcards: frozenset[str] = frozenset()
    """Parents of its wildcard names. They do not stand for the node itself, which may be one of their labels."""


def certified_names(path: str | None) -> CertifiedNames:
    """DNS names of the first certificate in a PEM file; none if it cannot be read, which loading it will report."""
    if path is None:
        return CertifiedNames()
    from cryptography import x509  # slow to import, and only needed with TLS

    try:
        certificate = x509.load_pem_x509_certificate(read_regular(path))
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]
    except (OSError, ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return CertifiedNames()
    below = frozenset(name.removeprefix(_ANY_LABEL) for name in names if name.startswith(_ANY_LABEL))
    return CertifiedNames(frozenset(name for name in names if _ANY_LABEL not in name), below)

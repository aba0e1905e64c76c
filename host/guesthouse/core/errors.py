"""The base of all errors that Guesthouse raises deliberately."""

from __future__ import annotations


class GuesthouseError(Exception):
    """An error that the user can fix.

    The message is one line: it names the thing, the reason and the remedy. The command line prints
    it and exits with 1; any other exception is a bug and shows a traceback.
    """


class BadProcessId(GuesthouseError, ValueError):
    """Text is not a process id."""


class BadAddress(GuesthouseError, ValueError):
    """Text is not an address."""


class BadNodeName(GuesthouseError, ValueError):
    """Text is not a node name."""


class BadSetting(GuesthouseError):
    """A setting has an unknown name or an invalid value."""

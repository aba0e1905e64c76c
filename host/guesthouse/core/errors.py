"""The base of every error that Guesthouse raises on purpose."""

from __future__ import annotations


class GuesthouseError(Exception):
    """Something went wrong that a person can fix.

    The message is one line: it names the thing, the reason and the remedy. The command line prints
    it as it is and exits with 1; everything else is a defect and shows a traceback.
    """


class BadProcessId(GuesthouseError, ValueError):
    """Text that should name a process does not."""


class BadAddress(GuesthouseError, ValueError):
    """Text that should be an address is not."""


class BadNodeName(GuesthouseError, ValueError):
    """Text that should name a node does not."""

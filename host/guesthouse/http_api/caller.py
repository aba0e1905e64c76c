"""Who asks for an operation, and how far that reaches. Pure."""

from __future__ import annotations

from msgspec import Struct

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.errors import BadProcessId
from guesthouse.http_api.api_keys import ApiKey, Role
from guesthouse.http_api.problems import INVALID, OTHER_PROCESS, ROLE_TOO_LOW, ApiProblem


class Caller(Struct, frozen=True):
    """The holder of a key, or whoever else is given a role."""

    name: str
    """In the log."""
    role: Role
    process: str | None = None
    """The only process that it may see; None for all."""

    @classmethod
    def with_key(cls, key: ApiKey) -> Caller:
        """Whoever shows a key."""
        return cls(f"API key {key.name} ({key.id})", key.role, key.process)

    def check_role(self, needed: Role) -> None:
        """Raises:
        ApiProblem: the role does not cover that one.
        """
        if not self.role.covers(needed):
            raise ApiProblem(ROLE_TOO_LOW, f"this key has the role {self.role}; this takes {needed}")

    def sees(self, process: ProcessId) -> bool:
        """Whether a process is one of its own."""
        return self.process is None or self.process == str(process)

    def named(self, text: str) -> ProcessId:
        """The process that it names.

        Raises:
            ApiProblem: that is no process id, or not its own.
        """
        try:
            process = canonical(ProcessId.parse(text))
        except BadProcessId as error:
            raise ApiProblem(INVALID, str(error)) from None
        if not self.sees(process):
            raise ApiProblem(OTHER_PROCESS, f"this key is for {self.process}")
        return process

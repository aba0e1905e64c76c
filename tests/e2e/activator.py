"""Starts `guesthouse` as a service manager does that has opened its sockets: `LISTENERS` is `FD:NAME,…`."""

import os
import sys

passed = [each.partition(":") for each in os.environ.pop("LISTENERS").split(",")]
aside = [os.dup(int(descriptor)) for descriptor, _, _ in passed]
while any(descriptor < 3 + len(passed) for descriptor in aside):
    aside = [os.dup(descriptor) for descriptor in aside]
for place, descriptor in enumerate(aside, 3):
    os.dup2(descriptor, place)
told = {
    "LISTEN_PID": os.environ.pop("AS_PID", str(os.getpid())),
    "LISTEN_FDS": str(len(passed)),
    "LISTEN_FDNAMES": ":".join(name for _, _, name in passed),
}
os.execve(  # noqa: S606 - a program of its own, as a service manager runs it
    sys.executable, [sys.executable, "-m", "guesthouse", *sys.argv[1:]], {**os.environ, **told}
)

"""Examples of each command, which its `--help` ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "run": (
        "guesthouse run                               # the installed packages, on 127.0.0.1:8080",
        "guesthouse run --dev ./chat                  # rebuild and reload it as you edit",
        "guesthouse run --home /var/lib/guesthouse --host 0.0.0.0 --port 443 --tls-cert cert.pem --tls-key key.pem",
    ),
    "new": (
        "guesthouse new counter",
        "guesthouse new counter --template c --publisher my-node.os",
    ),
    "build": (
        "guesthouse build .                           # what its package.toml says",
        "guesthouse build ./chat -o chat.zip          # to install it elsewhere",
    ),
    "inspect": ("guesthouse inspect build/chat.wasm",),
    "install": (
        "guesthouse install chat.zip",
        "guesthouse install --yes --home /var/lib/guesthouse ./chat",
        "guesthouse install chat.zip --on a.os --on b.os",
        "guesthouse install chat.zip --everywhere",
    ),
    "api-key": (
        "guesthouse api-key create backend --role push --expires 90d",
        "guesthouse api-key list",
        "guesthouse api-key revoke backend",
    ),
    "dashboard": (
        "guesthouse dashboard --open",
        "guesthouse dashboard --role read --expires 30d # to watch only",
    ),
    "cluster": (
        "guesthouse cluster init --nats nats://10.0.0.1:4222 --node a.os",
        "guesthouse cluster ticket                    # at a.os; prints what the next line takes",
        "guesthouse cluster join TICKET --node b.os   # at the other machine",
        "guesthouse cluster nodes",
    ),
    "uninstall": (
        "guesthouse uninstall chat:my-node.os",
        "guesthouse uninstall chat:my-node.os --purge # and delete what it stored",
    ),
    "rollback": ("guesthouse rollback chat:my-node.os",),
    "packages": (
        "guesthouse packages",
        "guesthouse packages --rights                 # what each asks for, and who granted it",
        "guesthouse packages --cluster                # of all nodes",
    ),
    "ps": (
        "guesthouse ps",
        "guesthouse ps --limits",
        "guesthouse ps --cluster                      # of all nodes",
    ),
    "top": (
        "guesthouse top",
        "guesthouse top --once --sort memory --json",
    ),
    "channels": ("guesthouse channels",),
    "logs": (
        "guesthouse logs -f",
        "guesthouse logs chat:chat:my-node.os --level warning --since 2h",
        'guesthouse logs -f --grep "out of memory"',
    ),
    "log-level": (
        "guesthouse log-level chat:chat:my-node.os warning   # drop its info and debug",
        "guesthouse log-level chat:my-node.os debug          # and show its debug on standard error",
        "guesthouse log-level chat:chat:my-node.os default",
    ),
    "connect": (
        "guesthouse connect echo:echo:my-node.os",
        "echo hello | guesthouse connect echo:echo:my-node.os",
        'guesthouse connect chat:chat:my-node.os/rooms/7 --json --claims \'{"user": "ann"}\'',
    ),
    "send": ("guesthouse send counter:counter:my-node.os '\"get\"' --await 5",),
    "restart-node": (
        "guesthouse restart-node",
        "guesthouse restart-node --home /var/lib/guesthouse --wait 120",
    ),
    "drain": (
        "guesthouse drain                             # and end when all clients are gone",
        "guesthouse drain --notice 10 --rate 50 --seconds 600",
        "guesthouse drain --stay                      # and wait: --cancel takes clients again",
        "guesthouse drain --cancel",
    ),
    "restart": ("guesthouse restart chat:chat:my-node.os",),
    "stop": ("guesthouse stop chat:chat:my-node.os",),
    "kill": ("guesthouse kill chat:chat:my-node.os",),
    "explain": ("guesthouse explain chat:chat:my-node.os",),
    "backup": (
        "guesthouse backup /backups/node-monday.tar.gz",
        "guesthouse backup --force --home /var/lib/guesthouse /backups/node.tar.gz",
    ),
    "restore": (
        "guesthouse restore --home /var/lib/guesthouse /backups/node.tar.gz",
        "guesthouse restore --force /backups/node.tar.gz   # in place of what is there",
    ),
    "completion": (
        "guesthouse completion bash > ~/.local/share/bash-completion/completions/guesthouse",
        'guesthouse completion zsh > "${fpath[1]}/_guesthouse"',
        "guesthouse completion fish > ~/.config/fish/completions/guesthouse.fish",
    ),
    "config": (
        "guesthouse config",
        "guesthouse config check new.toml",
        "guesthouse config schema > guesthouse.schema.json",
    ),
    "doctor": (
        "guesthouse doctor",
        "guesthouse doctor --home /var/lib/guesthouse --json",
    ),
    "token": (
        "guesthouse token",
        "guesthouse token --ttl 600 --no-renew --process chat:chat:my-node.os --channels 1",
        'guesthouse token --process chat:chat:my-node.os --claims \'{"user": "ann"}\'',
    ),
    "revoke": (
        'guesthouse revoke "$TOKEN"',
        "guesthouse revoke --all",
    ),
    "passwd": (
        "guesthouse passwd",
        "guesthouse passwd < password-file",
    ),
}

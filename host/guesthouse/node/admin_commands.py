"""The commands that a node accepts on its control socket."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import ValidationError, convert

from guesthouse.control.control_server import BadCommand, Command
from guesthouse.core.address import Address, ProcessId, canonical
from guesthouse.core.errors import BadProcessId
from guesthouse.core.json_text import is_text
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_api.api_keys import key_row
from guesthouse.http_api.rows import channel_row, process_rows
from guesthouse.kernel.messaging.node_sender import Answered
from guesthouse.kernel.messaging.pending_requests import LONGEST_WAIT
from guesthouse.kernel.supervision.explain import explained
from guesthouse.kernel.supervision.supervised import NoSuchProcess
from guesthouse.node.base_node import BaseNode
from guesthouse.node.draining.client_drain import ClientDrain, DrainOptions, DrainState
from guesthouse.node.installer import Installer
from guesthouse.node.log import as_dict
from guesthouse.node.log_filter import LEVELS, LogFilter
from guesthouse.node.package_hosts import NeedsConsent
from guesthouse.package.store.installed import parse_package_id

if TYPE_CHECKING:
    from guesthouse.cluster.administration.administration import Administration

_SOURCE: Final = re.compile(r"[\w.~:-]{1,255}")
MOST_LINES: Final = 100_000
LONGEST_TOKEN_SECONDS: Final = 10 * 366 * 24 * 3600

MOST_SHOWN: Final = 4 * 1024 * 1024
"""Most bytes of a response, blob included, that `send` returns."""


class CommandedNode(BaseNode, ABC):
    """A node as its operator's commands see it; `Node` is one."""

    installer: Installer
    client_drain: ClientDrain

    @property
    def draining(self) -> bool:
        """Whether its clients are told to go elsewhere, or were."""
        return self.client_drain.state is not DrainState.SERVING

    @abstractmethod
    async def start_cluster(self) -> None:
        """Take part in the cluster that the home has, if there is one."""

    @abstractmethod
    async def stop_cluster(self) -> None:
        """End that."""


class NodeCommands:
    """The commands of one node. Each takes a request and yields JSON values."""

    def __init__(self, node: CommandedNode) -> None:
        self._node = node

    def all(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"node": self.node, "ps": self.ps, "channels": self.channels, "logs": self.logs} | {
            "token": self.token,
            "revoke": self.revoke,
            "password-changed": self.password_changed,
            "api-keys": self.api_keys,
            "api-key-create": self.create_api_key,
            "api-key-revoke": self.revoke_api_key,
            "dashboard-link": self.dashboard_link,
            "send": self.send,
            "restart": self.restart,
            "restart-node": self.restart_node,
            "drain": self.drain,
            "stop": self.stop,
            "kill": self.kill,
            "explain": self.explain,
            "install": self.install,
            "uninstall": self.uninstall,
            "rollback": self.rollback,
            "packages": self.packages,
            "config": self.config,
            "log-level": self.log_level,
            "cluster": self.cluster,
            "log-source": self.log_source,
        }

    async def node(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The node itself: its name, where it listens and the certificate that it shows."""
        settings = self._node.settings
        yield {
            "node": settings.node,
            "url": self._node.http.url,
            "tls_cert": settings.http.tls_cert,
            "tls_key": settings.http.tls_key,
            "run": self._node.run_id,
            "started": self._node.started,
            "drain": self._node.client_drain.status(),
            "gateways": self._gateways(),
        }

    def _gateways(self) -> list[dict[str, object]]:
        """The local gateways."""
        gateways = self._node.local_gateways
        if gateways is None:
            return []
        return [
            {
                "gateway": each.name,
                "pid": each.os_pid,
                "state": "ready" if each.is_ready() else "starting",
                "connections": len(each.clients),
                "restarts": gateways.restarts[each.name],
            }
            for each in sorted(gateways.alive(), key=lambda each: each.name)
        ]

    async def config(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each setting, and where it comes from."""
        from guesthouse.node.settings.settings_listing import listed_settings  # a node starts without

        given = await asyncio.to_thread(self._node.given)
        for item in listed_settings(self._node.settings, given):
            yield item

    async def restart_node(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Restart the node itself, with the channels that outlive it. Yields the run that ends: another follows."""
        restart = self._node.on_restart
        if restart is None or not self._node.started or self._node.stopping:
            raise BadCommand("this node cannot be restarted now: it starts or stops")
        yield {"run": self._node.run_id}
        restart()

    async def drain(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Drain the node, or with `cancel` no longer; yields how far it is until it is done, or once without `wait`."""
        drain = self._node.client_drain
        if request.get("cancel") is True:
            await drain.cancel()
        else:
            given = {name: request[name] for name in DrainOptions.__struct_fields__ if name in request}
            try:
                options = convert(given, DrainOptions)
            except ValidationError as error:
                raise BadCommand(f"drain: {error}") from None
            if not self._node.started:
                raise BadCommand("this node cannot be drained now: it starts")
            await drain.begin(options)
        if request.get("wait") is not True:
            yield drain.status()
            return
        async for status in drain.watch():
            yield status

    async def ps(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each process: what it is, where it runs, and its use of each limit; with `cluster`, those of all nodes."""
        if request.get("cluster") is True:
            async for row in self._cluster().listed("ps"):
                yield row
            return
        async for row in process_rows(self._node):
            yield row

    async def channels(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each open channel."""
        for channel in self._node.http.open_channels():
            yield channel_row(channel)

    async def logs(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The last `lines` lines of those asked for, and with `follow` new ones until the client leaves."""
        lines, follow = request.get("lines"), request.get("follow", False)
        if type(lines) is not int or not 0 <= lines <= MOST_LINES or type(follow) is not bool:
            raise BadCommand(f"logs takes `lines`, from 0 to {MOST_LINES}, and `follow`")
        log, wanted = self._node.log, _wanted_lines(request)
        subscription = log.subscribe(wanted)
        try:
            for line in log.recent(lines, wanted):
                yield as_dict(line)
            came = asyncio.Event()
            subscription.on_line = came.set
            while follow:
                came.clear()
                for line in subscription.take():
                    yield as_dict(line)
                await came.wait()
        finally:
            log.unsubscribe(subscription)

    async def log_level(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Set the `level` of a `source` of the log; yields all that were set."""
        source, level = request.get("source"), request.get("level")
        if level is not None:
            if not isinstance(source, str) or not isinstance(level, str) or not _SOURCE.fullmatch(source):
                raise BadCommand("log-level takes a `source`, a process, package or part, and a `level`")
            self._node.log.levels.set(source, level)
        for name, set_to in self._node.log.levels.all().items():
            yield {"source": name, "level": set_to}

    async def log_source(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Yields whether lines of a `source` are in the log, or a process or package here is called so."""
        source = _text(request, "source")
        packages = {str(package.id) for package in self._node.packages}
        if source in packages or self._node.log.recent(1, LogFilter(source)):
            yield True
            return
        try:
            process = canonical(ProcessId.parse(source))
        except BadProcessId:
            yield False
        else:
            node = self._node
            yield node.router.find(process) is not None or node.supervisor.ended.get(process) is not None

    async def cluster(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Carry out an `action` of `guesthouse cluster`."""
        try:
            from guesthouse.cluster.commands import carry_out  # only where it is wanted
        except ModuleNotFoundError as error:
            raise BadCommand(f"clusters need {error.name}: run pip install 'guesthouse[cluster]'") from None
        async for item in carry_out(self._node, request):
            yield item

    async def token(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """An auth token of this node, valid for `ttl` seconds."""
        ttl = request.get("ttl")
        if type(ttl) is not int or not 0 < ttl <= LONGEST_TOKEN_SECONDS:
            raise BadCommand(f"a token's ttl is from 1 to {LONGEST_TOKEN_SECONDS} seconds")
        yield self._node.http.issue_token(ttl)

    async def revoke(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Revoke a token and its family, or `all` tokens; yields whether the token was one of this node."""
        token = request.get("token")
        if request.get("all") is True:
            self._node.http.revoke_all()
            self._node.log.write("node", "info", "all tokens were revoked")
            yield True
            return
        if not isinstance(token, str):
            raise BadCommand("revoke takes a `token`")
        yield self._node.http.revoke(token)

    async def password_changed(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The password was set: end logins with the old one."""
        self._node.http.password_changed()
        yield True

    async def api_keys(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each key of the HTTP API, without the key itself."""
        for key in self._node.api_keys.listed():
            yield key_row(key)

    async def create_api_key(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Make a key of the HTTP API: yields it, and what is stored of it."""
        seconds, process = request.get("seconds"), request.get("process")
        if (
            type(seconds) is bool
            or not isinstance(seconds, int | None)
            or not isinstance(process, str | None)
        ):
            raise BadCommand("a key has `seconds` and a `process`, or null")
        if seconds is not None and not 0 < seconds <= LONGEST_TOKEN_SECONDS:
            raise BadCommand(f"a key is valid for 1 to {LONGEST_TOKEN_SECONDS} seconds")
        name, role = _text(request, "name"), _text(request, "role")
        text, key = self._node.api_keys.create(name, role, time.time(), seconds=seconds, process=process)
        self._node.log.write(
            "api", "info", f"the operator made the key {name} ({key.id}) with the role {role}"
        )
        yield {"key": text, **key_row(key)}

    async def revoke_api_key(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Revoke a key of the HTTP API."""
        key = self._node.api_keys.revoke(_text(request, "name"))
        self._node.log.write("api", "info", f"the operator revoked the key {key.name} ({key.id})")
        yield key_row(key)

    async def dashboard_link(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """A link to the dashboard that logs in once, with a `role`, for `seconds`."""
        role, seconds = _text(request, "role"), request.get("seconds")
        if type(seconds) is not int or not 0 < seconds <= LONGEST_TOKEN_SECONDS:
            raise BadCommand(f"a login takes `seconds`, from 1 to {LONGEST_TOKEN_SECONDS}")
        link = self._node.dashboard_link(role, seconds)
        if link is None:
            raise BadCommand(
                "this node serves no dashboard: set port and dashboard = true in the section [api] of "
                "guesthouse.toml, and restart it"
            )
        self._node.log.write("api", "info", f"the operator made a link to the dashboard with the role {role}")
        yield {"url": link}

    async def send(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Send a request as the node's terminal; with `seconds`, yield the response."""
        target, body = self._target(request.get("address")), request.get("body")
        blob, seconds = _blob(request.get("blob")), request.get("seconds")
        if not isinstance(body, str) or not is_text(body):
            raise BadCommand("send takes a `body` of text")
        terminal = self._node.router.terminal
        if seconds is None:
            terminal.tell(target, body.encode(), blob)
            return
        if type(seconds) is not int or not 0 < seconds <= LONGEST_WAIT:
            raise BadCommand(f"send takes `seconds`, from 1 to {LONGEST_WAIT}")
        yield _response(await terminal.ask(target, body.encode(), blob, seconds))

    async def restart(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Restart a process, or start one that was stopped."""
        process_id = _process_id(request)
        await self._node.restart(process_id)
        yield self._state_of(process_id)

    async def stop(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """End a process for good. One that has ended is listed no longer."""
        process_id = _process_id(request)
        await self._node.stop(process_id)
        yield self._state_of(process_id)

    async def kill(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """End a run of a process as a trap would."""
        process_id = _process_id(request)
        await self._node.supervisor.kill(process_id)
        yield self._state_of(process_id)

    async def explain(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """What a process holds and why, what it was refused, and who may message it."""
        process_id = _process_id(request)
        process = self._node.router.find(process_id)
        if process is None:
            raise NoSuchProcess(f"this node has no process {process_id}: `guesthouse ps` lists its processes")
        yield explained(process)

    async def install(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Install the package at a path, or upgrade to it. If it asks for more than the installed version, `consent`
        has to be the hash of what was shown, or true; otherwise yields what it asks for. With `nodes`, names with
        blanks between them, or `everywhere`, on these nodes: yields what became of each.
        """
        consent = request.get("consent")
        if not isinstance(consent, str | bool | None):
            raise BadCommand("`consent` is the hash of a package, or true")
        everywhere, nodes = request.get("everywhere") is True, request.get("nodes")
        if everywhere or nodes is not None:
            named = [] if everywhere else _text(request, "nodes").split()
            if not everywhere and not named:
                raise BadCommand("install takes `nodes`, at least one, or `everywhere`")
            async for item in self._cluster().install(_text(request, "package"), named, consent):
                yield item
            return
        try:
            yield await self._node.installer.install(_text(request, "package"), consent)
        except NeedsConsent as needed:
            yield {"needs_consent": str(needed), **needed.item}

    async def uninstall(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Remove a package from the node; with `purge`, what it stored too."""
        drop_state = request.get("purge", False) is True
        package_id = parse_package_id(_text(request, "package"))
        await self._node.installer.uninstall(package_id, drop_state=drop_state)
        yield package_id

    async def rollback(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Return to the previous version of a package."""
        yield await self._node.installer.rollback(parse_package_id(_text(request, "package")))

    async def packages(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each package that is installed or running; with `cluster`, those of all nodes."""
        if request.get("cluster") is True:
            async for row in self._cluster().listed("packages"):
                yield row
            return
        for item in self._node.installer.listed():
            yield item

    def _cluster(self) -> Administration:
        administration = self._node.administration
        if administration is None:
            raise BadCommand(
                "this node is in no cluster: found one with `guesthouse cluster init`, or join one with `guesthouse "
                "cluster join`"
            )
        return administration

    def _state_of(self, process_id: ProcessId) -> dict[str, Any]:
        process = self._node.router.find(process_id)
        state = "stopped" if process is None else process.state.value
        return {"process": str(process_id), "state": state}

    def _target(self, text: object) -> Address:
        if not isinstance(text, str):
            raise BadCommand("send takes an `address`")
        return Address.parse(text if "@" in text else f"{self._node.settings.node}@{text}")


def _text(request: Mapping[str, Any], key: str) -> str:
    text = request.get(key)
    if not isinstance(text, str):
        raise BadCommand(f"this command takes a `{key}`")
    return text


def _process_id(request: Mapping[str, Any]) -> ProcessId:
    text = request.get("process")
    if not isinstance(text, str):
        raise BadCommand("this command takes a `process`")
    return canonical(ProcessId.parse(text))


def _wanted_lines(request: Mapping[str, Any]) -> LogFilter:
    """The filter of a request for log lines.

    Raises:
        BadCommand: a field is not what it should be.
    """
    try:
        wanted = convert(
            {name: request[name] for name in LogFilter.__struct_fields__ if name in request}, LogFilter
        )
    except ValidationError as error:
        raise BadCommand(f"logs: {error}") from None
    if wanted.level not in LEVELS:
        raise BadCommand(f"logs takes a `level` of {', '.join(LEVELS)}")
    return wanted


def _blob(text: object) -> LazyLoadBlob | None:
    if text is None:
        return None
    try:
        return LazyLoadBlob(None, base64.b64decode(str(text), validate=True))
    except binascii.Error:
        raise BadCommand("a `blob` is base64") from None


def _response(answered: Answered) -> dict[str, Any]:
    """A response as JSON: the body as text where it is UTF-8, and as base64.

    Raises:
        BadCommand: it is over `MOST_SHOWN` and would take too long to encode.
    """
    size = len(answered.body) + (0 if answered.blob is None else len(answered.blob.bytes))
    if size > MOST_SHOWN:
        raise BadCommand(
            f"the response has {size} bytes, over the limit of {MOST_SHOWN}: request it in parts"
        )
    try:
        text = answered.body.decode()
    except UnicodeDecodeError:
        text = None
    blob = answered.blob
    return {
        "source": answered.source,
        "body": text,
        "body_base64": base64.b64encode(answered.body).decode(),
        "metadata": answered.metadata,
        "blob": None
        if blob is None
        else {"mime": blob.mime, "bytes_base64": base64.b64encode(blob.bytes).decode()},
    }

"""Files at paths that others choose: nothing waits for whoever might write to them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from guesthouse.cluster.nats_client import read_access
from guesthouse.cluster.settings_file import remember
from guesthouse.core.config import HttpSettings, load_settings
from guesthouse.core.errors import BadSetting, GuesthouseError
from guesthouse.core.files.regular_file import NotRegular, open_regular, read_regular, refuse_irregular
from guesthouse.core.settings.cluster_settings import ClusterSettings
from guesthouse.http_server.certificate import certified_names
from guesthouse.local_gateway.passed_certificate import PassedCertificate
from guesthouse.node.doctor.network_checks import certificate
from guesthouse.node.log_routing import route


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def unix_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return path


def device(_: Path) -> Path:
    return Path("/dev/zero")


@pytest.mark.parametrize(
    ("make", "kind"), [(fifo, "a FIFO"), (unix_socket, "a socket"), (device, "a device")]
)
def test_what_is_no_regular_file_is_refused_by_its_kind(
    tmp_path: Path, make: Callable[[Path], Path], kind: str
) -> None:
    path = make(tmp_path / "it")
    for attempt in (open_regular, read_regular, refuse_irregular):
        with pytest.raises(NotRegular) as refused:
            attempt(path)
        assert refused.value.strerror == f"it is {kind} and no regular file"


def test_regular_files_are_read_through_links_where_these_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"content"
    with pytest.raises(NotRegular, match="a link"):
        open_regular(tmp_path / "link", follow=False)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")


def test_a_file_that_is_replaced_before_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fifo(tmp_path / "it")
    monkeypatch.setattr("guesthouse.core.files.regular_file.refuse_irregular", lambda *_, **__: None)
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotRegular):
        open_regular(path)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_no_file_that_settings_name_is_waited_for(tmp_path: Path) -> None:
    path = fifo(tmp_path / "guesthouse.toml")
    named = str(path)
    attempts: tuple[tuple[Callable[[], object], type[Exception]], ...] = (
        (lambda: load_settings(str(tmp_path), {}), BadSetting),
        (lambda: remember(tmp_path, ["nats://127.0.0.1"], None), GuesthouseError),
        (lambda: route(named), BadSetting),
        (lambda: read_access(replace(ClusterSettings(), credentials=named)), BadSetting),
        (lambda: read_access(replace(ClusterSettings(), tls_ca=named)), BadSetting),
        (lambda: read_access(replace(ClusterSettings(), tls_cert=named, tls_key=named)), BadSetting),
        (lambda: PassedCertificate(named, None), NotRegular),
    )
    for attempt, fault in attempts:
        with pytest.raises(fault, match="a FIFO"):
            attempt()
    assert HttpSettings(tls_cert=named)
    assert not certified_names(named).names
    (found,) = certificate(named, None)
    assert "a FIFO" in found.text

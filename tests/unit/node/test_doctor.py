"""What `guesthouse doctor` finds, of real files, sockets, certificates and databases."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from guesthouse.core.config import load_settings
from guesthouse.core.home import Home
from guesthouse.http_api.api_keys import ApiKeys
from guesthouse.kernel.storage.tables import KERNEL_TABLES, SCHEMA_VERSION, prepare
from guesthouse.modules.registry import TABLES
from guesthouse.node.doctor import home_checks, machine, network_checks, programs
from guesthouse.node.doctor.examination import examine
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Finding, findings, worst
from guesthouse.package.store.installed import Installed, Version, write_installed


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home without faults."""
    made = Home(tmp_path / "home")
    made.prepare()
    with closing(sqlite3.connect(made.state)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        prepare(database, (*TABLES, *KERNEL_TABLES))
    made.state.chmod(0o600)
    write_installed(made.path, Installed())
    return made


def only(found: Iterable[Finding]) -> Finding:
    (finding,) = found
    return finding


def by_check(found: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in found}


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_mode, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


@pytest.mark.slow
def test_a_home_without_faults_is_found_to_have_none_and_is_not_changed(home: Home) -> None:
    (home.path / "guesthouse.toml").write_text("[http]\nport = 1\n")
    (home.path / "guesthouse.toml").chmod(0o600)
    before = snapshot(home.path)
    found = by_check(examine(home.path))
    for check in ("node", "settings", "permissions", "database", "packages", "python", "packages of Python"):
        assert found[check].status == OK, found[check]
    assert found["confinement"].status in (OK, WARN)
    assert snapshot(home.path) == before


def test_all_that_is_no_success_comes_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home/guesthouse.toml").write_text("nonsense")
    (tmp_path / "home/state.sqlite").write_text("nonsense")
    (tmp_path / "home/installed.json").write_text("nonsense")
    found = examine(tmp_path / "home")
    assert worst(found) == FAIL
    failed = {finding.check for finding in found if finding.status == FAIL}
    assert {"settings", "database", "packages"} <= failed
    for finding in found:
        assert finding.status == OK or finding.remedy, finding
        assert "\n" not in finding.text + finding.remedy


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = by_check(examine(tmp_path / "none"))
    assert found["home"].status == OK
    assert not (tmp_path / "none").exists()


def test_a_check_that_cannot_be_made_hides_no_other() -> None:
    def broken() -> Iterable[Finding]:
        raise PermissionError("no")

    assert only(findings("x", broken)).status == WARN


# --- the home


@pytest.mark.parametrize(
    ("name", "mode", "status"),
    [("node.name", 0o640, WARN), ("state.sqlite", 0o666, FAIL), ("notes", 0o666, OK)],
)
def test_what_others_can_reach_is_found(home: Home, name: str, mode: int, status: str) -> None:
    (home.path / name).touch()
    (home.path / name).chmod(mode)
    found = only(home_checks.permissions(home))
    assert found.status == status
    assert (name in found.text) == (status != OK)


def test_a_secret_that_is_a_link_is_found(home: Home) -> None:
    (home.path / "token.secret").symlink_to("/etc/hostname")
    assert only(home_checks.permissions(home)).status == FAIL


def test_a_full_disk_is_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, status in ((0, FAIL), (500 * 2**20, WARN), (2**40, OK)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert by_check(home_checks.space(home))["disk of the home"].status == status


def test_a_damaged_database_is_found(home: Home) -> None:
    with closing(sqlite3.connect(home.state)) as database, database:
        database.execute("INSERT INTO state VALUES ('p', ?)", (b"x" * 100_000,))
    with home.state.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    assert only(home_checks.database(home, running=False)).status == FAIL


def test_a_database_of_a_later_version_is_found(home: Home) -> None:
    with closing(sqlite3.connect(home.state)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    found = only(home_checks.database(home, running=False))
    assert (found.status, f"supports {SCHEMA_VERSION}" in found.text) == (FAIL, True)


def test_the_database_of_a_node_that_was_killed_is_looked_at_as_it_will_be(home: Home) -> None:
    code = "import sqlite3, sys, os; d = sqlite3.connect(sys.argv[1]); d.execute('PRAGMA wal_autocheckpoint=0')\n"
    code += "with d: d.execute(\"INSERT INTO state VALUES ('p', 'x')\")\n"
    code += "with d: d.execute('PRAGMA user_version = 99')\nos._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(home.state)], check=True)
    before = snapshot(home.path)
    assert any("-wal" in name for name in before)
    assert "its schema is 99" in only(home_checks.database(home, running=False)).text
    assert snapshot(home.path) == before


def test_packages_whose_folders_are_gone_are_named(home: Home) -> None:
    write_installed(home.path, Installed().with_version("chat:my.os", Version("1.2.3", "a" * 64)))
    found = only(home_checks.packages(home))
    assert (found.status, "chat:my.os 1.2.3" in found.text) == (FAIL, True)


def test_a_restore_that_was_cut_off_is_found(home: Home) -> None:
    assert list(home_checks.unfinished(home)) == []
    home.begin_restore()
    assert only(home_checks.unfinished(home)).status == FAIL


def test_who_holds_the_lock_is_known_without_touching_it(home: Home) -> None:
    assert home.locked_by() is None
    with home.locked():
        assert home.locked_by() == os.getpid()
    assert home.locked_by() is None


# --- ports and certificates


def test_a_port_in_use_is_found_also_if_it_is_another_listeners(tmp_path: Path) -> None:
    anywhere = ("127.0.0.1", 0)
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(anywhere)) for _ in range(3)]
        port, *others = (each.getsockname()[1] for each in taken)
        monitoring, api = others
        text = f"[http]\nport = {port}\n[monitoring]\nport = {monitoring}\n[api]\nport = {api}\n"
        (tmp_path / "guesthouse.toml").write_text(text)
        settings = load_settings(str(tmp_path), environment={})
        found = list(network_checks.ports(settings, None))
    assert [one.check for one in found] == ["port", "monitoring port", "API port"]
    assert {one.status for one in found} == {FAIL}
    assert all("is in use" in one.text and "choose another" in one.remedy for one in found)
    assert {one.status for one in network_checks.ports(settings, None)} == {OK}
    same = replace(settings, api=replace(settings.api, port=port))
    assert [one.status for one in network_checks.ports(same, None)] == [OK, OK, FAIL]
    assert only(network_checks.ports(settings, {"url": f"http://127.0.0.1:{port}"})).status == FAIL


def test_an_api_over_tls_without_a_certificate_is_found(tmp_path: Path) -> None:
    (tmp_path / "guesthouse.toml").write_text("[http]\nport = 0\n[api]\nport = 0\ntls = true\n")
    settings = load_settings(str(tmp_path), environment={})
    (found,) = [one for one in network_checks.ports(settings, None) if one.status != OK]
    assert (found.check, found.status) == ("API port", FAIL)
    assert "http.tls_cert is not" in found.text


def test_keys_of_the_api_that_no_node_can_read_are_found(home: Home) -> None:
    assert not list(home_checks.api_keys(home))
    keys = ApiKeys(home.path)
    keys.create("now", "read", time.time())
    keys.create("over", "read", 1000, seconds=60)
    found = only(home_checks.api_keys(home))
    assert (found.status, "1 of them expired" in found.text) == (OK, True)
    (home.path / "api.keys").write_text("{")
    found = only(home_checks.api_keys(home))
    assert (found.status, str(home.path / "api.keys") in found.text) == (FAIL, True)


def made_certificate(folder: Path, begins: timedelta, ends: timedelta) -> tuple[str, str]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    built = x509.CertificateBuilder(
        *(name, name, key.public_key(), 1, now + begins, now + ends), extensions=[]
    ).sign(key, hashes.SHA256())
    certificate, key_file = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_file.chmod(0o600)
    return str(certificate), str(key_file)


@pytest.mark.parametrize(
    ("begins", "ends", "status", "said"),
    [
        (-2, 30, OK, "valid until"),
        (-2, 13, WARN, "expires on"),
        (-2, -1, FAIL, "expired on"),
        (1, 30, FAIL, "is valid from"),
    ],
)
def test_when_a_certificate_is_valid_is_found(
    tmp_path: Path, begins: int, ends: int, status: str, said: str
) -> None:
    pair = made_certificate(tmp_path, timedelta(days=begins), timedelta(days=ends))
    found = only(network_checks.certificate(*pair))
    assert (found.status, said in found.text) == (status, True)


def test_a_key_of_another_certificate_or_that_others_read_is_found(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    certificate, own = made_certificate(tmp_path / "a", timedelta(days=-1), timedelta(days=90))
    _, other = made_certificate(tmp_path / "b", timedelta(days=-1), timedelta(days=90))
    assert only(network_checks.certificate(certificate, other)).status == FAIL
    assert only(network_checks.certificate(str(tmp_path / "none"), own)).status == FAIL
    os.chmod(own, 0o644)
    assert [one.status for one in network_checks.certificate(certificate, own)] == [OK, WARN]


# --- the machine


def test_a_clock_that_is_earlier_than_the_homes_files_is_found(home: Home) -> None:
    assert only(machine.clock(home.path)).status in (OK, WARN)
    later = time.time() + 3600
    os.utime(home.state, (later, later))
    assert only(machine.clock(home.path)).status == FAIL


def test_the_limits_of_a_process_are_read(tmp_path: Path) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); print(flush=True); input()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as limited:
        assert limited.stdout is not None
        limited.stdout.readline()
        found = by_check(machine.limits(load_settings(str(tmp_path), environment={}), limited.pid))
        limited.communicate(b"\n")
    assert found["open files"].status == WARN
    assert "the node's limit is 100" in found["open files"].text
    assert "LimitNOFILE=" in found["open files"].remedy


def test_gateways_need_two_files_for_each_client_also_of_one_that_has_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"Max open files": 25_000, "Max processes": 10_000, "Max address space": float("inf")}
    monkeypatch.setattr(machine, "_limits_of", lambda _: known)
    found = {}
    for gateways in range(4):
        settings = load_settings(str(tmp_path), environment={"GUESTHOUSE_GATEWAYS": str(gateways)})
        found[gateways] = by_check(machine.limits(settings, None))["open files"]
    assert [found[gateways].status for gateways in range(4)] == [OK, WARN, WARN, OK]
    assert "connections.total (20000) needs with gateways = 2" in found[2].text


def test_kernel_and_confinement_are_looked_at() -> None:
    assert {"kernel", "landlock"} <= by_check(machine.kernel()).keys()
    assert {one.check for one in machine.confinement(None)} == {"confinement"}


@pytest.mark.parametrize(
    ("found", "bounds", "met"),
    [
        ("50.0.1", "==50.0.1", True),
        ("50.0.2", "==50.0.1", False),
        ("0.54", "<0.55,>=0.54", True),
        ("0.55.0", "<0.55,>=0.54", False),
        ("8.1", ">=8.1.0", True),
        ("15.0.1rc1", "<18,>=15", True),
        ("14.9", "<18,>=15", False),
        ("1", "", True),
    ],
)
def test_versions_are_compared(found: str, bounds: str, met: bool) -> None:
    assert programs._satisfies(found, bounds) is met


def test_a_dependency_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        programs, "requires", lambda _: ["click>=99", "no-such-package>=1", "rich; extra == 'x'"]
    )
    found = only(programs.dependencies())
    assert found.status == FAIL
    assert "click" in found.text
    assert "no-such-package is not installed" in found.text


def test_tool_chains_that_are_not_there_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = by_check(programs.tool_chains())
    assert set(found) == {"builds python", "builds c", "builds rust", "builds javascript"}
    for language in ("rust", "javascript"):
        assert found[f"builds {language}"].status == OK
        assert found[f"builds {language}"].remedy


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("LoadState=not-found\nActiveState=inactive", OK),
        ("LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\nNeedDaemonReload=no", OK),
        ("LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=3\nNeedDaemonReload=no", WARN),
        ("LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\nNeedDaemonReload=yes", WARN),
        ("LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code", FAIL),
        ("LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=signal", FAIL),
    ],
)
def test_the_state_of_the_service_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, status: str
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\ncat <<END\n{said}\nEND\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(programs, "SYSTEMD", tmp_path)
    assert only(programs.service()).status == status

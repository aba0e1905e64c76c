"""What `deploy/` says fits what there is, and systemd finds nothing to complain about."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from guesthouse.cli.drain import drain
from guesthouse.cli.run import run
from guesthouse.core.config import Settings, load_settings
from guesthouse.http_server.listening import API, HTTP, MONITORING

ROOT = Path(__file__).parents[3]
SERVICE = ROOT / "deploy/guesthouse.service"
CONTAINER = ROOT / "deploy/Containerfile"
KUBERNETES = ROOT / "deploy/kubernetes.yml"
_ENDING_SECONDS = 5
"""Within which a node ends that has nothing to finish."""


SOCKETS = tuple(sorted((ROOT / "deploy").glob("*.socket")))


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", SERVICE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("file", [SERVICE, CONTAINER], ids=lambda file: file.name)
def test_its_settings_are_settings_and_leave_the_hardened_defaults(file: Path, tmp_path: Path) -> None:
    variables = dict(re.findall(r"\b(GUESTHOUSE_\w+)=(\S+)", file.read_text()))
    settings = load_settings(str(tmp_path), environment=variables)
    assert (settings.worker_confinement, settings.isolation) == ("required", "package")
    assert not settings.inspectable
    assert settings != Settings(home=str(tmp_path))


@pytest.mark.parametrize("file", [SERVICE, CONTAINER], ids=lambda file: file.name)
def test_its_flags_are_flags_of_run(file: Path) -> None:
    (command,) = re.findall(r"^(?:ExecStart=|ENTRYPOINT )(.*)$", file.read_text(), re.MULTILINE)
    known = {name for parameter in run.params for name in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", command)) <= known


def test_the_service_leaves_what_workers_confine_themselves_with() -> None:
    filters = " ".join(values("SystemCallFilter"))
    assert "landlock_restrict_self" in filters
    assert "MemoryDenyWriteExecute" not in {
        line.partition("=")[0] for line in SERVICE.read_text().splitlines()
    }
    assert values("NoNewPrivileges") == ["yes"]
    assert values("CapabilityBoundingSet") == [""]


@pytest.mark.parametrize(("file", "listener"), [*zip(SOCKETS, (API, MONITORING, HTTP), strict=True)])
def test_a_socket_unit_names_its_listener_and_is_for_the_service(file: Path, listener: str) -> None:
    unit = dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE))
    assert unit["FileDescriptorName"] == listener
    assert unit.get("Service", file.with_suffix(".service").name) == SERVICE.name
    assert "Accept" not in unit, "the node accepts connections itself"


def test_the_container_copies_what_is_there_and_runs_as_nobody_special() -> None:
    text = CONTAINER.read_text()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    assert re.search(r"^USER 10001$", text, re.MULTILINE)


def test_the_container_copies_all_that_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], project["project"]["readme"]]
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINER.read_text(), re.MULTILINE)).split()
    for path in needed:
        assert any(path == source or path.startswith(f"{source}/") for source in copied), path


def test_the_pod_is_hardened_and_probed_and_its_settings_are_settings(tmp_path: Path) -> None:
    kinds = {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES.read_text())}
    assert set(kinds) == {"Service", "StatefulSet", "NetworkPolicy"}
    assert kinds["StatefulSet"]["spec"]["replicas"] == 1, "one node uses one home"
    pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
    (node,) = pod["containers"]
    settings = load_settings(str(tmp_path), environment={each["name"]: each["value"] for each in node["env"]})
    ports = {each["name"]: each["containerPort"] for each in node["ports"]}
    assert ports == {"http": settings.http.port, "monitoring": settings.monitoring.port}
    assert pod["securityContext"]["runAsUser"] == int(
        re.findall(r"^USER (\d+)$", CONTAINER.read_text(), re.MULTILINE)[0]
    )
    assert node["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {each["mountPath"] for each in node["volumeMounts"]}
    assert volumes == {"/var/lib/guesthouse", "/tmp"}, "all that a node writes to"  # noqa: S108
    (image,) = re.findall(r"guesthouse:(\S+)", node["image"])
    assert image == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_pod_is_drained_before_it_ends_and_has_the_time_for_it() -> None:
    kinds = {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES.read_text())}
    pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
    (node,) = pod["containers"]
    program, command, *arguments = node["lifecycle"]["preStop"]["exec"]["command"]
    assert (program, command) == ("guesthouse", "drain")
    given = drain.make_context("drain", arguments).params
    assert given["stay"], "the pod's end ends the node"
    settings = load_settings("/", environment={each["name"]: each["value"] for each in node["env"]})
    needed = given["notice"] + given["seconds"] + settings.drain_seconds + _ENDING_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= needed


def test_systemd_takes_the_unit_and_calls_its_exposure_low(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / SERVICE.name
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", SERVICE.read_text(), flags=re.MULTILINE))
    for file in SOCKETS:
        (tmp_path / file.name).write_text(file.read_text())
    verified = subprocess.run(
        [analyze, "verify", unit, *(tmp_path / file.name for file in SOCKETS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout

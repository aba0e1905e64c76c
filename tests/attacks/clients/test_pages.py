"""Paths that should lead out of the folder that a process serves."""

from __future__ import annotations

import shutil
from typing import Final

import pytest

from ...e2e.packages import package
from .attacker import Attacker

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGES: Final = "/pages:pages:test.os"
REFUSED: Final = {"404 nothing is bound to this path", "400 not a valid HTTP request"}
OUTSIDE: Final = (
    "../package.toml",
    "../../../token.secret",
    "inner/../../package.toml",
    "%2e%2e/package.toml",
    "%2e%2e%2fpackage.toml",
    ".%2e/package.toml",
    "..%2fpackage.toml",
    "..%5cpackage.toml",
    "..\\package.toml",
    "%252e%252e%252fpackage.toml",
    "%c0%ae%c0%ae/package.toml",
    "%e0%80%ae%e0%80%ae/package.toml",
    "%c0%ae%c0%ae%c0%afpackage.toml",
    "..;/package.toml",
    "....//package.toml",
    ".../package.toml",
    "inner//../../package.toml",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "inner/file.txt%00.html",
    "inner/file.txt%0d%0aX-Injected:%201",
    "inner/file.txt/",
    "inner/file.txt/.",
    "inner/./file.txt",
    "inner%2ffile.txt",
    "INNER/file.txt",
    "inner/file.txt.",
    "inner/file.txt%20",
    "inner/file.txt::$DATA",
    "CON",
    "C:/windows/win.ini",
    "%uff0e%uff0e/package.toml",
    "%",
    "%2",
    "%zz",
    "\xff",
    "link",
    "link-to-home/token.secret",
    "inner",
    "a" * 3000,
)


async def test_no_path_leads_out_of_the_folder_that_is_served(attacker: Attacker) -> None:
    scene = attacker.scene
    made = scene.folder / "pages"
    shutil.copytree(package("pages"), made)
    (made / "ui/inner").mkdir()
    (made / "ui/inner/file.txt").write_text("what is served")
    await scene.install(made)
    (unpacked,) = (path.parent.parent for path in scene.daemon.home.rglob("inner/file.txt"))
    (unpacked / "link").symlink_to("/etc/passwd")
    (unpacked / "link-to-home").symlink_to(scene.daemon.home)
    expected: dict[str, str | set[str]] = {f"{PAGES}/{path}": REFUSED for path in OUTSIDE}
    expected[f"{PAGES}/{'a' * 3000}"] = "414 the path is too long"
    expected |= dict.fromkeys(
        (f"{PAGES}/inner/file.txt", f"{PAGES}/%69nner/file%2Etxt"), "200 what is served"
    )
    await attacker.carry_out(
        "path traversal and encodings",
        "fetches",
        expected,
        count=5,
        paths=list(expected),
        cookie=f"kinode-auth_e2e-node.os={scene.token}",
    )
    await scene.uninstall("pages:test.os")

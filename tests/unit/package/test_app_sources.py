"""What `run --dev` reads of a package to run it from its sources."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest

from guesthouse.package.build import app_sources
from guesthouse.package.build.app_sources import AppSources, read_sources
from guesthouse.package.build.bundler import Bundler
from guesthouse.package.errors import BuildError, PackageError
from guesthouse.package.format.manifest import BuildSpec

MODULES = Path(__file__).parents[2] / "e2e/node_modules"


def read(folder: Path, source: str = "src/app.py") -> AppSources:
    return read_sources(folder, BuildSpec("python", PurePosixPath(source)), Bundler(), print)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    for name in (
        "src/app.py",
        "src/deep/part.py",
        "src/data.txt",
        "src/build/x.py",
        "src/.hidden.py",
        "other.py",
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(f"# {name}\n")
    return package


def test_the_folder_of_the_source_is_read_except_what_is_made_and_hidden(folder: Path) -> None:
    (folder / "src/large.bin").write_bytes(bytes(2**20 + 1))
    (folder / "src/compiled.so").write_bytes(b"x")
    sources = read(folder)
    assert (sources.folder, sources.source) == (folder / "src", "app.py")
    assert list(sources.files) == ["app.py", "data.txt", "deep/part.py"]


def test_a_link_out_of_the_package_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the user")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/a.py").write_text("secret = 1\n")
    (folder / "src/secret.txt").symlink_to(tmp_path / "secret")
    (folder / "src/secrets").symlink_to(tmp_path / "secrets")
    (folder / "src/inner.py").symlink_to(folder / "other.py")
    assert list(read(folder).files) == ["app.py", "data.txt", "inner.py", "deep/part.py"]
    (folder / "linked.py").symlink_to(tmp_path / "secret")
    with pytest.raises(PackageError, match="leads out of the package"):
        read(folder, "linked.py")


def test_the_digest_is_of_names_and_content(folder: Path) -> None:
    digests = {read(folder).digest}
    (folder / "src/data.txt").write_text("other")
    digests.add(read(folder).digest)
    (folder / "src/data.txt").rename(folder / "src/datb.txt")
    digests.add(read(folder).digest)
    assert len(digests) == 3


def test_too_many_sources_and_a_missing_one_are_errors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match="does not exist"):
        read(folder, "src/none.py")
    monkeypatch.setattr(app_sources, "MOST_BYTES", 20)
    with pytest.raises(BuildError, match="has over 20 bytes of sources"):
        read(folder)


def test_installed_packages_are_found_by_their_name_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "env/lib/python3.14/site-packages"
    (site / "whole/inner").mkdir(parents=True)
    (site / "whole/__init__.py").write_text("")
    (site / "whole/inner/a.py").write_text("a")
    (site / "single.py").write_text("b")
    (site / "out.py").symlink_to(folder / "other.py")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    app_sources._site_packages.cache_clear()
    try:
        installed = read(folder).installed
        assert installed("whole") == {"whole/__init__.py": b"", "whole/inner/a.py": b"a"}
        assert installed("single") == {"single.py": b"b"}
        for name in ("none", "out", "../../../../package", "/etc", "whole/inner", "", "."):
            assert installed(name) == {}, name
    finally:
        app_sources._site_packages.cache_clear()


@pytest.mark.slow
def test_javascript_is_bundled_by_a_process_that_stays(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(MODULES)
    source, warnings = tmp_path / "app.js", list[str]()
    with closing(Bundler()) as bundler:
        for text in ("one", "two"):
            source.write_text(f"export default {{ onStart() {{ return {text!r}; }} }};\n")
            files = bundler.bundle(source, "quickjs", warnings.append)
            assert f'return "{text}"'.encode() in files["bundle.js"]
            assert b'"app.js"' in files["lines.json"]
        source.write_text("export default {};\nif (typeof x === 'nothing') x();\n")
        bundler.bundle(source, "quickjs", warnings.append)
        assert [line.partition("app.js:")[2].partition("\n")[0] for line in warnings] == [
            '2:18: warning: The "typeof" operator will never evaluate to "nothing"'
        ]
        source.write_text("let let;\n")
        with pytest.raises(BuildError, match=r"^.*app\.js:1:\d+: error: "):
            bundler.bundle(source, "quickjs", warnings.append)
        assert bundler._node is not None
        bundler._node.kill()
        bundler._node.wait()
        source.write_text("export default {};\n")
        assert bundler.bundle(source, "quickjs", warnings.append), "another is started"
    assert bundler._node is None

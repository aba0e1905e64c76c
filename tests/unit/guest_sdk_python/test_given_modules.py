"""How `guesthouse run --dev` imports an app: from sources that the node gives, with nothing of a file system."""

from __future__ import annotations

import builtins
import importlib
import io
import marshal
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType

import pytest
from guesthouse_sdk._given_modules import GivenModules

APP = {
    "given_app.py": b"from given_package import inner\nimport given_space.deep\n",
    "given_package/__init__.py": b"",
    "given_package/inner.py": b"value = open(__file__.replace('inner.py', 'words.txt')).read()\n",
    "given_package/words.txt": "wörds".encode(),
    "given_space/deep.py": b"where = __file__\n",
    "given_broken.py": b"def broken(:\n",
}


@pytest.fixture(autouse=True)
def no_module_stays() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("given_", "packed_")):
            del sys.modules[name]


def given(files: Mapping[str, bytes] = APP) -> tuple[GivenModules, list[str]]:
    """The modules, and which installed packages were asked for."""
    asked: list[str] = []
    library = {"packed_module": ("/python/packed_module.py", False, zlib.compress(marshal.dumps(_code())))}

    def installed(name: str) -> Mapping[str, bytes]:
        asked.append(name)
        return (
            {"given_installed/__init__.py": b"", "given_installed/part.py": b"x = 1\n"}
            if "ins" in name
            else {}
        )

    return GivenModules(files, library, installed), asked


def _code() -> CodeType:
    return compile("packed = True\n", "/python/packed_module.py", "exec")


def test_modules_packages_and_folders_are_imported_under_the_paths_of_a_component() -> None:
    modules, _ = given()
    with modules.importing():
        app = importlib.import_module("given_app")
    assert app.__file__ == "/1/given_app.py"
    assert app.inner.value == "wörds"
    assert app.given_space.deep.where == "/1/given_space/deep.py"


def test_installed_packages_are_asked_for_once_and_the_standard_library_is_packed() -> None:
    modules, asked = given()
    with modules.importing():
        assert importlib.import_module("given_installed.part").x == 1
        assert importlib.import_module("packed_module").packed
        for _ in range(2):
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module("given_nothing")
    assert asked == ["given_installed", "given_nothing"]


def test_afterwards_nothing_is_imported_or_read_any_more() -> None:
    opens = builtins.open
    modules, _ = given()
    with modules.importing():
        assert Path("/1/given_package/words.txt").read_text() == "wörds"
        with open("/1/given_package/words.txt", "rb") as file:
            assert file.read() == "wörds".encode()
        with pytest.raises(FileNotFoundError):
            Path("/1/given_package/words.txt").write_text("")
        with pytest.raises(FileNotFoundError):
            Path("/1/nothing.txt").read_text()
    assert builtins.open is opens
    assert io.open is opens
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("given_package")


def test_data_of_a_package_is_read_by_its_loader() -> None:
    modules, _ = given()
    assert modules.get_data("/1/given_package/../given_package/words.txt") == "wörds".encode()
    with pytest.raises(FileNotFoundError):
        modules.get_data("/1/none")


def test_a_syntax_error_names_the_file() -> None:
    modules, _ = given()
    with modules.importing(), pytest.raises(SyntaxError) as caught:
        importlib.import_module("given_broken")
    assert (caught.value.filename, caught.value.lineno) == ("/1/given_broken.py", 1)
    assert caught.value.text == "def broken(:\n"

"""Manifests come from anywhere: what is not exactly right is refused, and says what and why."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guesthouse.package.errors import PackageError
from guesthouse.package.format.manifest import (
    MAX_MANIFEST_BYTES,
    MAX_PROCESSES,
    parse_manifest,
    relative_path,
)

from .conftest import MANIFEST

WHERE = "chat/package.toml"


def test_a_manifest_gives_its_processes() -> None:
    manifest = parse_manifest(
        (MANIFEST + '[process.build]\nlanguage = "c"\nsource = "src/a.c"\n').encode(), WHERE
    )
    assert (manifest.name, manifest.publisher, manifest.version) == ("chat", "guesthouse.os", "0.1.0")
    (process,) = manifest.processes
    assert str(process.id) == "chat:chat:guesthouse.os"
    assert (process.on_exit, process.public, str(process.ui)) == ("restart", True, "ui")
    assert process.build is not None
    assert (process.build.language, str(process.build.source)) == ("c", "src/a.c")


def test_what_is_left_out_is_the_careful_choice() -> None:
    text = MANIFEST.replace('on-exit = "restart"\npublic = true\nui = "ui"\n', "").replace(
        'description = "Talk"\n', ""
    )
    manifest = parse_manifest(text.encode(), WHERE)
    (process,) = manifest.processes
    assert (process.on_exit, process.public, process.ui, process.build) == ("none", False, None, None)
    assert manifest.description == ""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "chat"\npublisher', 'name = "ch at"\npublisher', "is not a name"),
        ('name = "chat"\npublisher', "publisher", "lacks 'name'"),
        ('name = "chat"\nwasm', 'name = "a:b"\nwasm', "not a process id"),
        ('publisher = "guesthouse.os"', 'publisher = "../x"', "is not a name"),
        ('version = "0.1.0"', "version = 1", "is not a string"),
        ('version = "0.1.0"', 'version = "one two"', "is not a version"),
        ('description = "Talk"', 'description = "Talk\\u001b[2J"', "is not one line"),
        ('description = "Talk"', 'licence = "MIT"', "unknown key 'licence'"),
        ("public = true", 'public = "yes"', "is not true or false"),
        ("public = true", "public = 1", "is not true or false"),
        ("public = true", "publik = true", "unknown key 'publik'"),
        ('on-exit = "restart"', 'on-exit = "explode"', 'is not one of "none", "restart"'),
        ('on-exit = "restart"', 'on-exit = ["none"]', 'is not one of "none", "restart"'),
        ('"build/chat.wasm"', '"../chat.wasm"', "is not a path inside the package"),
        ('"build/chat.wasm"', '"/etc/passwd"', "is not a path inside the package"),
        ('ui = "ui"', 'ui = "."', "is not a path inside the package"),
        ('ui = "ui"', "ui = true", "is not a string"),
        ("[[process]]", "[process]", "is not one or more [[process]] tables"),
        ("[package]", "[packages]", "unknown key 'packages'"),
        ("[package]", "[package", "is not TOML"),
        (
            'ui = "ui"',
            '[process.build]\nlanguage = "cobol"\nsource = "a"',
            'is not one of "python", "c", "cpp", "rust", "go"',
        ),
        ('ui = "ui"', '[process.build]\nlanguage = "c"', "lacks 'source'"),
        (
            'ui = "ui"',
            '[process.build]\nlanguage = "javascript"\nsource = "a"\nengine = "v8"',
            'is not one of "quickjs", "starlingmonkey"',
        ),
        (
            'ui = "ui"',
            '[process.build]\nlanguage = "c"\nsource = "a"\nengine = "quickjs"',
            "is for the language javascript, not c: remove it",
        ),
    ],
)
def test_one_thing_wrong_is_named(old: str, new: str, says: str) -> None:
    assert old in MANIFEST
    with pytest.raises(PackageError) as caught:
        parse_manifest(MANIFEST.replace(old, new, 1).encode(), WHERE)
    text = str(caught.value)
    assert says in text
    assert text.startswith(WHERE)
    assert "\n" not in text


def test_a_package_without_processes_is_refused() -> None:
    with pytest.raises(PackageError, match="process"):
        parse_manifest(MANIFEST.partition("[[process]]")[0].encode(), WHERE)


def test_two_processes_of_one_name_are_refused() -> None:
    process = MANIFEST[MANIFEST.index("[[process]]") :]
    with pytest.raises(PackageError, match=r"chat:chat:guesthouse\.os twice"):
        parse_manifest((MANIFEST + process).encode(), WHERE)


def test_a_package_has_a_bounded_number_of_processes() -> None:
    head, _, _ = MANIFEST.partition("[[process]]")

    def with_processes(count: int) -> bytes:
        return (head + "".join(f'[[process]]\nname = "p{i}"\nwasm = "a"\n' for i in range(count))).encode()

    assert len(parse_manifest(with_processes(MAX_PROCESSES), WHERE).processes) == MAX_PROCESSES
    with pytest.raises(PackageError, match="at most"):
        parse_manifest(with_processes(MAX_PROCESSES + 1), WHERE)


def test_a_manifest_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    filler = MANIFEST.encode() + b"#"
    filler += b"x" * (MAX_MANIFEST_BYTES - len(filler))
    parse_manifest(filler, WHERE)
    with pytest.raises(PackageError, match="is over"):
        parse_manifest(filler + b"x", WHERE)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(PackageError, match=WHERE):
        parse_manifest(b"a = " + b"[" * 100_000, WHERE)


def test_a_number_of_thousands_of_digits_is_an_error_and_no_crash() -> None:
    with pytest.raises(PackageError, match=f"{WHERE} is not TOML"):
        parse_manifest(b"a = " + b"9" * 5000, WHERE)
    with pytest.raises(PackageError, match=f"{WHERE}: 'version' in"):
        parse_manifest(MANIFEST.replace('"0.1.0"', f"0x{'f' * 5000}").encode(), WHERE)


def test_a_byte_order_mark_is_no_part_of_a_manifest() -> None:
    assert parse_manifest(b"\xef\xbb\xbf" + MANIFEST.encode(), WHERE).name == "chat"


def test_bytes_that_are_not_utf8_are_an_error() -> None:
    with pytest.raises(PackageError, match="not UTF-8"):
        parse_manifest(b'name = "\xff"', WHERE)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_manifest_or_one_line_of_error(content: bytes) -> None:
    try:
        parse_manifest(content, WHERE)
    except PackageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@given(st.text(alphabet=st.sampled_from("a./\\:~ \x00é"), max_size=12))
@example("a/../b")
@example("a//b")
@example("~/a")
def test_a_path_that_is_accepted_stays_inside(text: str) -> None:
    path = relative_path(text)
    if path is not None:
        assert not path.is_absolute()
        assert str(path) == text
        assert not any(part.startswith(".") for part in path.parts)
        assert "\\" not in text
        assert "\x00" not in text

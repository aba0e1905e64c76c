"""Archives are attacks until counted: nothing is written outside, nothing is left of a refused one."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.examples import examples

from guesthouse.core.config import PackageLimits
from guesthouse.package.errors import PackageError
from guesthouse.package.format.archive import check_entries, unpack

from .conftest import package_members, write_zip

LIMITS = PackageLimits()


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Where the archive is, and where it is unpacked."""
    return tmp_path / "package.zip", tmp_path / "unpacked"


def refused(archive: Path, unpack_dir: Path, limits: PackageLimits = LIMITS) -> str:
    """The one line with which an archive is refused; nothing may be left of it."""
    with pytest.raises(PackageError) as caught:
        unpack(archive, limits, unpack_dir)
    assert list(unpack_dir.iterdir()) == []
    text = str(caught.value)
    assert "\n" not in text
    assert str(archive) in text
    return text


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_an_archive_is_unpacked_once_under_its_hash_for_this_user_alone(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, package_members())
    folder = unpack(archive, LIMITS, unpack_dir)
    assert files_below(folder) == package_members()
    assert stat.S_IMODE(unpack_dir.stat().st_mode) == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    before = folder.stat().st_mtime_ns
    assert unpack(archive, LIMITS, unpack_dir) == folder
    assert folder.stat().st_mtime_ns == before
    assert [path.name for path in unpack_dir.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/evil",
        "a//evil",
        "./evil",
        ".git/config",
        "a/.hidden",
        "a\\evil",
        "C:evil",
        "a\nb",
        "a/" + "b" * 256,
        "/".join(["deep"] * 200),
    ],
)
def test_a_name_that_no_package_has_is_refused(name: str, places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {**package_members(), name: b"x"})
    assert "has an entry named" in refused(archive, unpack_dir)


def test_a_name_with_a_zero_byte_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {**package_members(), "a-b": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"a-b", b"a\x00b"))
    assert "has an entry named" in refused(archive, unpack_dir)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK, stat.S_IFDIR])
def test_a_link_or_a_device_is_refused(kind: int, places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    with zipfile.ZipFile(archive, "w") as out:
        entry = zipfile.ZipInfo("build/chat.wasm")
        entry.external_attr = (kind | 0o777) << 16
        out.writestr(entry, "/etc/passwd")
    assert "is a link or a device" in refused(archive, unpack_dir)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ui/index.html", "UI/Index.HTML"),
        ("stra\u00dfe", "STRASSE"),
        ("\ufb01le", "file"),
        ("\u017fhe", "she"),
    ],
)
def test_two_spellings_of_one_name_are_refused(one: str, other: str, places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {one: b"1", other: b"2"})
    assert "twice" in refused(archive, unpack_dir)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # by the writer, which makes the attack
def test_the_same_name_twice_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("a", "1")
        out.writestr("a", "2")
    assert "twice" in refused(archive, unpack_dir)


def test_a_name_in_two_unicode_forms_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"caf\u00e9": b"1", "cafe\u0301": b"2"})
    assert "twice" in refused(archive, unpack_dir)


def test_a_file_that_is_also_a_folder_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"build": b"x", "BUILD/chat.wasm": b"y"})
    assert "as a file and as a folder" in refused(archive, unpack_dir)


def test_the_number_of_files_is_limited(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {f"f{i}": b"" for i in range(11)})
    assert "package.files" in refused(archive, unpack_dir, replace(LIMITS, files=10))
    unpack(archive, replace(LIMITS, files=11), unpack_dir)


def test_the_archive_itself_is_limited(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, package_members())
    size = archive.stat().st_size
    assert "package.zip_bytes" in refused(archive, unpack_dir, replace(LIMITS, zip_bytes=size - 1))
    unpack(archive, replace(LIMITS, zip_bytes=size), unpack_dir)


def test_what_comes_out_is_limited_to_the_byte(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"a": os.urandom(3000), "b": os.urandom(2000)})
    assert "package.unpacked_bytes" in refused(archive, unpack_dir, replace(LIMITS, unpacked_bytes=4999))
    unpack(archive, replace(LIMITS, unpacked_bytes=5000), unpack_dir)


@pytest.mark.slow
def test_a_bomb_is_refused_by_its_ratio(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"a": bytes(50_000_000)})
    assert "package.unpack_ratio" in refused(archive, unpack_dir)


def test_sizes_that_lie_get_nobody_past_the_limits(places: tuple[Path, Path]) -> None:
    """The bomb claims to be small, in its header and in the directory."""
    archive, unpack_dir = places
    bomb = 20_000_000
    write_zip(archive, {"a": bytes(bomb)})
    lying = archive.read_bytes().replace(struct.pack("<L", bomb), struct.pack("<L", 10))
    assert lying != archive.read_bytes()
    archive.write_bytes(lying)
    assert "damaged" in refused(archive, unpack_dir)


def test_a_count_that_lies_does_not_hide_files(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {f"f{i}": b"" for i in range(50)})
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    content[at + 8 : at + 12] = struct.pack("<HH", 1, 1)
    archive.write_bytes(bytes(content))
    assert "package.files" in refused(archive, unpack_dir, replace(LIMITS, files=10))


def test_a_huge_directory_is_refused_before_it_is_parsed(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {f"{i:0200}": b"" for i in range(300)})
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    content[at + 8 : at + 12] = struct.pack("<HH", 1, 1)
    archive.write_bytes(bytes(content))
    assert "package.files" in refused(archive, unpack_dir, replace(LIMITS, files=5))


@pytest.mark.parametrize("before_comment", [65_535, 65_530, 65_515, 0])
def test_a_second_end_record_behind_a_long_comment_is_seen(
    before_comment: int, places: tuple[Path, Path]
) -> None:
    """The reader follows what stands before the end record, however far the comment pushes that forward."""
    archive, unpack_dir = places
    write_zip(archive, {f"{i:0200}": b"" for i in range(300)})
    content = archive.read_bytes()
    at = content.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<LL", content, at + 12)
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 300, 300, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    claims = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, 0, before_comment)
    archive.write_bytes(content[:at] + large + locator + claims + b"." * before_comment)
    with zipfile.ZipFile(archive) as opened:
        assert len(opened.infolist()) == 300
    assert "zip64" in refused(archive, unpack_dir)


def test_the_number_of_folders_is_limited_as_that_of_files(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    limits = replace(LIMITS, files=10)
    write_zip(archive, {f"{i}/" + "d/" * i + "f": b"" for i in range(5)})
    assert "over 10 folders" in refused(archive, unpack_dir, limits)
    write_zip(archive, {f"{i}/" + "d/" * i + "f": b"" for i in range(4)} | {"0/": b"", "3/d/g": b""})
    unpack(archive, limits, unpack_dir)


def test_a_folder_that_many_files_share_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the names of an archive of 1 MB take a minute."""
    deep = "d/" * 200
    entries = [zipfile.ZipInfo(f"{deep}{i}") for i in range(100)]
    for entry in entries:
        entry.header_offset = 0
    seen: list[PurePosixPath] = []

    def key(path: PurePosixPath) -> str:
        seen.append(path)
        return str(path)

    monkeypatch.setattr("guesthouse.package.format.archive._key", key)
    assert len(check_entries(entries, Path("a.zip"), LIMITS)) == 100
    assert len(seen) < 1000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_than_deflate_are_refused(method: int, places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"a": b"x" * 1000}, method)
    assert "not compressed by deflate" in refused(archive, unpack_dir)


def test_an_encrypted_entry_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"a": b"x"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(content))
    assert "encrypted" in refused(archive, unpack_dir)


def test_content_that_does_not_match_its_checksum_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"a": b"hello world"}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"hello", b"hellO"))
    assert "damaged" in refused(archive, unpack_dir)


@pytest.mark.parametrize("offset", [(1 << 63) - 1, (1 << 64) - 1, 1 << 40])
def test_a_position_of_64_bits_outside_of_the_archive_is_refused(
    offset: int, places: tuple[Path, Path]
) -> None:
    """The entry's own zip64 field says where its content is."""
    archive, unpack_dir = places
    with zipfile.ZipFile(archive, "w") as out:
        entry = zipfile.ZipInfo("a")
        entry.extra = struct.pack("<HHQ", 0x9999, 8, offset)
        out.writestr(entry, "x")
    content = bytearray(archive.read_bytes().replace(b"\x99\x99\x08\x00", b"\x01\x00\x08\x00"))
    at = content.index(b"PK\x01\x02")
    content[at + 42 : at + 46] = b"\xff" * 4
    archive.write_bytes(bytes(content))
    assert "lies outside of the archive" in refused(archive, unpack_dir)


def test_a_directory_that_is_not_where_it_is_said_to_be_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, {"a": b"x"})
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x05\x06") + 16
    said = struct.unpack_from("<L", content, at)[0]
    struct.pack_into("<L", content, at, said + 100)
    archive.write_bytes(bytes(content))
    assert "lies outside of the archive" in refused(archive, unpack_dir)


def test_a_file_that_is_no_zip_is_refused(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    archive.write_bytes(b"PK is how it starts")
    assert "not a zip archive" in refused(archive, unpack_dir)


def test_an_archive_with_a_comment_is_unpacked(places: tuple[Path, Path]) -> None:
    archive, unpack_dir = places
    write_zip(archive, package_members())
    with zipfile.ZipFile(archive, "a") as out:
        out.comment = b"a commit id"
    assert files_below(unpack(archive, LIMITS, unpack_dir)) == package_members()


NAMES = st.lists(
    st.text(alphabet=st.sampled_from("aAb./\\: é\u0301ß"), min_size=1, max_size=8),
    min_size=1,
    max_size=5,
    unique=True,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(100)
)
@example(names=["A"], flips=[(98, 1)])  # a directory that says to be further on than it is
@given(names=NAMES, flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
def test_any_archive_unpacks_inside_or_is_refused_without_a_trace(
    names: list[str], flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Archives with odd names and flipped bytes."""
    place = tmp_path_factory.mktemp("zip")
    archive, unpack_dir = place / "package.zip", place / "unpacked"
    write_zip(archive, {name: name.encode() for name in names})
    content = bytearray(archive.read_bytes())
    for at, value in flips:
        content[at % len(content)] = value
    archive.write_bytes(bytes(content))
    try:
        folder = unpack(archive, replace(LIMITS, unpacked_bytes=10_000), unpack_dir)
    except PackageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        assert list(unpack_dir.iterdir()) == []
    else:
        assert [path.name for path in unpack_dir.iterdir()] == [folder.name]
        assert sum(map(len, files_below(folder).values())) <= 10_000
    assert {path.name for path in place.iterdir()} == {"package.zip", "unpacked"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ui/" + "n" * 300, "names have at most 512 bytes, and each part of one 255"),
        ("d/" * 300 + "x", "names have at most 512 bytes, and each part of one 255"),
        ("a\x1b[31mb", "names have to be printable"),
        (
            ".ssh/x",
            "names have to be relative, without backslashes and colons, and no part may start with a dot",
        ),
        (
            "a:b",
            "names have to be relative, without backslashes and colons, and no part may start with a dot",
        ),
    ],
)
def test_a_name_is_refused_for_its_reason(places: tuple[Path, Path], name: str, reason: str) -> None:
    archive, unpack_dir = places
    write_zip(archive, {name: b"x"})
    assert reason in refused(archive, unpack_dir)

from __future__ import annotations

from pathlib import Path

import pytest

from guesthouse.core.config import MIB, Settings, load_settings
from guesthouse.core.errors import BadNodeName, BadSetting


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "guesthouse.toml").write_text(text)
    return str(tmp_path)


def test_without_a_file_all_defaults_hold(tmp_path: Path) -> None:
    assert load_settings(str(tmp_path), environment={}) == Settings(home=str(tmp_path))


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    home = written(tmp_path, 'node = "file.os"\n[http]\nport = 1\n[process]\nmemory_bytes = 111\n')
    environment = {"GUESTHOUSE_NODE": "environment.os", "GUESTHOUSE_HTTP_PORT": "2"}
    settings = load_settings(home, {"http.port": 3, "node": None}, environment)
    assert (settings.http.port, settings.node, settings.process.memory_bytes) == (3, "environment.os", 111)


def test_the_home_comes_from_the_environment_when_no_flag_names_it(tmp_path: Path) -> None:
    home = written(tmp_path, 'node = "there.os"')
    assert load_settings(None, environment={"GUESTHOUSE_HOME": home}).node == "there.os"


def test_every_kind_of_value_is_read_from_the_environment(tmp_path: Path) -> None:
    environment = {
        "GUESTHOUSE_DEV": "true",
        "GUESTHOUSE_CONNECTIONS_PING_SECONDS": "2.5",
        "GUESTHOUSE_HTTP_ALLOWED_ORIGINS": "https://a.example,https://b.example",
        "GUESTHOUSE_HTTP_TLS_CERT": "/cert.pem",
    }
    settings = load_settings(str(tmp_path), environment=environment)
    assert settings.dev is True
    assert settings.connections.ping_seconds == 2.5
    assert settings.http.allowed_origins == ("https://a.example", "https://b.example")
    assert settings.http.tls_cert == "/cert.pem"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("prot = 1", "there is no setting 'prot'"),
        ("zzzzzz = 1", r"there is no setting 'zzzzzz': remove it, or look it up in docs/cli\.md"),
        ("[http]\nprot = 1", r"no setting 'http\.prot': did you mean http\.port\?"),
        ("[htttp]\nport = 1", "no setting 'htttp'"),
        ('home = "/x"', "no setting 'home'"),
        ('[http]\nport = "8080"', r"http\.port must be a whole number, not '8080'"),
        ("[http]\nport = true", "must be a whole number"),
        ("[http]\nport = 70000", "from 0 to 65535, not 70000"),
        ("[process]\nmemory_bytes = 0", "from 1 to"),
        (f"[process]\nmessage_bytes = {16 * MIB + 1}", "from 1 to 16777216"),
        ("[connections]\nping_seconds = nan", "must be from"),
        ("[connections]\nping_seconds = 0", "must be from 0.001"),
        ("[http]\nallowed_origins = [1]", "must be a list of strings"),
        ('[http]\nhosts = ["a.example:80"]', "'a.example:80' must be a host name without a port"),
        ('[http]\nhosts = ["*.example"]', "must be a host name"),
        (
            '[http]\npage_sources = ["https://a; script-src *"]',
            "must be an origin such as https://fonts.example",
        ),
        ('[http]\npage_sources = ["*"]', "must be an origin"),
        ('[http]\nreadable_packages = ["chat:chat:os"]', "'chat:chat:os' must be package:publisher"),
        ('[http]\nregister_packages = ["chat"]', "must be package:publisher"),
        ('[http]\norigins = "own"', "must be one of auto, package, shared"),
        ("not toml", "is not TOML: .*; fix that line"),
        ("workers = -1", "from 0 to"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadSetting, match=complaint) as caught:
        load_settings(written(tmp_path, text), environment={})
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("GUESTHOUSE_HTTP_PORT", "many", "GUESTHOUSE_HTTP_PORT must be a whole number, not 'many'"),
        ("GUESTHOUSE_DEV", "perhaps", "must be true or false"),
        ("GUESTHOUSE_HTTP_PROT", "1", "did you mean GUESTHOUSE_HTTP_PORT"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    tmp_path: Path, variable: str, value: str, complaint: str
) -> None:
    with pytest.raises(BadSetting, match=complaint):
        load_settings(str(tmp_path), environment={variable: value})


def test_variables_that_a_container_platform_sets_are_left_alone(tmp_path: Path) -> None:
    environment = {"GUESTHOUSE_SERVICE_HOST": "10.0.0.1", "GUESTHOUSE_PORT": "tcp://10.0.0.1:80"}
    assert load_settings(str(tmp_path), environment=environment) == Settings(home=str(tmp_path))


def test_a_node_needs_a_name_that_names_can_be(tmp_path: Path) -> None:
    with pytest.raises(BadNodeName):
        load_settings(str(tmp_path), {"node": "no spaces"}, {})


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000], ids=["decimal", "hexadecimal"])
@pytest.mark.parametrize("name", ["port", "ping_seconds"])
def test_a_number_of_thousands_of_digits_is_one_line_of_error(tmp_path: Path, name: str, number: str) -> None:
    section = "http" if name == "port" else "connections"
    home = written(tmp_path, f"[{section}]\n{name} = {number}\n")
    with pytest.raises(BadSetting, match=r"guesthouse\.toml") as caught:
        load_settings(home, environment={})
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_number_of_thousands_of_digits_in_the_environment_is_shown_short(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="GUESTHOUSE_HTTP_PORT must be a whole number") as caught:
        load_settings(str(tmp_path), environment={"GUESTHOUSE_HTTP_PORT": "9" * 5000})
    assert len(str(caught.value)) < 200


def test_deep_nesting_is_one_line_of_error(tmp_path: Path) -> None:
    home = written(tmp_path, f"[http]\nallowed_origins = {'[' * 100_000}\n")
    with pytest.raises(BadSetting, match="nests too deeply: write it flat"):
        load_settings(home, environment={})


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "guesthouse.toml").write_bytes(b"\xef\xbb\xbfnode = 'marked.os'\n")
    assert load_settings(str(tmp_path), environment={}).node == "marked.os"


def test_a_file_that_is_no_text_is_one_line_of_error(tmp_path: Path) -> None:
    (tmp_path / "guesthouse.toml").write_bytes(b"node = '\xff'")
    with pytest.raises(BadSetting, match="is not UTF-8 text: save it as UTF-8"):
        load_settings(str(tmp_path), environment={})


@pytest.mark.parametrize("name", ["HOST", "TLS_CERT", "TLS_KEY"])
def test_an_empty_text_is_refused_and_not_taken_for_another_meaning(tmp_path: Path, name: str) -> None:
    """An empty host would listen on every address, an empty certificate serve without TLS."""
    with pytest.raises(BadSetting, match=f"GUESTHOUSE_HTTP_{name} must not be empty"):
        load_settings(str(tmp_path), environment={f"GUESTHOUSE_HTTP_{name}": ""})
    with pytest.raises(BadSetting, match=f"--{name.lower().replace('_', '-')} must not be empty"):
        load_settings(str(tmp_path), {f"http.{name.lower()}": ""}, environment={})
    home = written(tmp_path, f'[http]\n{name.lower()} = ""\n')
    with pytest.raises(BadSetting, match=f"http.{name.lower()} must not be empty"):
        load_settings(home, environment={})


def test_an_empty_home_is_not_the_default_one() -> None:
    with pytest.raises(BadSetting, match="--home must not be empty"):
        load_settings("", environment={})

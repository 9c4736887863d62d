"""Settings: precedence, refusals with hints, origins, and secrets that stay secret."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from watcherd.errors import SettingsError
from watcherd.settings import Settings, load, origins


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and none of our variables in the environment."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("WATCHERD_") or name == "STATE_DIRECTORY":
            monkeypatch.delenv(name)
    return tmp_path


def source_of(settings: Settings, name: str) -> str:
    return next(origin.source for origin in origins(settings) if origin.name == name)


def value_of(settings: Settings, name: str) -> str:
    return next(origin.value for origin in origins(settings) if origin.name == name)


def test_the_defaults_serve_pim_models_on_loopback() -> None:
    settings = load({})
    assert (settings.models, settings.host, settings.port) == (Path("pim_models"), "127.0.0.1", 8000)
    assert (settings.api_prefix, settings.durability, settings.admin_token) == ("/api", "full", None)
    assert settings.data_dir == Path(".watcherd")
    assert {origin.source for origin in origins(settings)} == {"default"}


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "watcherd.toml").write_text('port = 1\nhost = "file"\nlog_level = "error"\n')
    monkeypatch.setenv("WATCHERD_PORT", "2")
    monkeypatch.setenv("WATCHERD_HOST", "environment")
    settings = load({"port": 3, "uds": None})
    assert (settings.port, settings.host, settings.log_level) == (3, "environment", "error")
    assert source_of(settings, "port") == "--port on the command line"
    assert source_of(settings, "host") == "WATCHERD_HOST in the environment"
    assert source_of(settings, "log_level") == "log_level in watcherd.toml"
    assert source_of(settings, "uds") == "default"


def test_the_environment_may_name_another_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "watcherd.toml").write_text("port = 1\n")
    (bare / "other.toml").write_text("port = 2\n")
    monkeypatch.setenv("WATCHERD_CONFIG", "other.toml")
    assert load({}).port == 2


def test_a_named_file_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_CONFIG", "missing.toml")
    with pytest.raises(SettingsError, match=r"'missing\.toml' that WATCHERD_CONFIG names: no such file"):
        load({})


@pytest.mark.parametrize("content", [b"port = \n", b"port = 1\nport = 2\n", b'host = "\xff"\n'])
def test_a_file_that_is_not_toml_is_an_error_that_names_it(content: bytes, bare: Path) -> None:
    (bare / "watcherd.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"Cannot read the settings file 'watcherd\.toml'"):
        load({})


def test_an_unknown_key_of_the_file_is_an_error_with_a_hint(bare: Path) -> None:
    (bare / "watcherd.toml").write_text('log-level = "info"\n')
    with pytest.raises(SettingsError, match=r"'log-level' in watcherd\.toml, did you mean 'log_level'"):
        load({})


def test_an_unknown_variable_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_PROT", "9000")
    with pytest.raises(SettingsError, match=r"'WATCHERD_PROT' in the environment, did you mean 'WATCHERD_PORT'"):
        load({})


def test_a_setting_that_nothing_resembles_is_an_error_without_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_XYZZY", "1")
    with pytest.raises(SettingsError) as caught:
        load({})
    assert "did you mean" not in str(caught.value)


def test_every_unusable_value_is_named_with_the_place_where_it_was_given(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "watcherd.toml").write_text('durability = "some"\n')
    monkeypatch.setenv("WATCHERD_PORT", "many")
    with pytest.raises(SettingsError) as caught:
        load({"log_level": "loud"})
    message = str(caught.value)
    assert "durability in watcherd.toml: " in message
    assert "WATCHERD_PORT in the environment: " in message
    assert "--log-level on the command line: " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "overrides",
    [
        {"port": 65536},
        {"port": -1},
        {"fd": -1},
        {"reconcile_seconds": 0},
        {"graceful_timeout": "inf"},
        {"graceful_timeout": -1},
        {"max_body_bytes": 0},
        {"models": ""},
        {"host": " "},
        {"uds": ""},
        {"admin_token": ""},
        {"database_url": ""},
        {"log_format": "xml"},
    ],
)
def test_a_value_out_of_bounds_is_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=f"--{next(iter(overrides)).replace('_', '-')} on the command line"):
        load(overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"uds": "a.sock", "fd": 3}, "uds and fd are two ways to listen"),
        ({"default_page_size": 50, "max_page_size": 10}, "default_page_size must not be larger"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(overrides)


@pytest.mark.parametrize(
    ("given", "normal"),
    [("", ""), ("/", ""), ("api", "/api"), ("/api/", "/api"), ("//a//b/", "/a/b"), ("/v1.0_x~y-z", "/v1.0_x~y-z")],
)
def test_a_prefix_is_brought_into_one_form(given: str, normal: str) -> None:
    assert load({"api_prefix": given}).api_prefix == normal


@pytest.mark.parametrize("prefix", ["/a b", "/a?b", "/..", "/{model}", "/图书", "/a%20b"])
def test_a_prefix_that_is_no_plain_path_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="a prefix is made of"):
        load({"api_prefix": prefix})


def test_the_data_directory_is_the_first_that_systemd_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/watcherd:/var/lib/other")
    settings = load({})
    assert settings.data_dir == Path("/var/lib/watcherd")
    assert source_of(settings, "data_dir") == "STATE_DIRECTORY in the environment"
    assert load({"data_dir": "here"}).data_dir == Path("here")


def test_an_empty_variable_is_a_value_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_API_PREFIX", "")
    assert load({}).api_prefix == ""
    monkeypatch.setenv("WATCHERD_ADMIN_TOKEN", "")
    with pytest.raises(SettingsError, match="WATCHERD_ADMIN_TOKEN in the environment: must not be blank"):
        load({})


def test_settings_are_frozen() -> None:
    settings = load({})
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # what must fail


def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_ADMIN_TOKEN", "s3cret")
    settings = load({"database_url": "postgresql://bob:pa@ss@db/x"})
    assert value_of(settings, "admin_token") == "***"
    assert value_of(settings, "database_url") == "postgresql://bob:***@db/x"
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)
    assert "pa@ss" not in repr(settings)


def test_a_refusal_does_not_show_the_secrets_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_ADMIN_TOKEN", "s3cret")
    with pytest.raises(SettingsError) as caught:
        load({"uds": "a", "fd": 3, "database_url": "postgresql://bob:pass@db/x"})
    assert "s3cret" not in str(caught.value)
    assert "pass" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_lists_every_setting_with_its_default() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` |"))
        assert field.description is not None
        assert field.description in row
        assert default in row or name == "data_dir"

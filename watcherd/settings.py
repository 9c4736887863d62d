"""Settings: one frozen class, filled from the command line, the environment and `watcherd.toml`.

Owns the names, the types, the bounds and the defaults of all settings, and knows where each value
came from. A value from the command line wins over one from the environment, that over one from
the file, that over the default. What is not known is an error, with the nearest known name as a
hint. Does not own what a setting does: whoever reads it does.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from watcherd.errors import SettingsError

ENV_PREFIX = "WATCHERD_"
CONFIG_VARIABLE = "WATCHERD_CONFIG"
CONFIG_FILE = "watcherd.toml"
MASK = "***"

_MIB = 1024 * 1024
_URL_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):[^\s/]*@")

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")

Layer = Literal["command line", "environment", "file"]


def load(overrides: Mapping[str, object]) -> Settings:
    """Merge `overrides` (what the command line gave; None is not given) with environment and file.

    Raises SettingsError, whose message names every setting that is unknown or unusable and says
    where it was given; it never shows the value of a secret.
    """
    file = _config_file()
    layers: dict[Layer, Mapping[str, object]] = {
        "file": _file_values(file),
        "environment": _environment_values(),
        "command line": {name: value for name, value in overrides.items() if value is not None},
    }
    _refuse_unknown(layers["command line"], Settings.model_fields, "the command line")
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer, given in layers.items():
        for name, value in given.items():
            values[name] = value
            sources[name] = _describe(layer, name, file)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError(_readable(error, sources)) from None  # the cause would show the values of secrets
    settings._sources = sources  # noqa: SLF001 - this function is the class's only maker
    return settings


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting in force: its value as text (secrets masked) and where that came from."""

    name: str
    value: str
    source: str


def origins(settings: Settings) -> tuple[Origin, ...]:
    """Every setting in the order of the class, for `serve --print-config`."""
    return tuple(
        Origin(name, _shown(getattr(settings, name)), settings._sources.get(name) or _default_source(name))  # noqa: SLF001 - as above
        for name in Settings.model_fields
    )


def _normal_prefix(prefix: str) -> str:
    """Bring a path prefix into the one form that the rest relies on: `/a/b`, or empty."""
    segments = [segment for segment in prefix.strip().split("/") if segment]
    if any(quote(segment, safe="") != segment or segment in {".", ".."} for segment in segments):
        raise ValueError("a prefix is made of ASCII letters, digits, '-', '_', '.', '~' and slashes, such as /api")
    return "".join(f"/{segment}" for segment in segments)


def _not_blank(value: object) -> object:
    """Refuse what would look like a setting and be none; `.` for a path, no guard for a token."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not text.strip():
        raise ValueError("must not be blank; leave it out to have the default")
    return value


def _origins(text: str) -> str:
    """Bring origins into the form in which browsers send them, joined by commas."""
    origins = [origin.strip().rstrip("/").lower() for origin in text.split(",")]
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("an origin is a scheme, a host and perhaps a port, such as https://app.example:8443")
    return ",".join(origins)


def _default_data_dir() -> Path:
    """The directory that systemd made for us (the first of several), else one beside the models."""
    return Path(os.environ.get("STATE_DIRECTORY", "").split(":")[0] or ".watcherd")


_Path = Annotated[Path, BeforeValidator(_not_blank)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Everything that can be set, made by `load`. Durations are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    models: _Path = Field(Path("pim_models"), description="the directory of model files")
    host: Annotated[str, BeforeValidator(_not_blank)] = Field("127.0.0.1", description="the address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="the port to listen on; 0 takes a free one")
    uds: _Path | None = Field(None, description="a unix socket to listen on instead of host and port")
    fd: int | None = Field(None, ge=0, description="an inherited descriptor to listen on instead of host and port")
    database_url: Annotated[str, BeforeValidator(_not_blank)] | None = Field(
        None,
        repr=False,
        description="sqlite:///path or postgresql+asyncpg://user@host/database; default: SQLite in data_dir",
    )
    data_dir: _Path = Field(
        default_factory=_default_data_dir,
        description="the directory of the database; default: $STATE_DIRECTORY, else .watcherd",
    )
    durability: Literal["full", "normal"] = Field(
        "full", description="SQLite's synchronous; with normal a power cut may lose the last writes"
    )
    workers: int = Field(1, ge=1, le=64, description="processes that answer requests; several share the max_... below")
    log_format: Literal["json", "console"] | None = Field(None, description="default: console on a terminal, else json")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the lowest level shown")
    api_prefix: Annotated[str, AfterValidator(_normal_prefix)] = Field(
        "/api", description="the path under which models are served; may be empty"
    )
    admin_token: Annotated[SecretStr, AfterValidator(_not_blank)] | None = Field(
        None, description="the bearer token of the admin API; without one it answers to loopback alone"
    )
    api_keys_file: _Path | None = Field(
        None, description="a file of API keys, made by `watcherd key new`; with it /api needs one"
    )
    api_keys: Annotated[SecretStr, AfterValidator(_not_blank)] | None = Field(
        None, description="lines of such a file, separated by semicolons"
    )
    cors_origins: Annotated[str, AfterValidator(_origins)] | None = Field(
        None,
        description="origins whose pages may use /api, separated by commas, such as https://app.example; * for any",
    )
    max_body_bytes: int = Field(10 * _MIB, ge=1, description="the largest request body")
    max_import_bytes: int = Field(100 * _MIB, ge=1, description="the largest body of an import")
    max_header_bytes: int = Field(64 * 1024, ge=1024, description="the largest request line with its headers")
    max_json_depth: int = Field(64, ge=1, le=200, description="the deepest nesting of a JSON body")
    max_rows: int = Field(10_000, ge=1, description="the most rows of an array that is created at once")
    max_in_flight: int = Field(1000, ge=1, description="requests to models at once; more are answered 503")
    max_streams: int = Field(1000, ge=1, description="event streams at once, of models and of the admin API each")
    max_waiting_writes: int = Field(500, ge=1, description="writes that wait for the database; more are answered 503")
    header_timeout: _Seconds = Field(10, gt=0, description="how long a client may take over its headers")
    stall_timeout: _Seconds = Field(
        30, gt=0, description="how long a body may stand still, whether it is sent or read by the client"
    )
    max_file_bytes: int = Field(1 * _MIB, ge=1, description="the largest model file")
    allow_handlers: bool = Field(
        default=False,
        description="run the Python handlers beside models: code that you trust, in the daemon's own process",
    )
    handler_timeout: _Seconds = Field(30, gt=0, description="how long one call of a handler may take")
    default_page_size: int = Field(100, ge=1, description="rows of a page when the client does not say")
    max_page_size: int = Field(1000, ge=1, description="rows of the largest page that a client may ask for")
    reconcile_seconds: _Seconds = Field(30, gt=0, description="how often the whole directory is read again")
    force_polling: bool | None = Field(None, description="poll always or never; default: where inotify cannot work")
    graceful_timeout: _Seconds = Field(30, description="how long a stop waits for requests in flight")
    cleanup_timeout: _Seconds = Field(10, description="how long a stop waits for everything else after that")
    drain_idle_seconds: _Seconds = Field(
        30, description="how long a request on a retired revision may stand still before it is cancelled"
    )
    drain_max_seconds: _Seconds = Field(600, description="how long a request on a retired revision may run at all")
    max_draining: int = Field(64, ge=1, description="how many retired revisions may wait for their requests")

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load` merged and nothing else: it has to know the sources apart."""
        return (init_settings,)

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if self.uds is not None and self.fd is not None:
            raise ValueError("uds and fd are two ways to listen: give one of them")
        if self.default_page_size > self.max_page_size:
            raise ValueError("default_page_size must not be larger than max_page_size")
        return self


def _config_file() -> Path | None:
    """The file that the environment names, which must exist, else the one here, if any."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named is None:
        return Path(CONFIG_FILE) if Path(CONFIG_FILE).is_file() else None
    if not Path(named).is_file():
        raise SettingsError(f"Cannot read the settings file {named!r} that {CONFIG_VARIABLE} names: no such file.")
    return Path(named)


def _file_values(file: Path | None) -> Mapping[str, object]:
    if file is None:
        return {}
    try:
        values = TomlConfigSettingsSource(Settings, file)()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"Cannot read the settings file {str(file)!r}: {error}.") from error
    _refuse_unknown(values, Settings.model_fields, str(file))
    return values


def _environment_values() -> Mapping[str, object]:
    variables = {name.upper() for name in os.environ if name.upper().startswith(ENV_PREFIX)} - {CONFIG_VARIABLE}
    given = {name.removeprefix(ENV_PREFIX).lower() for name in variables}
    _refuse_unknown(given, Settings.model_fields, "the environment", spell=_variable)
    return EnvSettingsSource(Settings)()


def _refuse_unknown(
    given: Iterable[str], known: Iterable[str], where: str, *, spell: Callable[[str], str] = str
) -> None:
    names = list(known)
    findings = []
    for name in sorted(set(given).difference(names)):
        near = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
        hint = f", did you mean {spell(near[0])!r}?" if near else ""
        findings.append(f"unknown setting {spell(name)!r} in {where}{hint}")
    if findings:
        raise SettingsError("Cannot use the settings: " + "; ".join(findings))


def _variable(name: str) -> str:
    return ENV_PREFIX + name.upper()


def _describe(layer: Layer, name: str, file: Path | None) -> str:
    match layer:
        case "command line":
            return f"--{name.replace('_', '-')} on the command line"
        case "environment":
            return f"{_variable(name)} in the environment"
        case "file":
            return f"{name} in {file}"


def _default_source(name: str) -> str:
    return (
        "STATE_DIRECTORY in the environment" if name == "data_dir" and os.environ.get("STATE_DIRECTORY") else "default"
    )


def _readable(error: ValidationError, sources: Mapping[str, str]) -> str:
    findings = []
    for finding in error.errors(include_url=False, include_input=False):
        message = finding["msg"].removeprefix("Value error, ")
        name = str(finding["loc"][0]) if finding["loc"] else None
        findings.append(f"{sources.get(name, name)}: {message}" if name else message)
    return "Cannot use the settings: " + "; ".join(findings)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", str(value))

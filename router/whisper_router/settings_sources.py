"""Finds, merges and checks the sources of `Settings`, and explains what is wrong with them."""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from whisper_router.errors import ConfigurationError
from whisper_router.settings import ENV_PREFIX, Settings

CONFIG_VARIABLE = "WHISPER_ROUTER_CONFIG"
DEFAULT_ALIAS = "whisper-1"
SECRET = re.compile(r"(^|_)(key|token|secret|password|passphrase|credentials?)s?$", re.IGNORECASE)
ASTERISKS = "**********"
DEFAULT_FILES = (Path("config/router.toml"), Path("/etc/whisper-router/router.toml"))


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the flag, the variable, else the first default that exists."""
    if explicit is not None:
        return explicit
    if named := environ.get(CONFIG_VARIABLE):
        return Path(named)
    return next((path for path in DEFAULT_FILES if path.is_file()), None)


def load_settings(config: Path | None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read and check everything.

    Args:
        config: the TOML file, or None for none.
        flags: nested values that win over every other source.

    Raises:
        ConfigurationError: names every wrong key with what was expected, a line each.
    """
    table = _read_toml(config) if config is not None else {}
    _check_variables(os.environ)
    legacy = legacy_settings(os.environ, table)

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, legacy),
                InitSettingsSource(settings_cls, table),
            )

    try:
        loaded = Loaded(**(flags or {}))
    except ValidationError as error:
        raise ConfigurationError(_explain(error, config)) from error
    return loaded


def describe_errors(
    error: ValidationError, model: type[BaseModel], prefix: str, *, beside: Sequence[str] = ()
) -> str:
    """Return a line per wrong value: its dotted name, what is wrong, and the nearest good name.

    `beside` are names that are good in the same table and no part of the model.
    """
    return "\n".join(
        f"{prefix}{'.'.join(str(part) for part in item['loc'])}: "
        + (
            _unknown(
                str(item["loc"][-1]),
                [*_names(model, item["loc"][:-1]), *(beside if len(item["loc"]) == 1 else ())],
            )
            if item["type"] == "extra_forbidden"
            else f"{item['msg']} (got {_shown(item)})"
        )
        for item in error.errors(include_url=False)
    )


def legacy_settings(environ: Mapping[str, str], table: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the variables of whisper-openai-server, and Hugging Face's own, to our settings.

    They speak of one model: the default alias of the file (`table`), if that names one. Where
    neither they nor the file say which weights it serves, it is `small`, as there.
    """
    found: dict[str, Any] = {}

    def put(section: str, key: str, value: object) -> None:
        found.setdefault(section, {})[key] = value

    for variable, section, key in _PLAIN_VARIABLES:
        if value := environ.get(variable):
            put(section, key, value)
    given = environ.get("WHISPER_MODEL_ALIAS")
    model = _legacy_model(environ)
    if model or given:
        alias = given or table.get("default_model") or DEFAULT_ALIAS
        if alias not in table.get("models", {}) and not model.keys() & {"path", "file", "model"}:
            model["model"] = "small" if alias in {given, DEFAULT_ALIAS} else alias
        found["models"] = {alias: model}
        found["default_model"] = alias
    return found


_PLAIN_VARIABLES = (
    ("HOST", "server", "host"),
    ("PORT", "server", "port"),
    ("API_KEY", "auth", "api_key"),
    ("WHISPER_AUTO_DOWNLOAD", "store", "auto_download"),
    ("WHISPER_CACHE_DIR", "store", "directory"),
    ("HF_TOKEN", "store", "token"),
    ("HF_ENDPOINT", "store", "endpoint"),
    ("HF_HUB_OFFLINE", "store", "offline"),
)


def _legacy_model(environ: Mapping[str, str]) -> dict[str, Any]:
    model: dict[str, Any] = {}
    if path := environ.get("WHISPER_MODEL"):
        model["path"] = path
    elif file := environ.get("WHISPER_HF_FILENAME"):
        model |= {"repo": environ.get("WHISPER_HF_REPO", "ggerganov/whisper.cpp"), "file": file}
    elif size := environ.get("WHISPER_MODEL_SIZE"):
        model["model"] = size
    if workers := environ.get("WHISPER_PARALLELISM"):
        model["workers"] = workers
    if acceleration := environ.get("WHISPER_ACCELERATION"):
        model["acceleration"] = acceleration
    return model


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error


def _check_variables(environ: Mapping[str, str]) -> None:
    known = [name.upper() for name in Settings.model_fields]
    for variable in environ:
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        name = variable.upper().removeprefix(ENV_PREFIX).split("__")[0]
        if name not in known:
            raise ConfigurationError(f"variable {variable}: {_unknown(name, known)}")


def _explain(error: ValidationError, config: Path | None) -> str:
    where = f"configuration ({config})" if config else "configuration"
    lines = describe_errors(error, Settings, "  ")
    return f"{where}:\n{lines}"


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
    return f"unknown setting; {hint}"


def _names(model: type[BaseModel], path: Iterable[object]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return []
        model = field.annotation
    return list(model.model_fields)


def redacted(name: str, value: object) -> object:
    """Return a setting as JSON can hold it, without what gives access to something.

    Options of engines are not known here, so what is called like a secret is taken for one.
    """
    if isinstance(value, dict):
        is_secret = bool(SECRET.search(name))  # keys by address, for example
        return {key: ASTERISKS if is_secret else redacted(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(name, item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if not isinstance(value, str):
        return value
    if SECRET.search(name):
        return ASTERISKS
    return _without_credentials(value) if "://" in value else value


def _without_credentials(url: str) -> str:
    try:
        address = urlsplit(url)
    except ValueError:
        return ASTERISKS
    host = address.netloc.rpartition("@")[2]
    return urlunsplit((address.scheme, host, address.path, ASTERISKS * bool(address.query), ""))


def _shown(item: Mapping[str, Any]) -> str:
    """Return a wrong value, unless it is or may hold a secret: a table may hold several."""
    value, names = item["input"], [str(part) for part in item["loc"]]
    if not names or any(SECRET.search(name) for name in names):
        return "a secret, or what holds one"
    if isinstance(value, dict | list | tuple):
        return "a table" if isinstance(value, dict) else "a list"
    return repr(redacted(names[-1], value))[:80]

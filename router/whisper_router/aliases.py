"""The configured aliases and the engines' bundled models, checked, as entries of the catalogue."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from whisper_router.engine_api import Engine, RemoteEngine
from whisper_router.engine_sections import ModelSettings
from whisper_router.errors import ConfigurationError
from whisper_router.models.catalog import Catalog, did_you_mean, load_presets
from whisper_router.models.layout import path_of
from whisper_router.models.source import (
    NO_WEIGHTS,
    HubFile,
    LocalFile,
    ModelSource,
    ModelSpec,
    Origin,
    UrlFile,
)
from whisper_router.section import is_web_address
from whisper_router.settings import Settings
from whisper_router.settings_sources import describe_errors

SHA256 = re.compile("[0-9a-fA-F]{64}")
REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aliases:
    """What every model name means, with the engine that serves it."""

    catalog: Catalog
    engines: Mapping[str, Engine]

    def engine(self, spec: ModelSpec) -> Engine:
        """Return the engine of `spec`.

        Raises:
            ConfigurationError: it is not installed.
        """
        if (engine := self.engines.get(spec.engine)) is None:
            raise ConfigurationError(
                f"models.{spec.alias}: no engine '{spec.engine}' is installed; "
                f"installed are: {', '.join(sorted(self.engines)) or 'none'}"
            )
        return engine

    def options(self, spec: ModelSpec) -> BaseModel:
        """Return the engine options of `spec`.

        Raises:
            ConfigurationError: names alias, option and what is allowed.
        """
        return _options(spec.alias, self.engine(spec), spec.options)


def _options(alias: str, engine: Engine, given: Mapping[str, Any]) -> BaseModel:
    """Return the options of an alias's engine: what its table holds beside `ModelSettings`."""
    options = engine.Options
    try:
        return options.model_validate(dict(given))
    except ValidationError as error:
        lines = describe_errors(
            error, options, f"  models.{alias}.", beside=tuple(ModelSettings.model_fields)
        )
        raise ConfigurationError(f"options of engine '{engine.name}':\n{lines}") from error


def build_aliases(settings: Settings, engines: Mapping[str, Engine]) -> Aliases:
    """Return every alias, checked.

    Raises:
        ConfigurationError: an engine is not installed, an option is wrong, or an alias does not
            say, or not in a way that can work, which weights it serves.
    """
    presets = load_presets()
    bundled = {spec.alias: spec for spec in _bundled(engines)}
    for alias, model in settings.models.items():
        # Before the weights are looked for: a misspelt `model` is an unknown option.
        if (engine := engines.get(model.engine)) is not None:
            _options(alias, engine, model.options)

    def named(name: str) -> ModelSpec | None:
        return bundled.get(name) or presets.find(name)

    known = (*bundled, *presets.specs, *presets.other_names)
    catalog = Catalog(
        aliases={
            alias: _configured(alias, model, named, engines.get(model.engine), known)
            for alias, model in settings.models.items()
        },
        bundled=bundled,
        presets=presets,
        default_alias=settings.default_model,
    )
    aliases = Aliases(catalog=catalog, engines=engines)
    for name in settings.models:
        spec = catalog.resolve(name)
        aliases.engine(spec)
        _check_source(name, spec.source)
    return aliases


def _check_source(alias: str, source: ModelSource) -> None:
    """Find now what would be an error at each request, or after gigabytes were fetched."""
    if isinstance(source, LocalFile):
        return
    if source.sha256 is not None and not SHA256.fullmatch(source.sha256):
        raise ConfigurationError(f"models.{alias}.sha256: not 64 hexadecimal digits")
    if isinstance(source, UrlFile) and not is_web_address(source.url):
        raise ConfigurationError(f"models.{alias}.url: not an http(s) address")
    if isinstance(source, HubFile) and not REPO.fullmatch(source.repo):
        raise ConfigurationError(f"models.{alias}.repo: '{source.repo}' is not OWNER/NAME")
    try:
        path_of(source, Path())
    except ConfigurationError as error:
        raise ConfigurationError(f"models.{alias}: {error}") from error


def _bundled(engines: Mapping[str, Engine]) -> Iterator[ModelSpec]:
    for name, engine in engines.items():
        for alias, path in engine.bundled_models().items():
            yield ModelSpec(
                alias=alias,
                engine=name,
                source=LocalFile(path=path),
                origin=Origin.BUNDLED,
                description=f"comes with the engine {name}",
            )


def _configured(
    alias: str,
    model: ModelSettings,
    named: Callable[[str], ModelSpec | None],
    engine: Engine | None,
    known: Sequence[str],
) -> ModelSpec:
    """Return the entry for one `[models.ALIAS]` table; `known` are the names that `named` knows."""
    if isinstance(engine, RemoteEngine):
        return _remote(alias, model)
    base = None
    if model.model is not None and (base := named(model.model)) is None:
        raise ConfigurationError(
            f"models.{alias}.model: '{model.model}' is not in the catalogue "
            f"(`whisper-router models list` shows it){did_you_mean(model.model, known)}"
        )
    return ModelSpec(
        alias=alias,
        engine=model.engine,
        source=base.source if base is not None else _source(alias, model),
        options=model.options,
        memory_bytes=base.memory_bytes if base is not None else None,
        description=base.description if base is not None else "",
        multilingual=base.multilingual if base is not None else None,
    )


def _remote(alias: str, model: ModelSettings) -> ModelSpec:
    """Return the entry for an alias whose weights another server has."""
    given = [name for name in ("model", "repo", "url", "path") if getattr(model, name) is not None]
    if given:
        raise ConfigurationError(
            f"models.{alias}.{given[0]}: engine '{model.engine}' needs no weights here"
        )
    return ModelSpec(
        alias=alias,
        engine=model.engine,
        source=NO_WEIGHTS,
        options=model.options,
        description="served elsewhere",
    )


def _source(alias: str, model: ModelSettings) -> ModelSource:
    if model.path is not None:
        return LocalFile(path=model.path.expanduser())
    if model.url is not None:
        return UrlFile(url=model.url, sha256=model.sha256)
    if model.repo is not None and model.file is not None:
        return HubFile(
            repo=model.repo, file=model.file, revision=model.revision, sha256=model.sha256
        )
    raise ConfigurationError(
        f"models.{alias}: say which weights it serves: model, repo and file, url, or path"
    )

"""What model names mean, from the settings and the installed engines."""

import re
from typing import ClassVar

import pytest

from support.program_engine import ProgramEngine
from whisper_router.aliases import build_aliases
from whisper_router.engine_sections import ModelSettings
from whisper_router.errors import ConfigurationError
from whisper_router.models.source import NO_WEIGHTS, HubFile, LocalFile, Origin, UrlFile
from whisper_router.plugins import load_engines
from whisper_router.settings import Settings

ENGINES = load_engines()


class BundlingEngine(ProgramEngine):
    """Another engine that brings a model."""

    name: ClassVar[str] = "bundling"


def aliases_of(*, default_model: str = "demo", **models: dict[str, object]):
    tables = {name: ModelSettings.model_validate(table) for name, table in models.items()}
    return build_aliases(
        Settings.model_construct(models=tables, default_model=default_model), ENGINES
    )


def test_each_way_to_name_the_weights_becomes_its_source():
    """model, repo and file, url, path."""
    found = aliases_of(
        preset={"model": "tiny"},
        hub={"repo": "me/mine", "file": "m.bin", "revision": "v2", "sha256": "0" * 64},
        address={"url": "https://example.org/m.bin"},
        local={"path": "~/m.bin"},
    ).catalog
    tiny, hub = found.resolve("preset").source, found.resolve("hub").source
    assert isinstance(tiny, HubFile)
    assert tiny.file == "ggml-tiny.bin"
    assert hub == HubFile(repo="me/mine", file="m.bin", revision="v2", sha256="0" * 64)
    assert found.resolve("address").source == UrlFile(url="https://example.org/m.bin")
    local = found.resolve("local").source
    assert isinstance(local, LocalFile)
    assert local.path.is_absolute()


def test_an_alias_can_be_of_a_bundled_model():
    """The engine's own file, under another name."""
    catalog = aliases_of(mine={"model": "demo", "workers": 2}).catalog
    assert catalog.resolve("mine").source == catalog.resolve("demo").source
    assert catalog.resolve("mine").origin is Origin.CONFIGURED
    assert catalog.resolve("demo").origin is Origin.BUNDLED


def test_options_are_those_of_the_engine():
    """Whatever is no setting of ours, validated by the engine's own model."""
    aliases = aliases_of(fast={"model": "tiny", "workers": 3, "preload": True})
    spec = aliases.catalog.resolve("fast")
    assert dict(spec.options) == {"workers": 3}
    assert aliases.options(spec).model_dump()["workers"] == 3
    assert aliases.engine(spec) is ENGINES["whispercpp"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "models.x: say which weights it serves: model, repo and file, url, or path"),
        ({"model": "tinny"}, "models.x.model: 'tinny' is not in the catalogue"),
        ({"model": "tiny", "engine": "none"}, "no engine 'none' is installed; installed are: "),
        ({"model": "tiny", "workers": 0}, "models.x.workers"),
        ({"model": "tiny", "worker": 1}, "models.x.worker: unknown setting; did you mean 'worker"),
        ({"modell": "tiny"}, "models.x.modell: unknown setting; did you mean 'model'?"),
        ({"model": "tiny", "idle_unload": 9}, "unknown setting; did you mean 'idle_unload_s'?"),
        ({"model": "larg-v3-turbo"}, "Did you mean 'large-v3-turbo'?"),
        ({"model": "tiny", "acceleration": "tpu"}, "models.x.acceleration"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_alias_and_key(table, message):
    """At start, not with the first request."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        aliases_of(x=table)


def test_a_default_that_nobody_serves_is_an_error():
    """With the name that was probably meant."""
    with pytest.raises(ConfigurationError, match=r"default_model = 'dmeo'.*'demo'"):
        aliases_of(default_model="dmeo")


def test_a_preset_of_an_engine_that_is_not_installed_is_refused_when_it_is_used():
    """The catalogue's presets are for whispercpp; without it the others still work."""
    aliases = build_aliases(
        Settings.model_construct(models={}, default_model="tiny"), {"bundling": BundlingEngine()}
    )
    with pytest.raises(ConfigurationError, match="installed are: bundling"):
        aliases.engine(aliases.catalog.resolve("tiny"))


@pytest.mark.parametrize(
    "options",
    [
        {"base_urls": ["http://a/v1"], "api_keys": {"http://x/v1": "topsecret"}},
        {"base_urls": ["http://a/v1"], "api_keys": "topsecret"},
        {"base_urls": ["http://a/v1"], "api_key": ["topsecret"]},
        {"base_urls": ["http://a/v1"], "api_key": "topsecret\n"},
        {"base_urls": ["http://user:topsecret@a/v1"]},
        {"base_urls": "http://user:topsecret@a/v1"},
    ],
)
def test_no_secret_is_in_an_error_about_the_configuration(options):
    """It goes to the log, and to whoever has the configuration read again."""
    settings = Settings.model_validate({"models": {"box": {"engine": "upstream", **options}}})
    with pytest.raises(ConfigurationError) as caught:
        build_aliases(settings, load_engines())
    assert "models.box" in str(caught.value)
    assert "topsecret" not in str(caught.value)


def test_an_engine_elsewhere_needs_no_weights():
    """And cannot have any."""
    box = {"engine": "upstream", "base_urls": ["http://a/v1"]}
    aliases = build_aliases(Settings.model_validate({"models": {"box": box}}), load_engines())
    assert aliases.catalog.resolve("box").source is NO_WEIGHTS
    settings = Settings.model_validate({"models": {"box": {**box, "model": "small"}}})
    with pytest.raises(ConfigurationError, match=r"models\.box\.model: .*needs no weights"):
        build_aliases(settings, load_engines())

"""Which model a name means."""

from pathlib import Path

import pytest

from whisper_router.errors import ConfigurationError, ModelNotFound
from whisper_router.models.catalog import Catalog, load_presets
from whisper_router.models.source import LocalFile, ModelSource, ModelSpec, Origin

DEMO = ModelSpec(
    alias="demo",
    engine="whispercpp",
    source=LocalFile(path=Path("/bundled/demo.bin")),
    origin=Origin.BUNDLED,
)


def alias(name: str) -> ModelSpec:
    """Return a configured alias."""
    return ModelSpec(alias=name, engine="any", source=LocalFile(path=Path(f"/models/{name}.bin")))


def catalog(*aliases: ModelSpec, default_alias: str = "whisper-1") -> Catalog:
    """Return a catalog with these aliases, the bundled model and the presets."""
    return Catalog(
        aliases={spec.alias: spec for spec in aliases},
        bundled={"demo": DEMO},
        presets=load_presets(),
        default_alias=default_alias,
    )


def nothing_installed(source: ModelSource) -> bool:
    del source
    return False


def test_without_configuration_whisper_1_is_small() -> None:
    """It has the alias that was asked for and the file of the preset."""
    spec = catalog().resolve("whisper-1")
    assert spec.alias == "whisper-1"
    assert spec.source == load_presets().specs["small"].source


@pytest.mark.parametrize(
    "name",
    [
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe-diarize",
        "gpt-transcribe",
    ],
)
def test_openai_model_ids_mean_the_default_alias(name: str) -> None:
    """Also when the default is another alias than whisper-1."""
    assert catalog().resolve(name).alias == "whisper-1"
    assert catalog(alias("mine"), default_alias="mine").resolve(name) == alias("mine")


def test_the_nearer_meaning_of_a_name_wins() -> None:
    """Configured before bundled before preset before the OpenAI ids."""
    assert catalog(alias("small")).resolve("small") == alias("small")
    assert catalog(alias("demo")).resolve("demo") == alias("demo")
    assert catalog(alias("gpt-transcribe")).resolve("gpt-transcribe") == alias("gpt-transcribe")
    assert catalog(alias("whisper-1")).resolve("gpt-4o-transcribe") == alias("whisper-1")
    assert catalog().resolve("demo") == DEMO
    assert catalog().resolve("large").alias == "large-v3"


def test_an_alias_may_hold_slashes() -> None:
    """Like a repository's name."""
    assert catalog(alias("me/my-model")).resolve("me/my-model") == alias("me/my-model")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("smal", "Did you mean 'small'?"), ("Whisper-1", "Did you mean 'whisper-1'?"), ("zzz", "/v1")],
)
def test_an_unknown_name_is_answered_with_a_likely_one(name: str, hint: str) -> None:
    """The OpenAI API's wording first, then help."""
    with pytest.raises(ModelNotFound) as caught:
        catalog().resolve(name)
    message = str(caught.value)
    assert message.startswith(f"The model '{name}' does not exist")
    assert hint in message
    assert "GET /v1/models" in message


def test_an_endless_unknown_name_is_cut_short() -> None:
    """It comes from outside, and goes back there."""
    with pytest.raises(ModelNotFound) as caught:
        catalog().resolve("x" * 100_000)
    assert len(str(caught.value)) < 500


def test_a_default_that_is_no_model_is_a_configuration_error() -> None:
    """With the name that was probably meant."""
    with pytest.raises(ConfigurationError, match=r"'smal'.*Did you mean 'small'"):
        catalog(default_alias="smal")


def test_a_default_may_be_a_preset_or_one_of_its_names() -> None:
    """`turbo` is large-v3-turbo, and stays one process with it."""
    assert catalog(default_alias="turbo").default.alias == "large-v3-turbo"
    assert catalog(default_alias="turbo").resolve("whisper-1").alias == "large-v3-turbo"


def test_the_list_leaves_out_presets_that_are_not_installed() -> None:
    """Aliases first; every OpenAI id; the bundled model; of the presets those on disk."""
    base = load_presets().specs["base"].source
    listed = catalog(alias("mine")).list(installed=lambda source: source == base)
    ids = [entry.id for entry in listed]
    assert ids[:2] == ["mine", "whisper-1"]
    assert {"gpt-transcribe", "demo", "base"} < set(ids)
    assert "small" not in ids
    assert len(ids) == len(set(ids))
    meaning = {entry.id: entry.spec.alias for entry in listed}
    assert meaning["gpt-transcribe"] == "whisper-1"


def test_everything_that_is_listed_resolves_to_what_is_listed() -> None:
    """No entry of the list lies."""
    for default in ("whisper-1", "mine", "turbo", "demo"):
        whole = catalog(alias("mine"), default_alias=default)
        for entry in [*whole.list_all(), *whole.list(installed=nothing_installed)]:
            assert whole.resolve(entry.id) == entry.spec


def test_the_whole_list_holds_every_preset() -> None:
    """For `models list`."""
    ids = {entry.id for entry in catalog().list_all()}
    assert set(load_presets().specs) < ids

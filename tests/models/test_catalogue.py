"""The catalogue that comes with the package."""

import re

import pytest

from whisper_router.models.catalogue import Presets, load_presets, parse_presets
from whisper_router.models.source import HubFile, Origin

# whisper.cpp 1.8.5, models/download-ggml-model.sh, and the q8_0 files of the English-only models,
# which only the hub's listing names.
PUBLISHED = {
    "tiny": ["", "-q5_1", "-q8_0"],
    "tiny.en": ["", "-q5_1", "-q8_0"],
    "base": ["", "-q5_1", "-q8_0"],
    "base.en": ["", "-q5_1", "-q8_0"],
    "small": ["", "-q5_1", "-q8_0"],
    "small.en": ["", "-q5_1", "-q8_0", "-tdrz"],
    "medium": ["", "-q5_0", "-q8_0"],
    "medium.en": ["", "-q5_0", "-q8_0"],
    "large-v1": [""],
    "large-v2": ["", "-q5_0", "-q8_0"],
    "large-v3": ["", "-q5_0"],
    "large-v3-turbo": ["", "-q5_0", "-q8_0"],
}


@pytest.fixture
def presets() -> Presets:
    return load_presets()


def test_every_published_model_is_there(presets: Presets) -> None:
    """By the name that whisper.cpp's own scripts use."""
    names = {model + variant for model, variants in PUBLISHED.items() for variant in variants}
    assert set(presets.specs) == names


def test_every_preset_is_complete(presets: Presets) -> None:
    """File name, checksums that can be ones, plausible sizes, a description."""
    for name, spec in presets.specs.items():
        source = spec.source
        assert isinstance(source, HubFile)
        assert source.file == f"ggml-{name}.bin"
        assert re.fullmatch("[0-9a-f]{40}", source.sha1 or "")
        assert source.sha256 is None or re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert 30e6 < (source.size_bytes or 0) < (spec.memory_bytes or 0) < 5e9
        assert spec.description.startswith("Whisper ")
        assert spec.origin is Origin.PRESET


def test_no_checksum_stands_twice(presets: Presets) -> None:
    """A copied line would be found here."""
    sources = [spec.source for spec in presets.specs.values() if isinstance(spec.source, HubFile)]
    assert len({source.sha1 for source in sources}) == len(sources)


def test_only_the_model_that_marks_speakers_lies_elsewhere(presets: Presets) -> None:
    """tinydiarize has a repository of its own."""
    repos = {name: spec.source.repo for name, spec in presets.specs.items()}  # type: ignore[union-attr]
    assert repos.pop("small.en-tdrz") == "akashmjn/tinydiarize-whisper.cpp"
    assert set(repos.values()) == {"ggerganov/whisper.cpp"}


def test_english_only_models_say_so(presets: Presets) -> None:
    """From their name."""
    assert presets.specs["base.en-q5_1"].multilingual is False
    assert presets.specs["base-q5_1"].multilingual is True


def test_other_names_lead_to_presets(presets: Presets) -> None:
    """`large` and `turbo` are what people type."""
    assert presets.find("large") is presets.specs["large-v3"]
    assert presets.find("turbo") is presets.specs["large-v3-turbo"]
    assert presets.find("huge") is None
    assert set(presets.other_names.values()) <= set(presets.specs)
    assert not set(presets.other_names) & set(presets.specs)
    assert presets.default in presets.specs


def test_faster_whisper_models_are_those_of_the_same_size(presets: Presets) -> None:
    """Clients that have them configured need no change; what we do not have is not made up."""
    for size in ("tiny", "base.en", "small.en", "medium", "large-v2", "large-v3"):
        assert presets.find(f"Systran/faster-whisper-{size}") is presets.specs[size]
    turbo = presets.find("deepdml/faster-whisper-large-v3-turbo-ct2")
    assert turbo is presets.specs["large-v3-turbo"]
    assert presets.find("Systran/faster-distil-whisper-large-v3") is None


def test_models_have_the_names_of_their_own_repositories(presets: Presets) -> None:
    """Of OpenAI's on the hub, which `large` without a number is the first of."""
    for size in ("tiny", "base.en", "small", "medium.en", "large-v2", "large-v3", "large-v3-turbo"):
        assert presets.find(f"openai/whisper-{size}") is presets.specs[size]
    assert presets.find("openai/whisper-large") is presets.specs["large-v1"]
    for size in ("large-v3", "large-v3-turbo"):
        assert presets.find(f"whisper-{size}") is presets.specs[size]


def test_a_preset_without_size_and_sums_is_possible() -> None:
    """Not every publisher states them."""
    presets = parse_presets(
        """
        engine = "other"
        repo = "a/b"
        default = "m"
        openai_ids = []
        [[preset]]
        name = "m"
        description = "Whisper m"
        memory_mib = 100
        """
    )
    assert presets.specs["m"].engine == "other"
    assert presets.specs["m"].source == HubFile(repo="a/b", file="ggml-m.bin")
    assert presets.specs["m"].memory_bytes == 100 * 2**20

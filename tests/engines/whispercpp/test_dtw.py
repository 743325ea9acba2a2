"""Which attention heads time the words."""

from pathlib import Path

import pytest

from support.speech import DEMO_MODEL
from whisper_router_engines.whispercpp.dtw import LAYERS_AND_WIDTH, preset_for
from whisper_router_engines.whispercpp.ggml import Hparams, ModelFileError, check_model_file
from whisper_router_engines.whispercpp.options import DtwPreset


def shape(*, layers: int, width: int, vocab: int = 51_865) -> Hparams:
    return Hparams(
        n_vocab=vocab,
        n_audio_ctx=1500,
        n_audio_state=width,
        n_audio_head=width // 64,
        n_audio_layer=layers,
        n_text_ctx=448,
        n_text_state=width,
        n_text_head=width // 64,
        n_text_layer=layers,
        n_mels=80,
        ftype=1,
    )


def test_every_option_has_a_shape():
    """The option's names and the table say the same."""
    assert set(LAYERS_AND_WIDTH) == set(DtwPreset) - {"off", "auto"}


@pytest.mark.parametrize(
    ("name", "hparams", "preset"),
    [
        ("ggml-base.bin", shape(layers=6, width=512), "base"),
        ("ggml-base.en-q5_1.bin", shape(layers=6, width=512, vocab=51_864), "base.en"),
        ("ggml-large-v3-turbo-q5_0.bin", shape(layers=4, width=1280), "large-v3-turbo"),
        ("ggml-large-v3.bin", shape(layers=32, width=1280), "large-v3"),
        ("ggml-base.bin", shape(layers=4, width=384), None),
        ("my-model.bin", shape(layers=6, width=512), None),
    ],
)
def test_auto_goes_by_name_and_shape(name, hparams, preset):
    """A name alone is not believed: wrong heads would make whisper.cpp abort."""
    assert preset_for(Path(name), hparams, wanted="auto") == preset


def test_off_is_off():
    """Also for a file that has a preset."""
    hparams = shape(layers=6, width=512)
    assert preset_for(Path("ggml-base.bin"), hparams, wanted="off") is None


def test_a_named_preset_that_does_not_fit_is_refused():
    """Before whisper.cpp aborts at the first chunk."""
    hparams = check_model_file(DEMO_MODEL)
    with pytest.raises(ModelFileError, match=r"dtw = 'base'"):
        preset_for(DEMO_MODEL, hparams, wanted="base")

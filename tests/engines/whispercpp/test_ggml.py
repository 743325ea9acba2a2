"""Model files are looked at before whisper.cpp loads them."""

import struct

import pytest

from support.speech import DEMO_MODEL
from support.whispercpp_ggml import as_english, as_f16, read
from whisper_router_engines.whispercpp.ggml import ModelFileError, check_model_file


def test_the_demo_model_is_whole_and_multilingual():
    """99 languages: large-v3's Cantonese is not among them."""
    hparams = check_model_file(DEMO_MODEL)
    assert hparams.multilingual
    assert hparams.n_languages == 99
    assert (hparams.n_audio_layer, hparams.n_text_layer, hparams.n_mels) == (4, 3, 80)


def test_an_english_vocabulary_is_recognised(tmp_path):
    """`.en` and tdrz files have one token less and no languages."""
    path = as_english(as_f16(read(DEMO_MODEL))).write(tmp_path / "ggml-x.en-tdrz.bin")
    hparams = check_model_file(path)
    assert not hparams.multilingual
    assert hparams.n_languages == 1


@pytest.mark.parametrize("part", [0, 3, 47, 500, 40_000, 600_000, 4_000_000, 7_949_020])
def test_a_truncated_file_is_named(tmp_path, part):
    """Cut in the header, the filters, the vocabulary or a tensor: the file is named."""
    path = tmp_path / "cut.bin"
    path.write_bytes(DEMO_MODEL.read_bytes()[:part])
    with pytest.raises(ModelFileError, match=r"cut\.bin: (cut short|not a whisper)"):
        check_model_file(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GGUF" + b"\0" * 100, "GGUF"),
        (b"PK\x03\x04" + b"\0" * 100, "PyTorch"),
        (b"<!DOCTYPE html>" + b" " * 100, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"RIFF" + b"\0" * 100, "wrong magic"),
        (struct.pack("<I11i", 0x67676D6C, *([7] * 11)), "not a Whisper model"),
    ],
)
def test_another_kind_of_file_is_explained(tmp_path, content, reason):
    """What people really put there: downloads gone wrong, and models of other programs."""
    path = tmp_path / "other.bin"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=reason) as caught:
        check_model_file(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    """The system's own words, with the path."""
    for path in (tmp_path / "missing.bin", tmp_path):
        with pytest.raises(ModelFileError, match=str(path)):
            check_model_file(path)


def test_a_damaged_record_is_found(tmp_path):
    """Bytes in the middle that are no tensor."""
    data = DEMO_MODEL.read_bytes()
    path = tmp_path / "damaged.bin"
    path.write_bytes(data + b"\x63" * 64)
    with pytest.raises(ModelFileError, match="damaged"):
        check_model_file(path)

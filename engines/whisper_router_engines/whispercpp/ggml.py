"""Looks into a GGML model file before whisper.cpp does, so that a bad one is named and explained.

The layout is that of whisper.cpp 1.8.5 (`whisper_model_load`): magic, eleven int32 of
hyper-parameters, mel filters, vocabulary, then one record for each tensor.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

MAGIC = 0x67676D6C
MULTILINGUAL_VOCAB = 51_865
"""Vocabularies of at least this size hold languages (`is_multilingual` in whisper.cpp)."""

_OTHER_FILES: Mapping[bytes, str] = MappingProxyType(
    {
        b"GGUF": "it is a GGUF file; whisper.cpp reads only the older GGML format",
        b"PK\x03\x04": "it is a PyTorch checkpoint or a ZIP file; convert it to GGML first",
        b"vers": "it is a Git LFS pointer, not the model itself",
        b"<!DO": "it is a web page, not a model",
        b"<htm": "it is a web page, not a model",
    }
)

# ggml_type → (values in a block, bytes of a block); sizes from ggml-common.h
_BLOCKS: Mapping[int, tuple[int, int]] = MappingProxyType(
    {
        0: (1, 4),
        1: (1, 2),
        2: (32, 18),
        3: (32, 20),
        6: (32, 22),
        7: (32, 24),
        8: (32, 34),
        10: (256, 84),
        11: (256, 110),
        12: (256, 144),
        13: (256, 176),
        14: (256, 210),
        30: (1, 2),
    }
)


class ModelFileError(Exception):
    """The file is not a model that whisper.cpp can load; the message names it and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hparams:
    """The file's hyper-parameters, in the order of the file."""

    n_vocab: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int
    n_mels: int
    ftype: int

    @property
    def multilingual(self) -> bool:
        """Whether the model hears more than English."""
        return self.n_vocab >= MULTILINGUAL_VOCAB

    @property
    def n_languages(self) -> int:
        """How many languages the vocabulary holds (`num_languages` in whisper.cpp)."""
        return self.n_vocab - 51_766 if self.multilingual else 1

    def is_plausible(self) -> bool:
        """Whether these can be the numbers of a Whisper model."""
        return (
            51_864 <= self.n_vocab <= 52_000
            and self.n_mels in (80, 128)
            and 1 <= self.n_audio_ctx <= 1500
            and 1 <= self.n_text_ctx <= 448
            and self.n_audio_state == self.n_text_state
            and 1 <= self.n_audio_layer <= 64
            and 1 <= self.n_text_layer <= 64
            and 1 <= self.n_audio_head <= 64
            and self.n_audio_state % self.n_audio_head == 0
        )


def check_model_file(path: Path) -> Hparams:
    """Return the hyper-parameters of a whole, plausible model file.

    Raises:
        ModelFileError: it cannot be read, is something else, or ends too early.
    """
    try:
        with path.open("rb") as file:
            hparams = _read_hparams(file, path)
            _walk(file, path)
            return hparams
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from error


def _read_hparams(file: BinaryIO, path: Path) -> Hparams:
    head = file.read(48)
    for prefix, meaning in _OTHER_FILES.items():
        if head.startswith(prefix):
            raise ModelFileError(f"{path}: not a whisper.cpp model: {meaning}")
    if len(head) < 48:
        raise ModelFileError(f"{path}: not a whisper.cpp model: it has only {len(head)} bytes")
    magic, *numbers = struct.unpack("<I11i", head)
    if magic != MAGIC:
        raise ModelFileError(f"{path}: not a whisper.cpp model: wrong magic 0x{magic:08x}")
    hparams = Hparams(**dict(zip(Hparams.__dataclass_fields__, numbers, strict=True)))
    if not hparams.is_plausible():
        raise ModelFileError(f"{path}: a GGML file, but not a Whisper model: {hparams}")
    return hparams


def _walk(file: BinaryIO, path: Path) -> None:
    """Step over filters, vocabulary and tensors; raises ModelFileError where the file is cut."""
    size = os.fstat(file.fileno()).st_size
    try:
        n_mel, n_fft = _ints(file, 2)
        _skip(file, 4 * n_mel * n_fft, size)
        for _ in range(_ints(file, 1)[0]):
            _skip(file, _ints(file, 1)[0], size)
        while file.tell() < size:
            n_dims, name_bytes, kind = _ints(file, 3)
            if not 1 <= n_dims <= 4:
                raise ModelFileError(
                    f"{path}: damaged at byte {file.tell()}: no tensor begins there"
                )
            dims = _ints(file, n_dims)
            if kind not in _BLOCKS:
                return  # a type this table does not know: whisper.cpp decides
            values, block_bytes = _BLOCKS[kind]
            _skip(file, name_bytes + prod(dims) // values * block_bytes, size)
    except EOFError as error:
        raise ModelFileError(
            f"{path}: cut short: {size} bytes are there, more belong to it; fetch it again"
        ) from error


def _ints(file: BinaryIO, count: int) -> tuple[int, ...]:
    data = file.read(4 * count)
    if len(data) < 4 * count:
        raise EOFError
    return struct.unpack(f"<{count}i", data)


def _skip(file: BinaryIO, count: int, size: int) -> None:
    if count < 0 or file.tell() + count > size:
        raise EOFError
    file.seek(count, os.SEEK_CUR)

"""GGML model files for tests: the demo model in other forms, and random weights of any size."""

import importlib.util
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

F32, F16, Q5_1 = 0, 1, 7
EMPTY_TOKEN = 50_256
"""The token that multilingual vocabularies have and English ones lack."""
EOT, FIRST_TIMESTAMP = 50_257, 50_364
LAST_TIMESTAMP = FIRST_TIMESTAMP + 1500
PROMPT_TOKENS = 3
"""What stands before the text: start of transcript, language, task."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor; `dims` in ggml's order, the fastest first."""

    name: str
    dims: tuple[int, ...]
    kind: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Ggml:
    """A whole file. `hparams` in the file's order, `filters` with its own header."""

    hparams: tuple[int, ...]
    filters: bytes
    vocabulary: tuple[bytes, ...]
    tensors: tuple[Tensor, ...]

    def write(self, path: Path) -> Path:
        """Write the file; return its path."""
        with path.open("wb") as out:
            out.write(struct.pack("<I11i", 0x67676D6C, *self.hparams) + self.filters)
            out.write(struct.pack("<i", len(self.vocabulary)))
            for token in self.vocabulary:
                out.write(struct.pack("<i", len(token)) + token)
            for t in self.tensors:
                name = t.name.encode()
                out.write(struct.pack("<3i", len(t.dims), len(name), t.kind))
                out.write(struct.pack(f"<{len(t.dims)}i", *t.dims) + name + t.data)
        return path


def read(path: Path) -> Ggml:
    """Read a file of f32, f16 and q5_1 tensors."""
    data, at = path.read_bytes(), 48
    hparams = struct.unpack_from("<11i", data, 4)
    n_mel, n_fft = struct.unpack_from("<2i", data, at)
    filters = data[at : at + 8 + 4 * n_mel * n_fft]
    at += len(filters)
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    vocabulary = []
    for _ in range(count):
        (length,) = struct.unpack_from("<i", data, at)
        vocabulary.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    tensors = []
    while at < len(data):
        n_dims, length, kind = struct.unpack_from("<3i", data, at)
        dims = struct.unpack_from(f"<{n_dims}i", data, at + 12)
        begin = at + 12 + 4 * n_dims
        name = data[begin : begin + length].decode()
        values = int(np.prod(dims))
        size = {F32: 4 * values, F16: 2 * values, Q5_1: values // 32 * 24}[kind]
        at = begin + length + size
        tensors.append(Tensor(name=name, dims=dims, kind=kind, data=data[begin + length : at]))
    return Ggml(
        hparams=hparams, filters=filters, vocabulary=tuple(vocabulary), tensors=tuple(tensors)
    )


def dequantized(tensor: Tensor) -> NDArray[np.float32]:
    """Return the values of a q5_1 tensor (`dequantize_row_q5_1` in ggml-quants.c)."""
    blocks = np.frombuffer(tensor.data, np.uint8).reshape(-1, 24)
    halves = np.ascontiguousarray(blocks[:, :4]).view("<f2").astype(np.float32)
    high = np.unpackbits(blocks[:, 4:8], axis=1, bitorder="little")
    low = np.concatenate([blocks[:, 8:] & 15, blocks[:, 8:] >> 4], 1)
    return (low + 16.0 * high) * halves[:, :1] + halves[:, 1:]


def as_f16(model: Ggml) -> Ggml:
    """Return the model with its q5_1 matrices as f16."""
    tensors = tuple(
        replace(t, kind=F16, data=dequantized(t).astype("<f2").tobytes()) if t.kind == Q5_1 else t
        for t in model.tensors
    )
    return replace(model, hparams=(*model.hparams[:-1], 1), tensors=tensors)


def as_english(model: Ggml) -> Ggml:
    """Return an f16 model with the vocabulary of `.en` and tdrz files: one token less."""
    tensors = []
    for t in model.tensors:
        if t.name == "decoder.token_embedding.weight":
            rows = np.frombuffer(t.data, "<f2").reshape(t.dims[1], t.dims[0])
            data = np.delete(rows, EMPTY_TOKEN, 0).tobytes()
            t = replace(t, dims=(t.dims[0], t.dims[1] - 1), data=data)  # noqa: PLW2901
        tensors.append(t)
    return replace(
        model,
        hparams=(model.hparams[0] - 1, *model.hparams[1:]),
        vocabulary=model.vocabulary[:EMPTY_TOKEN],
        tensors=tuple(tensors),
    )


def random_model(template: Ggml, *, width: int, layers: int, ends_at_once: bool) -> Ggml:
    """Return an f16 model of another size with random weights.

    With `ends_at_once` its decoder says "0.00 s, end" to any audio, so that a window costs the
    encoder and two decoder steps.
    """
    rng = np.random.default_rng(0)
    old_width = template.hparams[2]
    size = {old_width: width, 4 * old_width: 4 * width}
    first = [t for t in template.tensors if ".blocks." not in t.name or ".blocks.0." in t.name]
    tensors = []
    for t in first:
        dims = tuple(size.get(dim, dim) for dim in t.dims)
        copies = layers if ".blocks." in t.name else 1
        for layer in range(copies):
            name = t.name.replace(".blocks.0.", f".blocks.{layer}.")
            fill = _filler(name, rng, ends_at_once=ends_at_once)
            values = fill(tuple(reversed(dims)))
            data = values.astype("<f4" if t.kind == F32 else "<f2").tobytes()
            tensors.append(Tensor(name=name, dims=dims, kind=t.kind, data=data))
    h = template.hparams
    heads = width // 64
    hparams = (h[0], h[1], width, heads, layers, h[5], width, heads, layers, h[9], 1)
    return replace(template, hparams=hparams, tensors=tuple(tensors))


def reciting(model: Ggml, tokens: Sequence[int]) -> Ggml:
    """Return a random f16 model that says `tokens` in every window, from 0 s to 30 s, and ends.

    Its decoder goes by the position alone: each has a direction of its own that outweighs the rest,
    and the embedding of the token that comes next points there. Decoding costs what it costs with
    any weights, and how long it goes on is known. Text before a window would move the positions.
    """
    width, positions = model.hparams[6], model.hparams[5]
    directions = np.random.default_rng(1).choice(np.float32([-1, 1]), (positions, width))
    said = [FIRST_TIMESTAMP, *tokens, LAST_TIMESTAMP]
    begin = PROMPT_TOKENS - 1  # the last token of the prompt is answered by the first one said
    directions[begin + len(said) :] = directions[-1]
    tensors = []
    for t in model.tensors:
        if t.name == "decoder.positional_embedding":
            t = replace(t, data=(10 * directions).astype("<f4").tobytes())  # noqa: PLW2901
        elif t.name == "decoder.token_embedding.weight":
            rows = np.frombuffer(t.data, "<f2").reshape(t.dims[1], t.dims[0]).copy()
            for position, token in enumerate([*said, EOT], begin):
                rows[token] = 0.1 * directions[position]
            t = replace(t, data=rows.tobytes())  # noqa: PLW2901
        tensors.append(t)
    return replace(model, tensors=tuple(tensors))


Fill = Callable[[tuple[int, ...]], NDArray[np.float32]]


def _filler(name: str, rng: np.random.Generator, *, ends_at_once: bool) -> Fill:
    def noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
        return rng.standard_normal(shape, np.float32) * np.float32(0.02)

    def embedding(shape: tuple[int, ...]) -> NDArray[np.float32]:
        rows = noise(shape)
        rows[EOT], rows[FIRST_TIMESTAMP] = 1.0, 0.8
        return rows

    if name.endswith(("ln.weight", "ln_post.weight")):
        return lambda shape: np.ones(shape, np.float32)
    if ends_at_once and name == "decoder.ln.bias":
        return lambda shape: np.ones(shape, np.float32)
    if ends_at_once and name == "decoder.token_embedding.weight":
        return embedding
    return noise


def quantize_tool() -> ModuleType:
    """Return tools/phonebook/quantize.py as a module."""
    path = Path(__file__).parents[2] / "tools" / "phonebook" / "quantize.py"
    spec = importlib.util.spec_from_file_location("phonebook_quantize", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
